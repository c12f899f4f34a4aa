# SPDX-License-Identifier: BSD-3-Clause
"""Programs beside tasks (`reeve exec`) and signals to tasks (`reeve signal`), with real terminals."""
import fcntl
import hashlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from reeve import proc_stat, seconds

SLEEP = {'command': ['sleep', '100000']}


@pytest.fixture
def web(up):
    """One task that runs, with things of its own that a program beside it must have, too."""
    up.apply({'web': {**SLEEP, 'env': {'COLOUR': 'blue', 'INDEX': '${task.index}'}, 'directory': '/usr'}})
    up.wait_running('web', 1)
    return up


def command(reeve, *arguments):
    return [reeve.reeve, 'exec', *arguments]


def environment(reeve):
    return {**os.environ, 'REEVE_ADDR': f'unix:{reeve.socket}', 'TERM': 'xterm'}


def run(reeve, *arguments, stdin=b'', timeout=60):
    """`reeve exec` without a terminal; its CompletedProcess, in bytes."""
    return subprocess.run(command(reeve, *arguments), input=stdin, env=environment(reeve), capture_output=True,
                          timeout=seconds(timeout))


def start(reeve, *arguments, **streams):
    return subprocess.Popen(command(reeve, *arguments), env=environment(reeve),
                            **{'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **streams})


def is_there(pid):
    stat = proc_stat(pid)
    return stat is not None and stat[0] not in 'ZX'


def children(pid):
    """Pids of all processes whose parent is @pid, zombies too."""
    found = []
    for name in os.listdir('/proc'):
        stat = proc_stat(name) if name.isdigit() else None
        if stat and stat[1] == pid:
            found.append(int(name))
    return found


class Terminal:
    """`reeve exec` in a terminal of its own, as a shell would start it."""

    def __init__(self, reeve, *arguments, rows=30, cols=90):
        self.master, self.slave = pty.openpty()
        self.resize(rows, cols)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b''

        def take():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(command(reeve, *arguments), env=environment(reeve), stdin=self.slave,
                                        stdout=self.slave, stderr=self.slave, preexec_fn=take)

    def resize(self, rows, cols):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern, deadline=30):
        """Reads until the pattern is there, and returns its match; what is behind it is kept."""
        end = time.monotonic() + seconds(deadline)
        while True:
            match = re.search(pattern, self.seen.decode(errors='replace'))
            if match:
                self.seen = self.seen.decode(errors='replace')[match.end():].encode()
                return match
            left = end - time.monotonic()
            assert left > 0, f'not seen: {pattern}\n{self.seen.decode(errors="replace")}'
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 65536)

    def is_as_before(self):
        return termios.tcgetattr(self.slave) == self.before

    def wait(self, deadline=30):
        return self.process.wait(timeout=seconds(deadline))

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal():
    made = []

    def make(*arguments, **size):
        made.append(Terminal(*arguments, **size))
        return made[-1]

    yield make
    for t in made:
        t.close()


# ---- without a terminal


def test_like_the_task(web):
    """User, directory and environment are the task's, the run's variables included."""
    done = run(web, 'web.0', '--', 'sh', '-c', 'echo $COLOUR $INDEX $REEVE_TASK $REEVE_RUN $PWD; id -u; tty')
    assert done.stdout.decode().split('\n')[:3] == ['blue 0 web.0 1 /usr', str(os.geteuid()), 'not a tty']
    assert done.returncode == 1  # of tty


def test_streams_are_two(web):
    done = run(web, 'web.0', '--', 'sh', '-c', 'echo out; echo err >&2')
    assert (done.stdout, done.stderr, done.returncode) == (b'out\n', b'err\n', 0)


def test_exit_status(web):
    for script, status in (('exit 0', 0), ('exit 7', 7), ('exit 255', 255), ('kill -TERM $$', 143), ('kill -KILL $$', 137)):
        assert run(web, 'web.0', '--', 'sh', '-c', script).returncode == status, script


def test_arguments_arrive_as_they_are(web):
    words = ['', 'a b', 'c&d=e', '%41', '+', '--', 'ü', '-x', '${task.index}', '$${x}']
    done = run(web, 'web.0', '--', 'printf', '[%s]', *words)
    assert done.stdout.decode() == ''.join(f'[{w}]' for w in words), done.stderr


