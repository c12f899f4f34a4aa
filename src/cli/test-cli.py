#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The commands against a real Reeve: test-cli.py REEVE KEEPER.

Everything lives in one temporary directory and ends with `reeve down`. Nothing sleeps for a guess: until() looks again
until a deadline, which a test that passes does not wait for.
"""
import json
import os
import pty
import queue
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import fcntl
import unittest

LIMIT = 60
DIR = BIN = None

WEB = """
jobs:
  web:
    count: 2
    command: [sh, -c, "echo begins; exec sleep 1000"]
    stop: {grace: 2s}
  report:
    kind: batch
    command: [echo, hello]
"""

# Numbered lines on both streams, until a file says stop; then as many are there as it says.
WRITER = """
import os, sys, time
n = 0
while not os.path.exists(sys.argv[1]):
    for _ in range(50):
        print('out', n)
        print('err', n, file=sys.stderr)
        n += 1
    sys.stdout.flush()
    time.sleep(0.01)
print('out end')
print('err end', file=sys.stderr)
sys.stdout.flush()
time.sleep(1000)
"""


def reeve(*args, stdin=None, **env):
    return subprocess.run([BIN, *args], input=stdin, text=True, capture_output=True, timeout=LIMIT,
                          env={**os.environ, **env})


def ok(*args, **kwargs):
    done = reeve(*args, **kwargs)
    assert done.returncode == 0, f'reeve {args}: {done.returncode}: {done.stderr}'
    return done.stdout


def until(what, condition):
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f'not within {LIMIT} s: {what}'
        time.sleep(0.02)


def on_terminal(*args, columns, **env):
    """What the command prints on a terminal of so many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    process = subprocess.Popen([BIN, *args], stdin=slave, stdout=slave, stderr=slave,
                               env={**os.environ, 'TERM': 'xterm', **env})
    os.close(slave)
    out = b''
    try:
        while piece := os.read(master, 65536):
            out += piece
    except OSError:
        pass  # the other side is closed
    os.close(master)
    process.wait(LIMIT)
    return out.decode()


def tasks(*names):
    return {t['id']: t for t in json.loads(ok('ps', '--json', *names))}


def jobs():
    return {j['name']: j for j in json.loads(ok('jobs', '--json'))}


def read(path):
    with open(path) as file:
        return file.read()


def write(name, text):
    path = os.path.join(DIR, name)
    with open(path, 'w') as file:
        file.write(text)
    return path


