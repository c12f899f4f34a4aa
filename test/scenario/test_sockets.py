# SPDX-License-Identifier: BSD-3-Clause
"""Sockets that are held for jobs: given to every run as systemd does, open whoever dies or is replaced, waited on for
tasks that begin on demand; and descriptors that a program gives away to be kept."""
import itertools
import os
import socket
import sys
import threading

import pytest

import reeve as harness
from reeve import seconds

QUICK = {'delay': '100ms', 'max_delay': '100ms', 'burst': 0}
ports = itertools.count(20000)


def address():
    """One that no other test has: a host of the loopback network for this process, and a port of its own."""
    pid = os.getpid()
    return f'127.9.{pid >> 8 & 255}.{pid & 255}', next(ports)


def listener(*arguments):
    return [harness.program('listener'), *arguments]


def ask(where, timeout=30):
    """What a listener answers: (task, run, names). Fails if the connection is refused or broken."""
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(seconds(timeout))
        s.connect(where)
        answer = b''
        while more := s.recv(4096):
            answer += more
    task, run, names = answer.decode().split()
    return task, int(run), names


def text(where):
    return f'{where[0]}:{where[1]}'


class Clients:
    """Asks without a pause, and counts what is answered and what is not."""

    def __init__(self, where):
        self.where, self.answers, self.failures = where, [], []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ended.is_set():
            try:
                self.answers.append(ask(self.where))
            except (OSError, ValueError) as e:
                self.failures.append(e)
                self.ended.wait(0.1)

    def end(self):
        self.ended.set()
        self.thread.join(seconds(60))
        assert not self.thread.is_alive()
        return self.answers


def test_passed_as_systemd_does(up):
    """Two sockets in the order of their names, LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, and three tasks that share
    them."""
    web, path = address(), f'{up.dir}/admin.sock'
    up.apply({'web': {'command': listener(), 'count': 3, 'sockets': {
        'web': {'listen': text(web)}, 'admin': {'listen': f'unix:{path}', 'mode': '0600', 'backlog': 5}}}})
    up.wait_running('web', 3)
    assert ask(web)[2] == 'admin:web'
    assert ask(path)[1:] == (1, 'admin:web')
    assert os.stat(path).st_mode & 0o777 == 0o600
    up.cli('stop', 'web')
    up.wait_tasks('web', state='ended')
    assert not os.path.exists(path)
    with pytest.raises(ConnectionRefusedError):
        ask(web)


def test_a_program_that_knows_nothing_of_us(up):
    """Python's http.server on descriptor 3."""
    web = address()
    script = ('import http.server, socket, socketserver\n'
              'server = http.server.HTTPServer(("", 0), http.server.SimpleHTTPRequestHandler, False)\n'
              'server.socket = socket.socket(fileno=3)\n'
              'server.serve_forever()\n')
    up.apply({'web': {'command': [sys.executable, '-c', script], 'directory': up.dir,
                      'sockets': {'http': {'listen': text(web)}}}})
    up.wait_running('web', 1)
    with socket.create_connection(web, seconds(30)) as s:  # it waits until the program is there
        s.sendall(b'GET / HTTP/1.0\r\n\r\n')
        assert s.recv(15) == b'HTTP/1.0 200 OK'


def test_connections_wait_while_it_restarts(up):
    """Crash, `reeve restart` and an update: no connection is refused, and none is cut."""
    web = address()
    job = {'command': listener(), 'restart': QUICK, 'sockets': {'web': {'listen': text(web)}}}
    up.apply({'web': job})
    up.wait_running('web', 1)
    clients = Clients(web)
    up.wait_for(lambda: clients.answers, 'the first answer')
    up.cli('restart', 'web')
    up.wait_for(lambda: clients.answers[-1][1] == 2, 'answers of run 2')
    up.apply({'web': dict(job, env={'NEW': 'yes'})})
    up.wait_for(lambda: clients.answers[-1][1] == 3, 'answers of run 3')
    assert clients.end()[-1][1] == 3
    assert clients.failures == []