def test_mistakes_are_told(web):
    def fails(status, pattern, *arguments):
        done = run(web, *arguments)
        assert done.returncode == status and re.search(pattern, done.stderr.decode()), done

    fails(3, 'no task "wbe.0"|no task "web.9"; did you mean "web.0"', 'web.9', '--', 'true')
    fails(3, 'cannot execute /no/such.*No such file', 'web.0', '--', '/no/such')
    fails(3, 'cannot execute nowhere-at-all', 'web.0', '--', 'nowhere-at-all')
    fails(2, 'there is no user "nobody-there"', '--user', 'nobody-there', 'web.0', '--', 'true')
    fails(2, '"web" is a job', 'web', '--', 'true')
    fails(2, 'something is missing', 'web.0')
    web.cli('stop', 'web')
    fails(4, 'task web.0 does not run: it is ended', 'web.0', '--', 'true')


def test_plain_request_is_refused(web):
    from reeve import ApiError
    with pytest.raises(ApiError) as e:
        web.api('GET', '/v1/tasks/web.0/exec?command=true')
    assert e.value.status == 400


def test_end_of_input(web):
    """It is passed on, and the program may go on after it; so may one that never reads."""
    done = run(web, 'web.0', '--', 'sh', '-c', 'cat; echo after', stdin=b'before\n')
    assert done.stdout == b'before\nafter\n'
    assert run(web, 'web.0', '--', 'sh', '-c', 'exec <&-; echo deaf', stdin=b'x' * 2_000_000).stdout == b'deaf\n'


def test_fifty_megabytes_there_and_back(web):
    data = os.urandom(1 << 20)
    sent, got = hashlib.sha256(), hashlib.sha256()
    p = start(web, 'web.0', '--', 'cat')

    def feed():
        for i in range(50):
            piece = data[i:] + data[:i]
            sent.update(piece)
            p.stdin.write(piece)
        p.stdin.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    total = 0
    while piece := p.stdout.read(1 << 16):
        got.update(piece)
        total += len(piece)
    feeder.join()
    assert p.wait(timeout=seconds(30)) == 0
    assert (total, got.digest()) == (50 << 20, sent.digest())


def test_files_and_no_input(web, tmp_path):
    """Standard streams that cannot be polled."""
    data = os.urandom(700_000)
    source, target = tmp_path / 'source', tmp_path / 'target'
    source.write_bytes(data)
    with open(source, 'rb') as i, open(target, 'wb') as o:
        assert start(web, 'web.0', '--', 'cat', stdin=i, stdout=o).wait(timeout=seconds(60)) == 0
    assert target.read_bytes() == data
    assert start(web, 'web.0', '--', 'cat', stdin=subprocess.DEVNULL).wait(timeout=seconds(30)) == 0


def test_slow_reader_stops_the_program(web, tmp_path):
    """A program whose output nobody reads writes a bounded amount, and nobody else waits for it."""
    count = tmp_path / 'count'
    script = f'i=0; while [ $i -lt 400 ]; do head -c 10000 /dev/zero; i=$((i+1)); echo $i > {count}; done'
    p = start(web, 'web.0', '--', 'sh', '-c', script)
    web.wait_for(lambda: count.exists() and count.read_text(), 'it writes')
    last, since = None, time.monotonic()
    while time.monotonic() - since < 1:  # it stands still
        now = count.read_text()
        if now != last:
            last, since = now, time.monotonic()
        assert run(web, 'web.0', '--', 'echo', 'hi').stdout == b'hi\n'
    # the window, the pipes to us and from the program, and what is in the hands of the CLI
    assert int(last or 0) * 10000 < 700_000
    assert len(p.stdout.read()) == 4_000_000
    assert p.wait(timeout=seconds(30)) == 0


def test_reader_that_goes(web):
    p = start(web, 'web.0', '--', 'yes')
    assert p.stdout.read(4) == b'y\ny\n'
    p.stdout.close()
    assert p.wait(timeout=seconds(30)) == 141