class Without(unittest.TestCase):
    """What needs no server."""

    def fails(self, status, text, *args, **kwargs):
        done = reeve(*args, **kwargs)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(text, done.stderr)
        self.assertEqual(done.stdout, '')

    def test_usage(self):
        self.assertIn('Commands:', ok('--help'))
        self.fails(2, 'did you mean "ps"?', 'pss')
        self.fails(2, 'did you mean --json?', 'ps', '--jsno')
        self.fails(2, 'unknown option -x\n', 'logs', '--stream=stdout', '-xf', 'web')
        self.fails(2, '--json takes no value', 'ps', '--json=1')
        self.fails(2, '--help takes no value', 'ps', '--help=1')
        self.fails(2, '-t needs a value', 'apply', '-wt')
        self.fails(2, '--timeout needs a value', 'stop', '--time')
        self.fails(2, 'an argument is empty', 'remove', '')
        self.fails(2, 'something is missing', 'stop')
        self.fails(2, 'too many arguments', 'why', 'a', 'b')
        self.fails(2, '--timeout: expected a duration', 'stop', '-t', 'soon', 'web')
        self.fails(2, 'how many?', 'scale', 'web')
        self.fails(2, 'expected a number of tasks, got "x"', 'scale', 'web=x')
        self.fails(2, 'is a task', 'scale', 'web.0=1')
        self.fails(2, 'is a task', 'remove', 'web.0')
        self.fails(2, 'expected stdout or stderr', 'logs', '-s', 'both', 'web')

    def test_every_command_has_help(self):
        for name in re.findall(r'^  ([a-z]+) ', ok('--help'), re.M):
            text = ok(name, '--help')
            self.assertTrue(text.startswith(f'Usage: reeve {name}'), text)
            self.assertEqual(ok('help', name), text)
            self.assertLessEqual(max(map(len, text.splitlines())), 80, name)
        self.assertLessEqual(max(map(len, ok('--help').splitlines())), 80)
        for line in on_terminal('up', '--help', columns=60).splitlines():
            self.assertLessEqual(len(line), 60)

    def test_nobody_answers(self):
        for command in (['ps'], ['logs', '-f', 'web'], ['events', '-f'], ['stop', 'web']):
            self.fails(6, 'no server at', *command, REEVE_ADDR=f'unix:{DIR}/nobody')
        self.fails(2, 'REEVE_ADDR', 'ps', REEVE_ADDR='unix:')

    def test_mistakes_in_files_come_before_the_server(self):
        nobody = {'REEVE_ADDR': f'unix:{DIR}/nobody'}
        bad = write('bad.yaml', 'jobs:\n  web:\n    comand: x\n')
        self.fails(2, f'{bad}:3: jobs.web.comand: unknown field; did you mean "command"?', 'apply', bad, **nobody)
        self.fails(2, 'standard input:1: jobs.a', 'plan', '-', stdin='{"jobs": {"a": {"x": 1}}}', **nobody)
        self.fails(2, 'there is no job', 'apply', '-', stdin='jobs: {}', **nobody)
        self.fails(3, 'none.yaml: No such file', 'apply', f'{DIR}/none.yaml', **nobody)
        good = write('good.yaml', 'jobs: {a: {command: x}}')
        self.fails(2, 'job a is in', 'apply', good, good, **nobody)
        os.makedirs(f'{DIR}/empty', exist_ok=True)
        self.fails(3, 'no job file', 'apply', f'{DIR}/empty', **nobody)

    def test_schema(self):
        self.assertIn('properties', json.loads(ok('schema', 'job')))
        self.assertIn('| `command` |', ok('schema', 'job', '--markdown'))
        self.fails(3, 'no schema', 'schema', 'pod')

    def test_completion_is_bash(self):
        script = ok('completion', 'bash')

        def offers(*words):
            """What bash would offer for the last word."""
            offer = (script + 'compopt() { :; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _reeve; '
                     '((${#COMPREPLY[@]} == 0)) || printf "%s\\n" "${COMPREPLY[@]}"')
            done = subprocess.run(['bash', '-c', offer, 'bash', 'reeve', *words], capture_output=True, text=True)
            self.assertEqual(done.stderr, '')
            return done.stdout.splitlines()

        os.makedirs(f'{DIR}/some where', exist_ok=True)
        self.assertEqual(offers('ev'), ['events'])
        self.assertEqual(offers('stop', '--no'), ['--no-wait'])
        self.assertEqual(offers('schema', ''), ['job'])
        for words in (['up', '--data', f'{DIR}/so'], ['up', '-d', f'{DIR}/so'], ['up', '--data', '=', f'{DIR}/so'],
                      ['apply', f'{DIR}/so']):
            self.assertEqual(offers(*words), [f'{DIR}/some where'])
        self.assertEqual(offers('scale', 'web', '='), [])
        self.fails(3, 'no completion', 'completion', 'fish')

    def test_full_disk(self):
        with open('/dev/full', 'w') as full:
            done = subprocess.run([BIN, 'schema', 'job'], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 9)
        self.assertIn('standard output', done.stderr)


    def test_up_says_why_not(self):
        self.fails(2, 'sockets are for --socket', 'up', '--listen', 'unix:/tmp/s')
        self.fails(3, '--jobs nothing: No such file', 'up', '--jobs', 'nothing')
        self.fails(2, '--node my host: a name is', 'up', '--node', 'my host')
        self.fails(2, 'longer than the 107 bytes', 'up', '--socket', '/' + 107 * 'x')

    def test_upgrade_looks_at_the_keeper_first(self):
        self.fails(3, '--keeper /none: No such file', 'upgrade', '--keeper', '/none')
        self.fails(2, '--keeper /etc: not a program', 'upgrade', '--keeper', '/etc')

    def test_a_host_may_have_dots(self):
        rename = ['unshare', '--uts', 'sh', '-c', 'echo "$0" >/proc/sys/kernel/hostname && exec "$@"']
        if subprocess.run([*rename, 'a.b', 'true'], stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest('the host cannot be renamed')
        for host, node in ('my.host.example', 'my'), ('x' * 64, 'x' * 63), ('-', 'node'):
            socket = f'{DIR}/{node[:8]}'
            subprocess.run([*rename, host, BIN, 'up', '--data', f'{socket}.data', '--socket', socket, '--detach'],
                           check=True, stdout=subprocess.DEVNULL, timeout=LIMIT)
            self.assertIn(f'node {node} is ready', ok('why', node, REEVE_ADDR=f'unix:{socket}'))
            ok('down', REEVE_ADDR=f'unix:{socket}')

    def test_up_notices_a_keeper_that_ends_at_once(self):
        os.makedirs(f'{DIR}/broken', exist_ok=True)
        shutil.copy(BIN, f'{DIR}/broken/reeve')
        os.symlink('/bin/false', f'{DIR}/broken/reeve-keeper')
        begun = time.monotonic()
        done = subprocess.run([f'{DIR}/broken/reeve', 'up', '--data', f'{DIR}/broken/data', '--socket', f'{DIR}/none',
                               '--detach'], capture_output=True, text=True, timeout=LIMIT)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f'see {DIR}/broken/data/reeve.log: the keeper has ended', done.stderr)
        self.assertLess(time.monotonic() - begun, 20)