def test_start_first_is_never_without_a_server(up):
    """An update with order start-first: the stand-in answers before the old run is stopped; nothing waits for long."""
    web = address()
    job = {'command': listener('ready', '9'), 'ready': {'fd': 9}, 'update': {'order': 'start-first'},
           'sockets': {'web': {'listen': text(web)}}}
    up.apply({'web': job})
    up.wait_for(lambda: up.task('web.0')['ready'], 'it is ready')
    clients = Clients(web)
    up.wait_for(lambda: clients.answers, 'the first answer')
    up.apply({'web': dict(job, env={'NEW': 'yes'})})
    up.wait_for(lambda: up.jobs()['web']['state'] == 'running' and len(up.ps('web')) == 1 and
                up.task('web.0')['version'] == 2, 'the update is through')
    up.cli('restart', 'web')
    up.wait_for(lambda: up.jobs()['web']['state'] == 'running' and len(up.ps('web')) == 1 and
                up.task('web.0')['runs'] >= 3, 'the restart is through')
    answers = clients.end()
    assert clients.failures == []
    assert {a[0] for a in answers} >= {'web.0'}
    began = [e['task'] for e in up.events() if e['kind'] == 'task-started']
    assert began[:3] == ['web.0', 'web.1', 'web.0'], began  # web.1 stood in


@pytest.mark.parametrize('parts', [('agent',), ('keeper',), ('keeper', 'agent'), ('agent', 'server'),
                                   ('keeper', 'agent', 'server')], ids='+'.join)
def test_open_whoever_is_killed(new_reeve, parts):
    """The task runs on and answers; its next run has the same socket: what came in between waits."""
    up = new_reeve()
    up.up()
    web = address()
    up.apply({'web': {'command': listener(), 'restart': QUICK, 'count': 2, 'sockets': {'web': {'listen': text(web)}}}})
    up.wait_running('web', 2)
    clients = Clients(web)
    up.wait_for(lambda: clients.answers, 'the first answer')
    if len(parts) == 3:
        up.kill_all_parts()
        up.start_up()
    else:
        for part in parts:
            up.kill(part)
    up.wait_ready()
    before = {t['id']: t['runs'] for t in up.wait_running('web', 2)}
    assert before == {'web.0': 1, 'web.1': 1}
    up.cli('restart', 'web')
    up.wait_for(lambda: {a[:2] for a in clients.answers[-50:]} >= {('web.0', 2), ('web.1', 2)}, 'both answer again')
    clients.end()
    assert clients.failures == []


@pytest.mark.parametrize('parts', [('agent',), ('keeper',), ('keeper', 'agent')], ids='+'.join)
def test_a_connection_waits_through_it_all(new_reeve, parts):
    """No task has the socket: it waits on demand, and is held by us alone. A connection that was made before the kill
    is answered after it."""
    up = new_reeve()
    up.up()
    web = address()
    up.apply({'slow': {'command': ['/bin/sh', '-c', f'while [ ! -e {up.dir}/go ]; do sleep 0.05; done; '
                                   f'exec {listener()[0]} once'],
                       'start': 'on-demand', 'sockets': {'web': {'listen': text(web)}}, 'restart': QUICK}})
    up.wait_for(lambda: up.task('slow.0')['ready'], 'it waits')
    if 'keeper' in parts and 'agent' in parts:
        up.wait_for(lambda: up.ask('GET', '/v1/nodes'), 'the server has heard of it')
    with socket.create_connection(web, seconds(30)) as first, socket.create_connection(web, seconds(30)) as second:
        up.wait_running('slow', 1)
        for part in parts:
            up.kill(part)
        open(f'{up.dir}/go', 'w').close()
        for connection in (first, second):
            connection.settimeout(seconds(60))
            assert connection.recv(100).startswith(b'slow.0 ')
    up.wait_ready()


