# SPDX-License-Identifier: BSD-3-Clause
"""The harness of the scenarios: a real Reeve under a nest of its own.

One Reeve object is one state directory. Everything that it starts lives below one `nest` process (programs/nest.c), a
sub-reaper: nothing can escape, and at the end all of it is killed, whatever the test did. Processes are found by the
nest's descendants and the lock files of the state directory, never by a name alone.

Nothing here sleeps for a guess: wait_for() looks again until a deadline. Deadlines are generous and grow with
REEVE_SCALE (sanitizers, slow machines); a test that passes does not wait for them.

Environment: REEVE_BIN (build directory, or one that has `reeve` and `reeve-keeper`), REEVE_PROGRAMS (where the task
programs are), REEVE_SCALE, REEVE_TMP (where state directories are made), REEVE_KEEP=1 (keep
them), REEVE_KEEP=failed (keep those of tests that failed).
"""
import errno
import http.client
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import cgroups

SCALE = float(os.environ.get('REEVE_SCALE', '1'))
PARTS = ('agent', 'server', 'keeper')
SEPARATOR = '\x1f'


def seconds(n):
    return n * SCALE


def find_binaries():
    """The two programs of the build under test."""
    base = os.environ.get('REEVE_BIN', os.path.join(os.path.dirname(__file__), '..', '..', 'build'))
    for pair in (('src/cli/reeve', 'src/keeper/reeve-keeper'), ('reeve', 'reeve-keeper')):
        paths = [os.path.join(base, p) for p in pair]
        if all(os.access(p, os.X_OK) for p in paths):
            return paths
    raise RuntimeError(f'no reeve and reeve-keeper under {base}: build them, or set REEVE_BIN')


def program(name):
    """A task program by name."""
    base = os.environ.get('REEVE_PROGRAMS') or os.path.join(os.environ.get('REEVE_BIN', ''), 'test/scenario')
    path = os.path.abspath(os.path.join(base, name))
    assert os.access(path, os.X_OK), f'{path} is not there: build it, or set REEVE_PROGRAMS'
    return path


