# SPDX-License-Identifier: BSD-3-Clause
"""Whether a task is ready and well: every way to say so, with the programs that people use for it (systemd-notify, a
program on libsystemd), what follows when it is not, and that none of it is lost when the agent is killed."""
import json
import os
import signal
import socket
import threading

import pytest

import reeve as harness
from reeve import seconds

NOTIFY = '/usr/bin/systemd-notify'
needs_notify = pytest.mark.skipif(not os.access(NOTIFY, os.X_OK), reason='systemd-notify is not installed')
ONCE = {'policy': 'never'}
QUICK = {'delay': '100ms', 'max_delay': '100ms', 'burst': 0}


def touch(reeve, name):
    open(f'{reeve.dir}/{name}', 'w').close()


def when(reeve, name, then):
    """Shell text: waits for a file of the test, then goes on."""
    return f'while [ ! -e {reeve.dir}/{name} ]; do sleep 0.02; done; {then}'


def runs_unready(reeve, task):
    """It runs, and is not ready."""
    reeve.wait_for(lambda: reeve.task(task)['state'] == 'running', f'{task} runs')
    assert reeve.task(task)['ready'] is False


def becomes_ready(reeve, task, deadline=60):
    reeve.wait_for(lambda: reeve.task(task)['ready'], f'{task} is ready', deadline)


def messages(reeve, kind, task=None):
    return [e['message'] for e in reeve.events() if e['kind'] == kind and task in (None, e['task'])]


class Answers:
    """A server that accepts, and answers HTTP with the status that it is told."""

    def __init__(self):
        self.socket = socket.create_server(('127.0.0.1', 0))
        self.port = self.socket.getsockname()[1]
        self.status, self.asked = 503, 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(seconds(5))
                try:
                    if connection.recv(4096):
                        self.asked += 1
                        connection.sendall(f'HTTP/1.1 {self.status} X\r\nContent-Length: 2\r\n\r\nok'.encode())
                except OSError:
                    pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


@pytest.fixture
def answers():
    server = Answers()
    yield server
    server.close()


# ---- ready


@needs_notify
def test_notify(up):
    """READY=1 and STATUS= of systemd-notify; MAINPID of another process is refused; `why` and `ps` tell."""
    script = when(up, 'go', f'{NOTIFY} --ready --status="serves 3 clients"; ') + when(
        up, 'main', f'{NOTIFY} MAINPID=1; ') + when(up, 'bye', f'{NOTIFY} STOPPING=1; exec sleep 1000')
    up.apply({'web': {'command': script, 'ready': {'notify': True}}})
    runs_unready(up, 'web.0')
    assert 'ready: waits for the program to say so' in ' '.join(up.cli('why', 'web.0').stdout.split())
    assert up.jobs()['web']['ready'] == 0 and up.jobs()['web']['running'] == 1
    touch(up, 'go')
    becomes_ready(up, 'web.0')
    up.wait_for(lambda: up.task('web.0')['status'] == 'serves 3 clients', 'its status is known')
    assert 'it says: serves 3 clients' in ' '.join(up.cli('why', 'web.0').stdout.split())
    assert any('is ready after' in m for m in messages(up, 'task-ready', 'web.0'))
    assert up.cli('ps', 'web').stdout.splitlines()[1].split()[2:4] != ['no'], 'it is ready in the table'
    touch(up, 'main')
    up.wait_log('MAINPID=1 is refused')
    touch(up, 'bye')
    up.wait_for(lambda: up.task('web.0')['ready'] is False, 'it is about to end')


def test_notification_descriptor(up):
    """s6's way: a line end on descriptor 3, which is not one of the agent's; nothing else makes it ready."""
    script = when(up, 'more', 'printf almost >&3; ') + when(up, 'go', 'echo >&3; exec 3>&-; ls -l /proc/self/fd; exec sleep 1000')
    up.apply({'web': {'command': script, 'ready': {'fd': 3}}})
    runs_unready(up, 'web.0')
    touch(up, 'more')
    touch(up, 'go')
    becomes_ready(up, 'web.0')
    up.wait_for(lambda: '/dev/null' in up.log_text('web.0'), 'it told its descriptors')
    targets = [line.split(' -> ')[1] for line in up.log_text('web.0').splitlines() if ' -> ' in line]
    assert all(t == '/dev/null' or 'fifos' in t or t.startswith('/proc/') for t in targets), targets