def test_on_demand(up):
    """It waits, runs for who comes, and waits again; the job counts as ready, and `why` tells."""
    web = address()
    up.apply({'web': {'command': listener('once'), 'start': 'on-demand', 'sockets': {'web': {'listen': text(web)}},
                      'restart': {'delay': '100ms'}},
              'next': {'command': ['sleep', '1000'], 'after': {'web': 'ready'}}})
    task = up.wait_for(lambda: up.task('web.0')['ready'] and up.task('web.0'), 'it waits')
    assert (task['state'], task['runs'], task['pid']) == ('queued', 0, None)
    assert f'waits for a connection to {text(web)}' in up.cli('why', 'web.0').stdout
    assert up.jobs()['web']['state'] == 'running'
    up.wait_running('next', 1)
    for run in (1, 2, 3):
        assert ask(web) == ('web.0', run, 'web')
        up.wait_for(lambda: up.task('web.0')['state'] == 'queued' and up.task('web.0')['ready'], 'it waits again')
    up.apply({'web': {'command': listener(), 'start': 'on-demand', 'sockets': {'web': {'listen': text(web)}}}})
    up.wait_for(lambda: up.task('web.0')['version'] == 2 and up.jobs()['web']['state'] == 'running',
                'it waits with version 2')
    assert up.task('web.0')['runs'] == 3
    assert ask(web)[:2] == ('web.0', 4)
    up.cli('restart', 'web')  # somebody may be amid what he wanted: the next run begins at once
    up.wait_for(lambda: up.task('web.0')['runs'] == 5 and up.task('web.0')['state'] == 'running', 'run 5')
    up.cli('stop', 'web')
    up.wait_tasks('web', state='ended')
    with pytest.raises(ConnectionRefusedError):
        ask(web)


def test_on_demand_does_not_begin_all_the_time(up):
    """A program that leaves the connection alone is begun once in restart.delay."""
    web = address()
    up.apply({'web': {'command': ['true'], 'start': 'on-demand', 'sockets': {'web': {'listen': text(web)}},
                      'restart': {'delay': '20m', 'max_delay': '20m'}}})
    up.wait_for(lambda: up.task('web.0')['ready'], 'it waits')
    with socket.create_connection(web, seconds(30)):
        up.wait_for(lambda: up.task('web.0')['runs'] == 1 and up.task('web.0')['next_run_at'], 'it waits for its time')
        assert 'after a connection that came soon after another' in up.task('web.0')['reason']
    assert up.task('web.0')['runs'] == 1


def test_on_demand_failures_are_failures(up):
    web = address()
    up.apply({'web': {'command': ['false'], 'start': 'on-demand', 'sockets': {'web': {'listen': text(web)}},
                      'restart': {'delay': '10ms', 'burst': 2}}})
    up.wait_for(lambda: up.task('web.0')['ready'], 'it waits')
    with socket.create_connection(web, seconds(30)):
        up.wait_tasks('web', state='ended', result='failed')
    assert 'parked' in up.task('web.0')['reason']


@pytest.mark.parametrize('start', ['now', 'on-demand'])
def test_port_in_use(up, start):
    """The task waits, says which field and who has the address, is not parked, and begins when it is free."""
    web = address()
    other = socket.create_server(web)
    up.apply({'web': {'command': listener(), 'start': start, 'sockets': {'web': {'listen': text(web)}},
                      'restart': {'delay': '10ms', 'max_delay': '10ms', 'burst': 1}}})
    told = f'sockets.web.listen: {text(web)} is in use by another program'
    up.wait_for(lambda: told in (up.task('web.0')['reason'] or ''), 'it says why')
    assert told in up.cli('why', 'web.0').stdout
    up.wait_for(lambda: start == 'on-demand' or sum(
        'could not begin' in e['message'] for e in up.events()) > 1, 'it tries again')
    task = up.task('web.0')
    assert (task['state'], task['ready'], task['result']) in (('queued', False, None), ('starting', False, None))
    other.close()
    up.wait_for(lambda: up.task('web.0')['ready'], 'it has the address')
    assert ask(web)[0] == 'web.0'


def test_another_job_has_it(up):
    web = address()
    up.apply({'first': {'command': listener(), 'sockets': {'web': {'listen': text(web)}}}})
    up.wait_running('first', 1)
    up.apply({'second': {'command': listener(), 'sockets': {'web': {'listen': text(web)}}}})
    up.wait_for(lambda: 'it is held for job "first" on this node' in (up.task('second.0')['reason'] or ''), 'the reason')
    up.cli('remove', 'first')
    up.wait_running('second', 1)
    assert ask(web)[0] == 'second.0'


def test_another_address(up):
    """An update opens the new one and closes the old one."""
    old, new = address(), address()
    up.apply({'web': {'command': listener(), 'sockets': {'web': {'listen': text(old)}}}})
    up.wait_running('web', 1)
    assert ask(old)[1] == 1
    up.apply({'web': {'command': listener(), 'sockets': {'web': {'listen': text(new)}}}})
    assert up.wait_for(lambda: up.task('web.0')['runs'] == 2 and ask(new), 'the new one answers')[1] == 2
    with pytest.raises(ConnectionRefusedError):
        ask(old)