def test_signals_are_passed_on(web):
    p = start(web, 'web.0', '--', 'sh', '-c', 'trap "echo got; exit 5" TERM; echo ready; while :; do sleep 0.05; done')
    assert p.stdout.readline() == b'ready\n'
    p.send_signal(signal.SIGTERM)
    assert p.stdout.read() == b'got\n'
    assert p.wait(timeout=seconds(30)) == 5


def test_leftovers_of_the_group_end(web):
    """Who holds the output open is not waited for, and what is left in the group ends with its leader."""
    done = run(web, 'web.0', '--', 'sh', '-c', 'sleep 100000 & echo $!')
    web.wait_for(lambda: not is_there(int(done.stdout)), 'what was left behind has ended')


def start_stubborn(reeve):
    """A program with a child; both ignore SIGHUP. Returns the command and the two pids."""
    p = start(reeve, 'web.0', '--', 'sh', '-c', 'trap "" HUP; sleep 100000 & echo $$ $!; wait')
    pids = [int(w) for w in p.stdout.readline().split()]
    assert all(is_there(pid) for pid in pids)
    return p, pids


def test_killed_command_ends_the_program(web):
    p, pids = start_stubborn(web)
    p.kill()
    p.wait()
    web.wait_for(lambda: not any(is_there(pid) for pid in pids), 'the program has ended', 30)
    web.wait_for(lambda: not any(c in pids for c in children(web.pid('agent'))), 'it was reaped')
    assert web.task('web.0')['runs'] == 1 and web.task('web.0')['state'] == 'running'


def test_killed_agent_ends_the_program(web):
    p, pids = start_stubborn(web)
    assert web.kill('agent')
    web.wait_for(lambda: not any(is_there(pid) for pid in pids), 'the program has ended', 30)
    assert p.wait(timeout=seconds(30)) == 6
    assert b'the connection to node here broke' in p.stderr.read()
    web.wait_ready()
    assert web.task('web.0')['runs'] == 1
    assert run(web, 'web.0', '--', 'echo', 'again').stdout == b'again\n'


def test_killed_server_ends_the_program(web):
    p, pids = start_stubborn(web)
    assert web.kill('server')
    assert p.wait(timeout=seconds(30)) == 6
    web.wait_for(lambda: not any(is_there(pid) for pid in pids), 'the program has ended', 30)


def test_nothing_leaks_into_it(web):
    done = run(web, 'web.0', '--', 'ls', '-l', '/proc/self/fd')
    fds = [int(m) for m in re.findall(r' (\d+) -> ', done.stdout.decode())]
    assert sorted(fds) == [0, 1, 2, 3], done.stdout  # 3 is the directory that ls reads
    blocked = run(web, 'web.0', '--', 'grep', '-E', 'Sig(Blk|Ign)', '/proc/self/status').stdout.decode()
    assert re.findall(r'Sig\w+:\s+(\w+)', blocked) == ['0' * 16] * 2


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
def test_as_another_user(web):
    done = run(web, '--user', 'nobody', 'web.0', '--', 'sh', '-c', 'id -un; id -G; echo $COLOUR')
    assert done.stdout.decode().split('\n')[0] == 'nobody'
    assert done.stdout.decode().split('\n')[2] == 'blue'


def test_it_is_an_event(web):
    run(web, 'web.0', '--', 'echo', 'a secret')
    event = [e for e in web.events() if e['kind'] == 'task-exec'][0]
    assert event['task'] == 'web.0' and re.search(r'^user \S+ runs echo beside it$', event['message'])


# ---- with a terminal


def test_shell_in_a_terminal(web, terminal):
    t = terminal(web, 'web.0', '--', 'sh')
    t.expect(r'[#$] ')
    assert not t.is_as_before()
    t.type('stty size; echo $TERM; tty\r')
    t.expect(r'30 90\r\n')
    t.expect(r'xterm\r\n')
    t.expect(r'/dev/pts/\d+\r\n')
    t.type('exit 9\r')
    assert t.wait() == 9
    assert t.is_as_before()


def test_resize(web, terminal):
    t = terminal(web, 'web.0', '--', 'sh', '-c', 'trap "stty size" WINCH; echo ready; while :; do sleep 0.05; done')
    t.expect('ready')
    t.resize(41, 123)
    t.expect(r'41 123\r\n')