def test_log_line(up):
    """A line of either stream that matches; what is in the log of an earlier run does not count, nor half a line."""
    script = ('if [ $REEVE_RUN = 1 ]; then echo "listening on 80" >&2; exec sleep 1000; fi; '
              'printf "listening on"; ' + when(up, 'go', 'echo " 81"; exec sleep 1000'))
    up.apply({'web': {'command': script, 'ready': {'log': '^listening on [0-9]+$'}}})
    becomes_ready(up, 'web.0')
    up.cli('restart', 'web')
    up.wait_for(lambda: 'listening on' in up.log_text('web.0'), 'the second run has written')
    runs_unready(up, 'web.0')
    touch(up, 'go')
    becomes_ready(up, 'web.0')
    assert up.task('web.0')['runs'] == 2


def test_log_line_in_a_flood(up):
    """A line among megabytes that are captured without passing through the agent."""
    script = 'head -c 3000000 /dev/zero | tr "\\0" "x"; echo; echo up; seq 100000; exec sleep 1000'
    up.apply({'web': {'command': script, 'ready': {'log': '^up$'}}})
    becomes_ready(up, 'web.0')


def test_probes(up, answers):
    """HTTP: only a good status counts; TCP: a connection; a command: 0, with the task's variables."""
    url = f'http://127.0.0.1:{answers.port}/health'
    up.apply({
        'http': {'command': ['sleep', '1000'], 'ready': {'http': url, 'interval': '100ms', 'successes': 2}},
        'tcp': {'command': ['sleep', '1000'], 'ready': {'tcp': f'127.0.0.1:{answers.port}', 'interval': '100ms'}},
        'none': {'command': ['sleep', '1000'], 'resources': {'ports': ['p']},
                 'ready': {'tcp': '127.0.0.1:${ports.p}', 'interval': '100ms'}},
        'command': {'command': ['sleep', '1000'], 'env': {'WANT': f'{up.dir}/go'},
                    'ready': {'command': 'test -e "$WANT" && test "$REEVE_TASK" = command.0', 'interval': '100ms'}},
    })
    becomes_ready(up, 'tcp.0')
    up.wait_for(lambda: answers.asked >= 2, 'it was asked over HTTP')
    for task in ('http.0', 'none.0', 'command.0'):
        runs_unready(up, task)
    answers.status = 204
    becomes_ready(up, 'http.0')
    assert up.task('command.0')['ready'] is False
    touch(up, 'go')
    becomes_ready(up, 'command.0')
    asked = answers.asked
    becomes_ready(up, 'tcp.0')
    assert answers.asked <= asked + 1, 'who is ready is not asked any more'


def test_a_probe_command_is_killed(up):
    """A command that takes too long is killed with all that it started, and none is left."""
    up.apply({'web': {'command': ['sleep', '1000'], 'ready': {
        'command': f'sleep 4711 & echo $$ >> {up.dir}/asked; sleep 4711', 'interval': '100ms', 'timeout': '200ms'}}})
    up.wait_for(lambda: os.path.exists(f'{up.dir}/asked') and len(open(f'{up.dir}/asked').readlines()) >= 3,
                'it was asked three times')
    up.cli('stop', 'web')
    up.wait_for(lambda: not [p for p in up.nest.descendants() if 'sleep' in harness.cmdline(p)], 'nothing is left')


def test_deadline(up):
    """Not ready in time: the run has failed and is stopped; the restart policy decides."""
    up.apply({'web': {'command': ['sleep', '1000'], 'restart': ONCE, 'ready': {'log': 'never', 'deadline': '500ms'}}})
    up.wait_for(lambda: up.task('web.0')['state'] == 'ended', 'it has ended')
    task = up.task('web.0')
    assert task['result'] == 'failed' and 'it was not ready within 500ms (ready.deadline)' in task['reason'], task


def test_a_new_version_waits_for_ready(up):
    """A rolling update goes on only when the new task is ready; one that never is takes the update back."""
    job = {'command': when(up, 'go', 'echo ready; exec sleep 1000'), 'count': 2, 'ready': {'log': '^ready$'},
           'update': {'deadline': '3s', 'revert': True}}
    touch(up, 'go')
    up.apply({'web': job})
    up.wait_tasks('web', ready=True)
    old = {t['id']: t['pid'] for t in up.ps('web')}
    up.apply({'web': dict(job, command=when(up, 'never', 'echo ready'))})
    up.wait_for(lambda: up.task('web.0')['version'] == 2 and up.task('web.0')['state'] == 'running', 'version 2 begins')
    assert up.task('web.1')['pid'] == old['web.1'], 'the other one waits'
    up.wait_for(lambda: [e for e in up.events() if e['kind'] == 'job-reverted'], 'the update is taken back')
    up.wait_for(lambda: all(t['ready'] for t in up.ps('web')), 'all is ready again')
    assert up.task('web.1')['pid'] == old['web.1'], 'it was never touched'