class With(unittest.TestCase):
    """What needs one. Each test has jobs of its own names."""

    @classmethod
    def setUpClass(cls):
        # more job files than most people have, all of them watched
        many = [option for i in range(100) for option in ('--jobs', write(f'many{i}.yaml', 'jobs: {}'))]
        said = ok('up', '--data', f'{DIR}/data', '--socket', f'{DIR}/s', '--node', 'here', '--listen', '127.0.0.1:0',
                  '--detach', *many)
        assert f'{DIR}/data/token' in said and read(f'{DIR}/data/token').strip() not in said, said

    @classmethod
    def tearDownClass(cls):
        ok('down')

    def tearDown(self):
        if jobs():
            ok('remove', '--purge', *jobs())

    def fails(self, status, text, *args, **kwargs):
        done = reeve(*args, **kwargs)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(text, done.stderr)

    def test_apply_and_listings(self):
        path = write('web.yaml', WEB)
        self.assertEqual(ok('apply', '--wait', path), 'web: created (version 1)\nreport: created (version 1)\n')
        self.assertEqual(ok('apply', path), 'web: unchanged (version 1)\nreport: unchanged (version 1)\n')
        seen = tasks()
        self.assertEqual(sorted(seen), ['report.0', 'web.0', 'web.1'])
        self.assertEqual((seen['report.0']['state'], seen['report.0']['result']), ('ended', 'succeeded'))
        self.assertEqual((seen['web.0']['state'], seen['web.0']['node'], seen['web.0']['runs']), ('running', 'here', 1))
        for name in ('id job version node state ready result pid runs restarts exit_code signal reason since '
                     'next_run_at').split():
            self.assertIn(name, seen['web.0'])
        self.assertEqual(sorted(tasks('web.1', 'report')), ['report.0', 'web.1'])
        for name in 'name kind version count running ready state'.split():
            self.assertIn(name, jobs()['web'])
        self.assertRegex(ok('ps', 'web'), r'TASK +STATE +READY +PID .*\nweb\.0 +running +yes +\d+ ')
        self.assertRegex(ok('jobs'), r'(?m)^web +service +running +2/2 +2 +1 ')
        text = ok('job', 'web')
        self.assertIn('count: 2\n', text)
        self.assertIn('stop.grace: "2s"\n', text)
        self.assertNotIn('restart.delay', text)
        self.assertIn('job-applied', text)
        self.assertEqual(ok('job', 'web', '--spec').count('"web"'), 1)
        self.assertEqual(ok('apply', '-', stdin=ok('job', 'web', '--spec')), 'web: unchanged (version 1)\n')
        self.assertIn('web', ok('why', 'web.0'))
        self.assertEqual(json.loads(ok('why', '--json', 'web.0'))['subject'], 'web.0')

    def test_directory_and_versions(self):
        os.makedirs(f'{DIR}/jobs', exist_ok=True)
        write('jobs/a.yaml', 'jobs: {a: {command: sleep 1000}}')
        write('jobs/b.json', '{"jobs": {"b": {"command": "sleep 1000"}}}')
        write('jobs/notes.txt', 'not a job')
        answer = json.loads(ok('apply', '--json', f'{DIR}/jobs'))
        self.assertEqual([j['job'] for j in answer['jobs']], ['a', 'b'])
        changed = 'jobs: {a: {command: sleep 2000}}'
        self.fails(4, 'version', 'apply', '--if-version', '7', '-', stdin=changed)
        self.assertEqual(ok('apply', '--if-version', '1', '-', stdin=changed), 'a: updated (version 2)\n')
        self.assertIn('sleep 1000', ok('job', 'a', '--spec', '--version', '1'))
        self.assertIn('sleep 2000', ok('job', 'a', '--spec'))

    def test_apply_waits_and_tells_failure(self):
        failing = 'jobs: {bad: {kind: batch, command: [/no/such/program], restart: {policy: never}}}'
        self.fails(1, 'job bad is failed', 'apply', '--wait', '-', stdin=failing)
        self.assertRegex(ok('ps'), r'bad\.0 +failed ')
        slow = 'jobs: {slow: {command: [/no/such/program], restart: {delay: 1h, max_delay: 1h}}}'
        self.fails(7, 'job slow is degraded after', 'apply', '--wait', '-t', '500ms', '-', stdin=slow)
        self.assertRegex(ok('ps', 'slow'), r'slow\.0 +queued, in \d+')
        ok('apply', '-', stdin='jobs: {three: {kind: batch, command: "exit 3", restart: {policy: never}}}')
        until('it has failed', lambda: jobs()['three']['state'] == 'failed')
        self.assertRegex(ok('ps'), r'three\.0 +failed \(exit 3\) ')

    def test_plan(self):
        ok('apply', '--wait', write('web.yaml', WEB))
        text = ok('plan', write('more.yaml', WEB.replace('begins', 'starts').replace('count: 2', 'count: 3')))
        self.assertIn('web: update, as version 2\n', text)
        self.assertIn('  count: 2 -> 3\n', text)
        self.assertRegex(text, r'command: \[.*begins.* -> \[.*starts.*\(new run\)')
        self.assertRegex(text, r'web\.2 +start +here')
        self.assertRegex(text, r'2-3 +web\.0 \(2\) +replace +here')
        self.assertIn('web: 2 of its tasks or more are ready at every moment (2 now, 3 then).', text)
        self.assertIn('report: unchanged\n', text)
        self.assertIn('No task is started', ok('plan', write('web.yaml', WEB)))
        self.assertEqual(jobs()['web']['version'], 1)

    def test_stop_restart_scale_remove(self):
        ok('apply', '--wait', write('web.yaml', WEB))
        before = tasks('web')
        self.assertEqual(ok('stop', 'web.1'), 'web.1: stopped\n')
        self.assertEqual(tasks('web')['web.1']['state'], 'ended')
        self.assertEqual(tasks('web')['web.0']['pid'], before['web.0']['pid'])
        ok('restart', 'web.1')
        until('web.1 runs again', lambda: tasks('web.1')['web.1']['state'] == 'running')
        self.assertEqual(ok('scale', '--wait', 'web=3'), 'web: 3 tasks\n')
        self.assertEqual(jobs()['web']['running'], 3)
        self.assertEqual(ok('scale', 'web', '1'), 'web: 1 task\n')
        ok('stop', 'web')
        self.assertEqual(jobs()['web']['state'], 'stopped')
        self.assertEqual(ok('remove', 'web'), 'web: removed\n')
        self.fails(3, 'no job "web"', 'stop', 'web')
        self.fails(3, 'did you mean "report"?', 'stop', 'reprot')
        self.fails(3, 'no task', 'restart', 'report.7')
        self.fails(2, 'report.0 is a task', 'remove', 'report', 'report.0')
        self.assertIn('report', jobs())

    def test_stop_waits_for_the_end(self):
        stubborn = 'trap "" TERM; echo deaf; while :; do sleep 0.1; done'
        ok('apply', '-', stdin=json.dumps({'jobs': {'deaf': {'command': stubborn, 'stop': {'grace': '1s'}}}}))
        until('it is deaf', lambda: 'deaf\n' in ok('logs', 'deaf'))
        self.fails(7, 'is stopping after', 'stop', '-t', '100ms', 'deaf')
        self.assertEqual(ok('stop', 'deaf'), 'deaf: stopped\n')
        self.assertRegex(ok('ps'), r'deaf\.0 +stopped \(KILL\)')

    def test_tables_fit_the_terminal(self):
        ok('apply', '--wait', write('web.yaml', WEB))
        text = on_terminal('ps', columns=64)
        self.assertIn('\x1b[32mrunning\x1b[0m', text)
        for line in re.sub('\x1b[^m]*m', '', text).splitlines():
            self.assertLessEqual(len(line), 64)
        self.assertIn('…', text)
        for plain in ({'NO_COLOR': '1'}, {'TERM': 'dumb'}):
            self.assertNotIn('\x1b', on_terminal('ps', columns=200, **plain))
        self.assertNotIn('…', ok('ps'))
        self.assertNotIn('\x1b', ok('ps'))

    def test_no_job_steers_the_terminal(self):
        ok('apply', '-', stdin=json.dumps({'jobs': {'evil': {'command': ['echo', '\x1b[2J']}}}))
        self.assertNotIn('\x1b[2J', on_terminal('job', 'evil', columns=80))

    def test_logs(self):
        text = 'for i in 1 2 3; do echo out $i; echo err $i >&2; done; sleep 1000'
        ok('apply', '--wait', '-', stdin=json.dumps({'jobs': {'talk': {'command': text}}}))
        until('it has written', lambda: ok('logs', 'talk').count('\n') == 6)
        self.assertEqual(ok('logs', '-s', 'stderr', '-n', '2', 'talk.0'), 'err 2\nerr 3\n')
        first = json.loads(ok('logs', '--json', '-s', 'stdout', 'talk').splitlines()[0])
        self.assertEqual((first['task'], first['stream'], first['offset'], first['text']),
                         ('talk.0', 'stdout', 0, 'out 1'))
        self.fails(3, 'no job "tlak"; did you mean "talk"?', 'logs', 'tlak')
        reader, writer = os.pipe()
        os.close(reader)
        gone = subprocess.run([BIN, 'logs', '-f', 'talk'], stdout=writer, stderr=subprocess.PIPE, timeout=LIMIT,
                              restore_signals=False)
        os.close(writer)
        self.assertEqual((gone.returncode, gone.stderr), (-signal.SIGPIPE, b''))

    def follow(self, *args):
        out = open(f'{DIR}/follow{len(args)}', 'w+')
        process = subprocess.Popen([BIN, 'logs', '-f', *args], stdout=out, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(out.close)
        return process, out.name

    def kill_server(self):
        pid = json.loads(ok('version', '--json'))['server']['pid']
        os.kill(pid, signal.SIGKILL)

        def another():
            server = json.loads(ok('version', '--json'))['server']
            return server is not None and server['pid'] != pid
        until('the server is back', another)

    def check_lines(self, text, prefix, begins):
        for stream in ('out', 'err'):
            numbers = re.findall(rf'^{re.escape(prefix)}{stream} (\d+)$', text, re.M)
            first = int(numbers[0])
            self.assertEqual([int(n) for n in numbers], list(range(first, first + len(numbers))), prefix)
            if begins:
                self.assertEqual(first, 0)

    def test_follow_goes_on_when_the_server_is_killed(self):
        stop = f'{DIR}/stop-writing'
        spec = {'command': [sys.executable, '-c', WRITER, stop], 'count': 1}
        ok('apply', '--wait', '-', stdin=json.dumps({'jobs': {'fast': spec}}))
        job, job_out = self.follow('fast')
        last, last_out = self.follow('-n', '5', 'fast.0')
        for path in (job_out, last_out):
            until('lines come', lambda: os.path.getsize(path) > 10000)
        for _ in range(3):
            self.kill_server()
            size = os.path.getsize(job_out)
            until('lines come again', lambda: os.path.getsize(job_out) > size)
        ok('scale', '--wait', 'fast=2')
        self.kill_server()
        until('a new task is shown', lambda: 'fast.1 | out 100\n' in read(job_out))
        open(stop, 'w').close()
        until('both ends', lambda: read(job_out).count(' end\n') == 4)
        until('its end', lambda: read(last_out).count(' end\n') == 2)
        for process in (job, last):
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(LIMIT), -signal.SIGINT)
            self.assertEqual(process.stderr.read(), '')
        text = read(job_out)
        self.check_lines(text, 'fast.0 | ', True)
        self.check_lines(text, 'fast.1 | ', True)
        self.check_lines(read(last_out), '', False)

    def test_events(self):
        process = subprocess.Popen([BIN, 'events', '-f', '-n', '0', '--json'], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        lines = queue.Queue()
        reader = threading.Thread(target=lambda: [lines.put(json.loads(line)) for line in process.stdout], daemon=True)
        reader.start()
        seen = []
        for count in range(2, 100):  # something must happen after it has connected
            ok('apply', '-', stdin=f'jobs: {{probe: {{command: sleep 1000, count: 0, update: {{parallel: {count}}}}}}}')
            try:
                seen.append(lines.get(timeout=0.2))
                break
            except queue.Empty:
                continue
        ok('apply', '--wait', '-', stdin='jobs: {one: {command: sleep 1000}}')
        while seen[-1]['kind'] != 'task-started':
            seen.append(lines.get(timeout=LIMIT))
        self.kill_server()
        ok('stop', 'one')
        while seen[-1]['kind'] != 'task-stopped':
            seen.append(lines.get(timeout=LIMIT))
        process.terminate()
        process.wait(LIMIT)
        reader.join(LIMIT)
        indexes = [e['index'] for e in seen]
        self.assertEqual(indexes, list(range(indexes[0], indexes[0] + len(indexes))))
        self.assertRegex(ok('events', '--task', 'one.0', '-n', '1'), r'^[0-9:]+  task-stopped +one\.0 ')
        self.assertEqual(len(json.loads(ok('events', '--json', '-n', '2', '--job', 'one'))), 2)


if __name__ == '__main__':
    DIR = tempfile.mkdtemp(prefix='reeve-cli-')
    BIN = shutil.copy(sys.argv[1], DIR)
    shutil.copy(sys.argv[2], DIR)
    os.environ.update(REEVE_ADDR=f'unix:{DIR}/s')
    for name in ('REEVE_TOKEN', 'NO_COLOR'):
        os.environ.pop(name, None)
    try:
        result = unittest.main(argv=sys.argv[:1] + sys.argv[3:], exit=False).result
    finally:
        if os.environ.get('REEVE_KEEP') is None:
            shutil.rmtree(DIR, ignore_errors=True)
    sys.exit(not result.wasSuccessful())