KEEPER_OF_FILES = '''
import array, os, socket, sys
names = dict(zip(os.environ.get('LISTEN_FDNAMES', '').split(':'), range(3, 3 + int(os.environ.get('LISTEN_FDS', 0)))))
assert not names or int(os.environ['LISTEN_PID']) == os.getpid()
def say(text, *fds):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    a = os.environ['NOTIFY_SOCKET']
    s.connect('\\0' + a[1:] if a[0] == '@' else a)
    socket.send_fds(s, [text.encode()], list(fds))
if 'count' not in names:
    names['count'] = os.memfd_create('count')
    say('FDSTORE=1\\nFDNAME=count', names['count'])
    say('FDSTORE=1\\nFDNAME=count', names['count'])                    # the same again: once
    say('FDSTORE=1\\nFDNAME=junk', os.open('/dev/null', os.O_RDONLY))
    say('FDSTORE=1', *[os.open('/dev/null', os.O_RDONLY) for _ in range(9)])  # more than there is room for
    say('FDSTOREREMOVE=1\\nFDNAME=junk')
os.write(names['count'], b'x')
print('run', os.environ['REEVE_RUN'], sorted(names), os.fstat(names['count']).st_size, flush=True)
sys.exit(1)
'''


def test_descriptors_are_kept(up):
    """FDSTORE=1: the next run has them; the same one twice is one; fd_store limits them; FDSTOREREMOVE=1; and they
    survive agent and keeper."""
    up.apply({'kept': {'command': [sys.executable, '-c', KEEPER_OF_FILES], 'fd_store': 4, 'restart': QUICK}})
    runs = up.wait_for(lambda: [x for x in up.log_text('kept.0').splitlines() if x.startswith('run ')][3:], '4 runs')
    assert runs[0] == "run 4 ['count', 'stored'] 4"
    assert up.wait_log('is not kept, it has 4 already')
    for part in ('agent', 'keeper'):
        up.kill(part)
        up.wait_ready()
        seen = up.task('kept.0')['runs'] + 1
        up.wait_for(lambda: up.task('kept.0')['runs'] > seen, 'it goes on')
    lines = [x.split() for x in up.log_text('kept.0').splitlines() if x.startswith('run ')]
    assert all(x[1] == x[-1] for x in lines), lines
    up.cli('stop', 'kept')
    up.wait_tasks('kept', state='ended')
    again = up.task('kept.0')['runs']
    up.cli('restart', 'kept')
    up.wait_for(lambda: any(x.startswith(f"run {again + 1} ") and x.endswith(' 1') for x in
                            up.log_text('kept.0').splitlines()), 'it begins without them')


def test_example(up):
    """examples/sockets.yaml does what its comments say, here with other addresses."""
    web, date = address(), f'{up.dir}/date.sock'
    with open(os.path.join(os.path.dirname(__file__), '../../examples/sockets.yaml')) as f:
        jobs = f.read().replace('127.0.0.1:8017', text(web)).replace('/tmp/reeve-date.sock', date)
    with open(f'{up.dir}/sockets.yaml', 'w') as f:
        f.write(jobs)
    up.cli('apply', f'{up.dir}/sockets.yaml')
    for run in (1, 2):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(seconds(30))
            up.wait_for(lambda: os.path.exists(date), 'it listens')
            s.connect(date)
            assert s.recv(100).split()[-1].startswith(b'20')
    failures, answered = [], []

    def visit():
        try:
            with socket.create_connection(web, seconds(30)) as s:
                s.sendall(b'GET / HTTP/1.0\r\n\r\n')
                answered.append(s.recv(100)[:15] == b'HTTP/1.0 200 OK')
        except OSError as e:
            failures.append(e)

    up.wait_for(lambda: up.task('web.0')['ready'], 'the web is ready')
    up.cli('restart', 'web')
    up.wait_for(lambda: visit() or (up.jobs()['web']['state'] == 'running' and len(up.ps('web')) == 1 and
                                    up.task('web.0')['runs'] == 2 and up.task('web.0')['ready']), 'it is restarted')
    assert failures == [] and all(answered)