class Unix(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__('localhost', timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class ApiError(Exception):
    """An answer that is a problem document."""

    def __init__(self, status, problem):
        super().__init__(f'{status}: {problem}')
        self.status = status
        self.problem = problem


class Unanswered(Exception):
    """The request was not answered: nobody there, or the connection broke."""


def proc_stat(pid):
    """(state, parent, start time) of a process, or None."""
    try:
        with open(f'/proc/{pid}/stat') as f:
            fields = f.read().rpartition(')')[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1]), int(fields[19])


def cmdline(pid):
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as f:
            return [a.decode(errors='replace') for a in f.read().split(b'\0')[:-1]]
    except (FileNotFoundError, ProcessLookupError):
        return []


class Nest:
    def __init__(self):
        self.process = subprocess.Popen([program('nest')], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        start_new_session=True)
        self.ends = {}
        self.begun = queue.Queue()
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            words = line.split()
            if words[0] == 'began':
                self.begun.put(int(words[1]))
            else:
                with self.changed:
                    self.ends[int(words[1])] = int(words[2])
                    self.changed.notify_all()

    def start(self, log, arguments):
        assert not any('\n' in a for a in arguments)
        self.process.stdin.write(SEPARATOR.join([log] + arguments) + '\n')
        self.process.stdin.flush()
        return self.begun.get(timeout=seconds(20))

    def await_end(self, pid, deadline):
        """Exit status (negative: signal) of what start() began."""
        with self.changed:
            assert self.changed.wait_for(lambda: pid in self.ends, deadline), f'process {pid} did not end'
            return os.waitstatus_to_exitcode(self.ends[pid])

    def descendants(self):
        """All processes below, with zombies left out."""
        parents = {}
        for name in os.listdir('/proc'):
            if name.isdigit():
                stat = proc_stat(name)
                if stat and stat[0] not in 'ZX':
                    parents.setdefault(stat[1], []).append(int(name))
        found, todo = [], [self.process.pid]
        while todo:
            below = parents.get(todo.pop(), [])
            found += below
            todo += below
        return sorted(found)

    def close(self):
        """Kills all that is left."""
        self.process.stdin.close()
        self.process.wait(timeout=seconds(30))
        self.reader.join(timeout=seconds(5))


class Reeve:
    def __init__(self, binaries, name='reeve'):
        self.dir = tempfile.mkdtemp(prefix='rv-', dir=os.environ.get('REEVE_TMP', '/tmp'))
        self.data = os.path.join(self.dir, 'data')
        self.socket = os.path.join(self.dir, 's')
        self.notes = os.path.join(self.dir, 'notes')
        self.log_path = os.path.join(self.dir, 'log')
        self.bin = os.path.join(self.dir, 'bin')
        for path in (self.notes, self.bin):
            os.mkdir(path)
        os.chmod(self.dir, 0o755)
        os.chmod(self.notes, 0o777)
        for path in binaries:
            shutil.copy(path, self.bin)
        self.reeve = os.path.join(self.bin, 'reeve')
        self.nest = Nest()
        self.jobs_paths = []
        self.up_pid = None
        self.failed = False
        self.mounts = []  # paths of what a test mounted below; let go of at the end
        self.node = 'here'

    # ---- coming and going

    def start_up(self, *arguments, jobs=None):
        """Begins `reeve up`; returns its pid at once."""
        if jobs is not None:
            self.jobs_paths = [jobs] if isinstance(jobs, str) else list(jobs)
        command = [self.reeve, 'up', '--data', self.data, '--socket', self.socket, '--node', self.node]
        for path in self.jobs_paths:
            command += ['--jobs', path]
        self.up_pid = self.nest.start(self.log_path, command + list(arguments))
        return self.up_pid

    def start_server(self, *arguments):
        """Begins `reeve server`, without an agent, over TLS; returns its pid at once."""
        command = [self.reeve, 'server', '--data', self.data, '--socket', self.socket, '--listen', '127.0.0.1:0']
        self.up_pid = self.nest.start(self.log_path, command + list(arguments))
        return self.up_pid

    def up(self, *arguments, jobs=None):
        """Begins `reeve up` and waits until it is ready."""
        self.start_up(*arguments, jobs=jobs)
        self.wait_ready()
        return self.up_pid

    def is_ready(self):
        """Keeper, agent and server have each other. A server that was just started says of a node and its tasks what is
        in its store until the agent is back: they are placed, and its agent has not said yet how they are."""
        nodes, tasks = (self.api('GET', path, timeout=5) for path in ('/v1/nodes', '/v1/tasks'))
        return bool(nodes) and nodes[0]['state'] == 'ready' and nodes[0]['agent_pid'] == self.pid('agent') and nodes[0][
            'keeper_pid'] == self.pid('keeper') and not any('has not said yet' in (t['reason'] or '') for t in tasks)

    def wait_ready(self, deadline=60):
        self.wait_for(self.is_ready, 'keeper, agent and server work together', deadline)

    def down(self, deadline=60):
        """`reeve down`; what `up` began must have ended well."""
        self.cli('down')
        self.wait_gone(deadline)

    def wait_gone(self, deadline=60):
        self.wait_for(self.parts_gone, 'all parts have ended', deadline)

    def await_up_end(self, deadline=60):
        return self.nest.await_end(self.up_pid, seconds(deadline))

    def close(self):
        """Ends everything; returns what the log says of our own bugs."""
        self.nest.close()
        left = self.nest.descendants() if self.nest.process.poll() is None else []
        assert not left, f'left over: {left}'
        fifos = os.path.realpath(os.path.join(self.data, 'node/fifos'))  # on another file system
        for path in reversed(self.mounts):
            subprocess.run(['umount', '-l', path], check=True)
        cgroups.remove(self.data)
        complaints = [line for line in self.log().splitlines() if re.search(
            r'AddressSanitizer|LeakSanitizer|runtime error:|Assertion .* failed|libuv.*failed', line)]
        keep = os.environ.get('REEVE_KEEP')
        if os.path.basename(fifos).startswith('reeve-fifos-'):
            shutil.rmtree(fifos, ignore_errors=True)
        if keep != '1' and not (keep == 'failed' and (self.failed or complaints)):
            shutil.rmtree(self.dir, ignore_errors=True)
        return complaints

    # ---- the parts

    def pid(self, part):
        """Pid of the part that works on the state directory now, or None."""
        path = {'agent': 'node/lock', 'server': 'server.lock', 'keeper': 'keeper.lock'}[part]
        try:
            with open(os.path.join(self.data, path)) as f:
                pid = int(f.read().strip() or 0)
        except (FileNotFoundError, ValueError):
            return None
        return pid if pid > 0 and self._is_part(pid, part) else None

    def _is_part(self, pid, part):
        words = cmdline(pid)
        if len(words) < 2 or self.data not in words:
            return False
        stat = proc_stat(pid)
        if stat is None or stat[0] in 'ZX':
            return False
        if part == 'keeper':
            return os.path.basename(words[0]).startswith('reeve-keeper')
        return words[1] == part

    def parts_alive(self):
        """Pids of all processes of Reeve itself under this nest."""
        words = {p: cmdline(p) for p in self.nest.descendants()}
        return [p for p, w in words.items() if self.data in w and w[0].startswith(self.bin)]

    def parts_gone(self):
        """One look can miss a process that is being handed to another parent, or that is executing."""
        return not any(self.parts_alive() for _ in range(4))

    def kill(self, part, number=signal.SIGKILL):
        """Sends a signal to a part. False if there is none at this moment."""
        pid = self.pid(part)
        if pid is None:
            return False
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            if self.pid(part) != pid:
                return False
            signal.pidfd_send_signal(fd, number)
            return True
        except ProcessLookupError:
            return False
        finally:
            os.close(fd)

    def kill_all_parts(self):
        """SIGKILL to keeper, agent and server, again until none is left: they start each other."""
        def gone():
            for part in PARTS:
                self.kill(part)
            return self.parts_gone()
        self.wait_for(gone, 'all parts are killed', 20)

    # ---- talking to it

    def api(self, method, path, body=None, timeout=None, headers=None):
        """The answer as JSON. ApiError for a problem document, Unanswered for anything else."""
        connection = Unix(self.socket, timeout or seconds(20))
        try:
            text = None if body is None else body if isinstance(body, (str, bytes)) else json.dumps(body)
            sent = dict(headers or {})
            if text is not None:
                sent.setdefault('Content-Type', 'application/json')
            connection.request(method, path, text, sent)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as e:
            raise Unanswered(f'{method} {path}: {e!r}') from e
        finally:
            connection.close()
        try:
            value = json.loads(data)
        except ValueError:
            value = data.decode(errors='replace')
        if answer.status >= 300:
            raise ApiError(answer.status, value)
        return value

    def ask(self, method, path, body=None, deadline=60):
        """Like api(), again until it is answered. For what may be done twice."""
        def attempt():
            try:
                return [self.api(method, path, body)]
            except Unanswered:
                return None
        return self.wait_for(attempt, f'{method} {path} is answered', deadline)[0]

    def apply(self, jobs):
        return self.ask('POST', '/v1/jobs', {'jobs': jobs})

    def ps(self, job=None):
        return self.ask('GET', '/v1/tasks' + (f'?job={job}' if job else ''))

    def task(self, task_id):
        return self.ask('GET', f'/v1/tasks/{task_id}')

    def jobs(self):
        return {j['name']: j for j in self.ask('GET', '/v1/jobs')}

    def events(self, after=0):
        """All events beyond @after, page by page, in order and without doubles."""
        events = []
        while True:
            page = self.ask('GET', f'/v1/events?after={after}&limit=1000')
            if not page:
                return events
            for e in page:
                assert e['index'] > after, f'event {e["index"]} after {after}'
                after = e['index']
            events += page

    def cli(self, *arguments, check=True, stdin=None, env=None, timeout=120):
        """Runs the command; returns its CompletedProcess."""
        full = {**os.environ, 'REEVE_ADDR': f'unix:{self.socket}', **(env or {})}
        done = subprocess.run([self.reeve, *arguments], input=stdin, env=full, capture_output=True, text=True,
                              timeout=seconds(timeout))
        if check:
            assert done.returncode == 0, f'reeve {" ".join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}'
        return done

    def cli_json(self, *arguments):
        return json.loads(self.cli(*arguments, '--json').stdout)

    # ---- waiting

    def wait_for(self, condition, what, deadline=60):
        """Calls @condition until it returns something true, and returns that."""
        end = time.monotonic() + seconds(deadline)
        pause, last = 0.005, None
        while True:
            try:
                value = condition()
                if value:
                    return value
                last = value
            except (Unanswered, ApiError) as e:
                last = e
            if time.monotonic() > end:
                raise AssertionError(f'not within {seconds(deadline):.0f} s: {what}\nlast: {last!r}\n{self.describe()}')
            time.sleep(pause)
            pause = min(pause * 1.3, 0.1)

    def wait_tasks(self, job, deadline=60, **fields):
        """Waits until all tasks of the job have these values, and returns them."""
        def settled():
            tasks = self.ps(job)
            return tasks if tasks and all(t[k] == v for t in tasks for k, v in fields.items()) else None
        return self.wait_for(settled, f'tasks of {job}: {fields}', deadline)

    def wait_running(self, job, count, deadline=60):
        def all_run():
            tasks = [t for t in self.ps(job) if t['state'] == 'running' and t['pid']]
            return tasks if len(tasks) == count else None
        return self.wait_for(all_run, f'{count} tasks of {job} run', deadline)

    def wait_log(self, pattern, deadline=60):
        return self.wait_for(lambda: re.search(pattern, self.log()), f'log says: {pattern}', deadline)

    # ---- looking

    def log(self):
        try:
            with open(self.log_path, errors='replace') as f:
                return f.read()
        except FileNotFoundError:
            return ''

    def describe(self):
        """What a person wants to see when a test failed."""
        lines = [f'directory {self.dir}', 'parts: ' + ', '.join(f'{p} {self.pid(p)}' for p in PARTS), 'processes:']
        lines += [f'  {p} {" ".join(cmdline(p))[:150]}' for p in self.nest.descendants()]
        for path in ('/v1/tasks', '/v1/events?newest=true&limit=40'):
            try:
                lines.append(path)
                lines += ['  ' + json.dumps({k: v for k, v in row.items() if v is not None})
                          for row in self.api('GET', path, timeout=5)[-40:]]
            except (Unanswered, ApiError) as e:
                lines.append(f'  {e}')
        lines.append('log:')
        lines += ['  ' + line for line in self.log().splitlines()[-60:]]
        return '\n'.join(lines)

    def note(self, task_id, run, name):
        """A task program's note, or None."""
        try:
            with open(os.path.join(self.notes, f'{task_id}.{run}.{name}')) as f:
                return f.read()
        except FileNotFoundError:
            return None

    def note_runs(self, name):
        """{task: {run: text}} of all notes of this name."""
        found = {}
        for entry in os.listdir(self.notes):
            match = re.fullmatch(rf'(.+\.\d+)\.(\d+)\.{name}', entry)
            if match:
                with open(os.path.join(self.notes, entry)) as f:
                    found.setdefault(match[1], {})[int(match[2])] = f.read().strip()
        return found

    def log_files(self, task_id, stream):
        """Paths of the log of a task's stream, oldest first; none before it was first written to."""
        base = os.path.join(self.data, 'node/tasks', task_id, stream)
        if not os.path.isdir(os.path.dirname(base)):
            return []
        old = sorted((int(m[1]) for name in os.listdir(os.path.dirname(base))
                      if (m := re.fullmatch(rf'{stream}\.(\d+)', name))), reverse=True)
        return [f'{base}.{n}' for n in old] + ([base] if os.path.exists(base) else [])

    def log_text(self, task_id, stream='stdout'):
        text = b''
        for path in self.log_files(task_id, stream):
            with open(path, 'rb') as f:
                text += f.read()
        return text.decode(errors='replace')