def test_control_c_is_the_programs(web, terminal):
    t = terminal(web, 'web.0', '--', 'sh', '-c', 'trap "echo caught; exit 3" INT; echo ready; while :; do sleep 0.05; done')
    t.expect('ready')
    t.type('\x03')
    t.expect('caught')
    assert t.wait() == 3 and t.is_as_before()


def test_control_d_ends_input(web, terminal):
    t = terminal(web, 'web.0', '--', 'cat')
    t.type('line\r')
    t.expect('line\r\n.*line\r\n')
    t.type('\x04')
    assert t.wait() == 0 and t.is_as_before()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_terminal_is_put_back_when_ended(web, terminal, number):
    t = terminal(web, 'web.0', '--', 'sh', '-c', 'echo $$ ready; sleep 100000')
    pid = int(t.expect(r'(\d+) ready')[1])
    t.process.send_signal(number)
    assert t.wait() == 128 + number and t.is_as_before()
    web.wait_for(lambda: not is_there(pid), 'the program has ended')


def test_terminal_is_put_back_while_stopped(web, terminal):
    t = terminal(web, 'web.0', '--', 'sh', '-c', 'echo ready; read x; echo "got $x"')
    t.expect('ready')
    t.process.send_signal(signal.SIGTSTP)
    web.wait_for(lambda: proc_stat(t.process.pid)[0] == 'T', 'it is stopped')
    assert t.is_as_before()
    t.process.send_signal(signal.SIGCONT)
    web.wait_for(lambda: not t.is_as_before(), 'the terminal is raw again')
    t.type('it\r')
    t.expect('got it')
    assert t.wait() == 0 and t.is_as_before()


def test_terminal_is_put_back_when_the_server_dies(web, terminal):
    t = terminal(web, 'web.0', '--', 'sh', '-c', 'echo ready; sleep 100000')
    t.expect('ready')
    assert web.kill('server')
    t.expect('hung up')
    assert t.wait() == 6 and t.is_as_before()


def test_terminal_or_not(web, terminal):
    assert run(web, '-t', 'web.0', '--', 'tty').stdout.startswith(b'/dev/pts/')
    t = terminal(web, '-T', 'web.0', '--', 'sh', '-c', 'tty; cat')
    t.expect('not a tty')
    assert t.is_as_before()
    t.type('\x04')
    assert t.wait() == 0


# ---- signals to tasks

CATCHER = {'command': ['sh', '-c', 'trap "echo caught" USR1; echo ready; while :; do sleep 0.05; done'], 'count': 2}


def test_signal(up):
    up.apply({'web': CATCHER})
    up.wait_running('web', 2)
    for task in ('web.0', 'web.1'):
        up.wait_for(lambda: 'ready' in up.log_text(task), f'{task} is ready')
    assert up.cli('signal', 'web.1', 'USR1').stdout == 'web.1: signal USR1\n'
    up.wait_for(lambda: 'caught' in up.log_text('web.1'), 'web.1 caught it')
    assert 'caught' not in up.log_text('web.0')
    up.cli('signal', 'web', 'SIGUSR1')
    up.wait_for(lambda: 'caught' in up.log_text('web.0') and up.log_text('web.1').count('caught') == 2, 'both caught it')
    events = [e for e in up.events() if e['kind'] == 'task-signalled']
    assert [e['task'] for e in events] == ['web.1', 'web.0', 'web.1']
    assert all(re.search(r'^user \S+ sent it signal USR1$', e['message']) for e in events)


def test_signal_mistakes(up):
    up.apply({'web': SLEEP})
    up.wait_running('web', 1)

    def fails(status, pattern, *arguments):
        done = up.cli('signal', *arguments, check=False)
        assert done.returncode == status and re.search(pattern, done.stderr), done

    fails(2, 'something is missing', 'web.0')
    fails(2, 'there is no signal "NONE"', 'web.0', 'NONE')
    fails(3, 'no task "web.7"', 'web.7', 'HUP')
    fails(3, 'no job "wbe"; did you mean "web"', 'wbe', 'HUP')
    up.cli('stop', 'web')
    fails(4, 'task web.0 does not run', 'web.0', 'HUP')
    fails(4, 'no task of job web runs', 'web', 'HUP')