# ---- health


def test_unhealthy_is_restarted(up, answers):
    """So many bad answers in a row: the run has failed, with the last answer as the reason, and there is another."""
    answers.status = 200
    up.apply({'web': {'command': ['sleep', '1000'], 'restart': QUICK, 'health': [
        {'http': f'http://127.0.0.1:{answers.port}/', 'interval': '100ms', 'failures': 3}]}})
    becomes_ready(up, 'web.0')
    up.wait_for(lambda: answers.asked >= 3, 'it was asked')
    assert up.task('web.0')['runs'] == 1
    answers.status = 500
    up.wait_for(lambda: up.task('web.0')['runs'] >= 2, 'it is restarted')
    said = messages(up, 'task-stopping', 'web.0')[0]
    assert 'status 500, 3 times in a row' in said and 'unhealthy' in said, said
    answers.status = 200
    up.wait_for(lambda: up.task('web.0')['ready'], 'the next run')
    assert up.task('web.0')['restarts'] >= 1


def test_unhealthy_is_marked(up):
    """`then: mark`: it runs on, and status, event and `ps` say so, until it is well again."""
    touch(up, 'well')
    up.apply({'web': {'command': ['sleep', '1000'], 'health': [
        {'command': f'test -e {up.dir}/well || {{ echo it is ill; exit 3; }}', 'interval': '100ms', 'failures': 2,
         'then': 'mark'}]}})
    becomes_ready(up, 'web.0')
    pid = up.task('web.0')['pid']
    assert up.task('web.0')['healthy'] is True
    os.unlink(f'{up.dir}/well')
    up.wait_for(lambda: up.task('web.0')['healthy'] is False, 'it is unhealthy')
    assert 'unhealthy' in up.cli('ps', 'web').stdout
    assert 'exit code 3: it is ill, 2 times in a row' in messages(up, 'task-health', 'web.0')[0]
    touch(up, 'well')
    up.wait_for(lambda: up.task('web.0')['healthy'], 'it is healthy again')
    assert up.task('web.0')['pid'] == pid and up.task('web.0')['runs'] == 1
    assert 'healthy again' in messages(up, 'task-health', 'web.0')[1]


def test_start_period(up, answers):
    """Failures soon after the start do not count."""
    up.apply({'web': {'command': ['sleep', '1000'], 'health': [
        {'http': f'http://127.0.0.1:{answers.port}/', 'interval': '100ms', 'failures': 1, 'start_period': '1h'}]}})
    up.wait_for(lambda: answers.asked >= 5, 'it was asked')
    assert up.task('web.0')['runs'] == 1 and up.task('web.0')['state'] == 'running'


@needs_notify
def test_watchdog(up):
    """No sign of life: ABRT, and the run has failed; signs of life keep it running."""
    script = (f'trap "echo got ABRT; exit 1" ABRT; {NOTIFY} --ready; '
              f'while [ ! -e {up.dir}/stop ]; do {NOTIFY} WATCHDOG=1; sleep 0.1; done; echo $WATCHDOG_USEC; '
              'while :; do sleep 0.1; done')
    up.apply({'web': {'command': script, 'ready': {'notify': True}, 'watchdog': '3s', 'restart': ONCE}})
    becomes_ready(up, 'web.0')
    up.wait_for(lambda: len(up.log_text('web.0')) == 0 and up.task('web.0')['state'] == 'running', 'it lives')
    touch(up, 'stop')
    up.wait_for(lambda: up.task('web.0')['state'] == 'ended', 'the watchdog bites')
    task = up.task('web.0')
    assert task['result'] == 'failed' and 'it gave no sign of life for 3s (watchdog)' in task['reason'], task
    assert up.log_text('web.0').split('\n')[:2] == ['3000000', 'got ABRT']


# ---- kills


@needs_notify
def test_ready_while_the_agent_is_dead(up):
    """The agent is stopped, the program says READY=1, the agent is killed: the next one hears it from the socket that
    the keeper holds. What was ready stays ready, what was not stays so."""
    script = when(up, 'go-$REEVE_TASK_INDEX', f'{NOTIFY} --ready --status=done; : > {up.dir}/said-$REEVE_TASK_INDEX; '
                                              'exec sleep 1000')
    up.apply({'web': {'command': script, 'count': 3, 'ready': {'notify': True}, 'watchdog': '1h'},
              'fd': {'command': when(up, 'go-1', f'echo >&9; : > {up.dir}/said-fd; exec sleep 1000'),
                     'ready': {'fd': 9}}})
    up.wait_running('web', 3)
    up.wait_running('fd', 1)
    touch(up, 'go-0')
    becomes_ready(up, 'web.0')
    agent = up.pid('agent')
    os.kill(agent, signal.SIGSTOP)
    touch(up, 'go-1')
    up.wait_for(lambda: os.path.exists(f'{up.dir}/said-fd'), 'it was written to the pipe')
    # systemd-notify waits until it was heard (BARRIER=1); so the message is there, and nobody has read it
    up.wait_for(lambda: [p for p in up.nest.descendants() if NOTIFY in harness.cmdline(p)], 'it waits to be heard')
    os.kill(agent, signal.SIGKILL)
    up.wait_for(lambda: up.pid('agent') not in (None, agent), 'another agent')
    becomes_ready(up, 'web.1')
    becomes_ready(up, 'fd.0')
    tasks = {t['id']: t for t in up.ps('web')}
    assert [tasks[f'web.{i}']['ready'] for i in range(3)] == [True, True, False]
    assert all(t['runs'] == 1 for t in tasks.values())
    touch(up, 'go-2')
    becomes_ready(up, 'web.2')
    assert tasks['web.0']['status'] == 'done'


@needs_notify
@pytest.mark.parametrize('part', ['keeper', 'agent'])
def test_kills_while_tasks_become_ready(up, part):
    """Twenty tasks say in their own time that they are ready, each in another way, while a part is killed again and
    again: each is ready in the end, in its first run, and none was before it said so."""
    ways = [{'notify': True}, {'fd': 5}, {'log': '^ready$'}, {'command': f'test -e {up.dir}/ready-$REEVE_TASK'}]
    say = {0: NOTIFY + ' --ready', 1: 'echo >&5', 2: 'echo ready', 3: f': > {up.dir}/ready-$REEVE_TASK'}
    jobs = {}
    for n, way in enumerate(ways):
        script = when(up, 'go-$REEVE_TASK', f'{say[n]}; exec sleep 1000')
        jobs[f'way{n}'] = {'command': script, 'count': 5, 'ready': dict(way, interval='100ms', deadline='1h')}
    up.apply(jobs)
    for n in range(4):
        up.wait_running(f'way{n}', 5)
    for index in range(5):
        for n in range(4):
            touch(up, f'go-way{n}.{index}')
        up.kill(part)
        for n in range(4):
            becomes_ready(up, f'way{n}.{index}')
        for n in range(4):
            ready = {t['index']: t['ready'] for t in up.ps(f'way{n}')}
            assert [ready[i] for i in range(5)] == [i <= index for i in range(5)], (n, index)
    assert all(t['runs'] == 1 and t['ready'] for n in range(4) for t in up.ps(f'way{n}'))


# ---- wrong input


@pytest.mark.parametrize('spec, message', [
    ({'ready': {'notify': True, 'log': 'x'}}, 'jobs.web.ready.log: "notify" is given, too'),
    ({'ready': {'log': '('}}, 'jobs.web.ready.log: '),
    ({'ready': {'http': 'https://x'}}, 'jobs.web.ready.http: expected a URL such as'),
    ({'ready': {'tcp': '127.0.0.1'}}, 'jobs.web.ready.tcp: its port is missing'),
    ({'ready': {'tcp': '127.0.0.1:${ports.x}'}}, 'jobs.web.ready.tcp: '),
    ({'ready': {'fd': 2}}, 'jobs.web.ready.fd: '),
    ({'ready': {'deadline': '5s'}}, 'jobs.web.ready.deadline: without "notify"'),
    ({'health': [{'interval': '1s'}]}, 'jobs.web.health[0]: one of "http", "tcp" and "command" is missing'),
    ({'health': [{'tcp': 'a:1', 'http': 'http://a'}]}, 'jobs.web.health[0]: only one of'),
    ({'health': [{'tcp': 'a:1', 'then': 'end'}]}, 'jobs.web.health[0].then: '),
    ({'after': {'web': 'ready'}}, 'jobs.web.after.web: a job cannot wait for itself'),
    ({'after': {'db': 'running'}}, 'jobs.web.after.db: '),
    ({'after': {'d b': 'ready'}}, 'jobs.web.after.'),
])
def test_wrong_input(up, spec, message):
    """The field is named."""
    with pytest.raises(harness.ApiError) as e:
        up.api('POST', '/v1/jobs', {'jobs': {'web': dict(spec, command=['true'])}})
    assert message in json.dumps(e.value.problem).replace('\\"', '"'), e.value.problem
