# SPDX-License-Identifier: BSD-3-Clause
"""A cluster's server over TLS: who is let in, for what, and how machines become nodes."""
import base64
import contextlib
import http.client
import json
import os
import pty
import re
import select
import socket
import ssl
import struct
import subprocess
import time

import pytest
from reeve import ApiError, seconds


class Door:
    """What the server shows to others: its address, and who it says it is."""

    def __init__(self, r):
        self.r = r
        version = r.ask('GET', '/v1/version')
        self.url, self.fingerprint = version['url'], version['fingerprint']
        self.host, _, port = self.url.removeprefix('https://').rpartition(':')
        self.port = int(port)
        self.ca = os.path.join(r.data, 'tls/ca.pem')
        self.context = ssl.create_default_context(cafile=self.ca)

    def open(self):
        return http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=seconds(20))

    def ask(self, token, method, path, body=None, headers=None):
        """(status, answer)"""
        with contextlib.closing(self.open()) as connection:
            sent = dict(headers or {})
            if token is not None:
                sent['Authorization'] = f'Bearer {token}'
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def join(self, token, name, **members):
        return self.ask(None, 'POST', '/v1/join', {'token': token, 'name': name, 'protocol': 2, **members})


class Link:
    """The agent's end of a link, as far as it concerns who is let in."""

    def __init__(self, door, credential):
        self.socket = door.context.wrap_socket(socket.create_connection((door.host, door.port), seconds(20)),
                                               server_hostname=door.host)
        self.socket.sendall((f'GET /v1/link HTTP/1.1\r\nHost: {door.host}\r\nConnection: Upgrade\r\n'
                             'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: '
                             f'{base64.b64encode(os.urandom(16)).decode()}\r\n'
                             f'Authorization: Bearer {credential}\r\n\r\n').encode())
        self.file = self.socket.makefile('rb')
        self.status = int(self.file.readline().split()[1])
        while self.file.readline().strip():
            pass

    def send(self, opcode, payload):
        head = struct.pack('!BB', 0x80 | opcode, 0x80 | min(len(payload), 126))
        if len(payload) >= 126:
            head += struct.pack('!H', len(payload))
        self.socket.sendall(head + bytes(4) + payload)  # a mask of zeroes changes nothing

    def hello(self, node, pid=1, **members):
        self.send(1, json.dumps({'type': 'hello', 'protocol': 1, 'note_seq': 0, 'tasks': [], 'node': {
            'name': node, 'agent_pid': pid, 'version': 'test', 'state': 'ready'}, **members}).encode())

    def frame(self):
        """(opcode, payload); pings are left unanswered."""
        first, second = self.file.read(2)
        size = second & 127
        if size == 126:
            size = struct.unpack('!H', self.file.read(2))[0]
        return first & 15, self.file.read(size)

    def message(self, kind):
        while True:
            opcode, payload = self.frame()
            assert opcode != 8, f'closed: {payload}'
            if opcode == 1 and json.loads(payload)['type'] == kind:
                return json.loads(payload)

    def end(self):
        """Code and reason of the server's goodbye."""
        while True:
            opcode, payload = self.frame()
            if opcode == 8:
                return struct.unpack('!H', payload[:2])[0], payload[2:].decode()

    def close(self):
        self.socket.close()


@pytest.fixture
def server(new_reeve):
    """A server alone, over TLS."""
    r = new_reeve()
    r.start_server()
    r.wait_for(lambda: r.api('GET', '/v1/version'), 'the server answers')
    return r


@pytest.fixture
def door(server):
    return Door(server)


def make(server, *arguments):
    """(text, id) of a token."""
    token = server.cli_json('token', 'create', *arguments)
    return token['token'], token['id']


def job(**more):
    return {'kind': 'service', 'command': ['sleep', '1000'], **more}


def test_roles(server, door):
    """Each role may do what those before it may, and no more; the answer says what is missing."""
    requests = [('read', 'GET', '/v1/jobs', None), ('read', 'GET', '/v1/nodes', None),
                ('read', 'GET', '/v1/events', None), ('read', 'POST', '/v1/plan', {'jobs': {'a': job()}}),
                ('operate', 'POST', '/v1/jobs', {'jobs': {'a': job()}}), ('operate', 'POST', '/v1/jobs/a/stop', None),
                ('operate', 'DELETE', '/v1/jobs/a', None), ('admin', 'GET', '/v1/tokens', None),
                ('admin', 'POST', '/v1/tokens', {})]
    roles = ['read', 'operate', 'admin']
    tokens = {role: make(server, '--role', role)[0] for role in roles}
    with open(os.path.join(server.data, 'token')) as f:
        tokens['file'] = f.read().strip()
    for needed, method, path, body in requests:
        for role, token in tokens.items():
            status, answer = door.ask(token, method, path, body)
            if role == 'file' or roles.index(role) >= roles.index(needed):
                assert status in (200, 404), (role, method, path, answer)
            else:
                assert (status, answer['title']) == (403, 'denied'), (role, method, path, answer)
                assert f'the role {needed}; yours has {role}' in answer['detail']
        status, answer = door.ask(None, method, path, body)
        assert status == 401 and 'a token is needed' in answer['detail']
        status, answer = door.ask('reeve-' + '0' * 32, method, path, body)
        assert status == 401 and 'not known here' in answer['detail']
    assert door.ask(tokens['admin'], 'GET', '/v1/nothing')[0] == 404
    assert door.ask(None, 'GET', '/v1/nothing')[0] == 401  # a stranger learns nothing of the paths


def test_limited_to_jobs(server, door):
    """A token that is limited by the names of jobs sees and changes these alone."""
    server.apply({'web-1': job(), 'web-2': job(), 'db': job()})
    token, _ = make(server, '--role', 'operate', '--jobs', 'web-,cache')

    def names(path, key):
        status, answer = door.ask(token, 'GET', path)
        assert status == 200, answer
        return {x[key] for x in answer}

    assert names('/v1/jobs', 'name') == {'web-1', 'web-2'}
    assert names('/v1/tasks', 'job') == {'web-1', 'web-2'}
    assert names('/v1/tasks?job=web-1', 'job') == {'web-1'}
    assert names('/v1/events', 'job') == {'web-1', 'web-2'}
    assert door.ask(token, 'GET', '/v1/why/web-1')[0] == 200
    for method, path, body in [('GET', '/v1/jobs/db', None), ('GET', '/v1/tasks/db.0', None),
                               ('GET', '/v1/tasks?job=db', None), ('GET', '/v1/why/db', None),
                               ('GET', '/v1/why/some-node', None), ('GET', '/v1/jobs/db/logs', None),
                               ('POST', '/v1/jobs/db/stop', None), ('POST', '/v1/tasks/db.0/restart', None),
                               ('POST', '/v1/plan', {'jobs': {'web-1': job(), 'db': job()}}),
                               ('POST', '/v1/jobs', {'jobs': {'web-1': job(count=2), 'db': job(count=2)}})]:
        status, answer = door.ask(token, method, path, body)
        assert status == 403 and 'begin with web-,cache' in answer['detail'], (method, path, answer)
    assert server.jobs()['web-1']['count'] == 1  # all or none
    assert door.ask(token, 'POST', '/v1/jobs', {'jobs': {'web-1': job(count=2), 'cache': job()}})[0] == 200
    assert server.jobs()['web-1']['count'] == 2
    status, answer = door.ask(token, 'GET', '/v1/jobs/web-3')
    assert status == 404 and 'did you mean "web-' in answer['detail']
    server.apply({'web': job()})  # a name that it may not see is not suggested either
    assert '"web"' not in door.ask(token, 'GET', '/v1/jobs/web-')[1]['detail'].removeprefix('no job "web-"')
    # an administrator of some jobs is none of the cluster
    token, _ = make(server, '--role', 'admin', '--jobs', 'web-')
    assert door.ask(token, 'POST', '/v1/tokens', {'role': 'admin'})[0] == 403
    assert door.ask(token, 'POST', '/v1/down')[0] == 403


def follow(door, token):
    connection = door.open()
    connection.request('GET', '/v1/events', None, {'Authorization': f'Bearer {token}', 'Accept': 'text/event-stream'})
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.readline() == b': events\n'
    return connection, answer


def test_follower_sees_its_jobs(server, door):
    token, _ = make(server, '--jobs', 'web')
    connection, answer = follow(door, token)
    server.apply({'db': job()})
    server.apply({'web': job()})
    while not (line := answer.readline()).startswith(b'data: '):
        assert line
    assert json.loads(line[6:])['job'] == 'web'
    connection.close()


@pytest.mark.parametrize('how', ['revoked', 'expired'])
def test_open_connections_end(server, door, how):
    """A token that ceases to be good takes along what it has open, and nothing of others."""
    token, token_id = make(server, '--ttl', '1h' if how == 'revoked' else '3s')
    other, _ = make(server)
    connection, answer = follow(door, token)
    kept_connection, kept = follow(door, other)
    waiter = door.open()
    waiter.request('GET', f'/v1/nodes?index={state_index(door, other)}&wait=5m', None,
                   {'Authorization': f'Bearer {token}'})
    if how == 'revoked':
        server.cli('token', 'revoke', token_id)
    with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
        while answer.readline():
            pass
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        waiter.getresponse().read()
    status, problem = door.ask(token, 'GET', '/v1/jobs')
    assert status == 401 and ('not known here' if how == 'revoked' else 'time was over') in problem['detail']
    server.apply({'web': job()})
    while not kept.readline().startswith(b'data: '):
        pass
    for c in (connection, kept_connection, waiter):
        c.close()


def state_index(door, token):
    with contextlib.closing(door.open()) as connection:
        connection.request('GET', '/v1/nodes', None, {'Authorization': f'Bearer {token}'})
        answer = connection.getresponse()
        answer.read()
        return answer.headers['Reeve-Index']


def test_server_is_killed(server, door):
    """Tokens and who the server is outlive it; only hashes are stored."""
    token, token_id = make(server, '--role', 'operate')
    join, _ = make(server, '--join', '--uses', '2')
    credential = door.join(join, 'n1')[1]['credential']
    gone, gone_id = make(server)
    server.cli('token', 'revoke', gone_id)
    before = server.pid('server')
    server.kill('server')
    server.wait_for(lambda: server.pid('server') not in (None, before) and server.api('GET', '/v1/version'),
                    'the keeper has started it again')
    again = Door(server)
    assert again.fingerprint == door.fingerprint
    assert again.ask(token, 'GET', '/v1/jobs')[0] == 200
    assert again.ask(gone, 'GET', '/v1/jobs')[0] == 401
    link = Link(again, credential)
    link.hello('n1')
    link.message('welcome')
    link.close()
    assert again.join(join, 'n2')[0] == 200
    assert again.join(join, 'n3')[1]['reason'] == 'used-token'
    assert token_id in {t['id'] for t in server.cli_json('token', 'list')}
    stored = b''
    for name in os.listdir(server.data):
        if name.startswith('store.db'):
            with open(os.path.join(server.data, name), 'rb') as f:
                stored += f.read()
    assert token_id.encode() in stored
    for text in (token, join, credential):
        assert text.split('-')[2 if text.count('-') > 1 else 1].encode() not in stored
        assert text not in server.log()


def test_join_is_refused(server, door):
    """Each refusal has a word for the agent and a sentence for its operator."""
    join, _ = make(server, '--join', '--uses', '1')
    api, _ = make(server, '--role', 'admin')
    expired, _ = make(server, '--join', '--ttl', '10ms')

    def refused(token, name, status, reason, sentence, **members):
        answer = door.join(token, name, **members)
        assert (answer[0], answer[1].get('reason')) == (status, reason), answer
        assert sentence in answer[1]['detail'], answer

    assert join.split('-')[3] == door.fingerprint
    wrong = join[:12] + ('1' if join[12] == '0' else '0') + join[13:]
    refused(wrong, 'n1', 401, 'wrong-token', 'not known here')
    refused(api, 'n1', 401, 'wrong-token', 'not known here')
    server.wait_for(lambda: door.join(expired, 'n1')[1]['reason'] == 'expired-token', 'it has expired', 10)
    refused(expired, 'n1', 401, 'expired-token', 'time was over at')
    refused(join, 'no.dots', 400, 'name-invalid', "not a node's name")
    refused(join, 'n1', 409, 'too-new', 'upgrade the server first', protocol=99, protocol_min=98)
    assert door.ask(None, 'POST', '/v1/join', {'name': 'n1'})[0] == 400
    assert door.ask(None, 'POST', '/v1/join', ['n1'])[0] == 400
    status, answer = door.join(join, 'n1', time='2001-01-01T00:00:00Z')
    assert status == 200 and 'the clock of node n1 is' in answer['warning'] and 'behind' in answer['warning']
    with open(door.ca) as f:
        assert answer['ca'] == f.read()
    refused(join, 'n2', 401, 'used-token', 'used up')
    link = Link(door, answer['credential'])
    link.hello('n1')
    link.message('welcome')
    more, _ = make(server, '--join')
    refused(more, 'n1', 409, 'name-taken', 'n1 is connected')
    link.close()
    answer = server.wait_for(lambda: (a := door.join(more, 'n1'))[0] == 200 and a, 'the name is free again')
    assert answer[1]['warning'] is None


def test_link_needs_its_credential(server, door):
    join, _ = make(server, '--join')
    api, _ = make(server, '--role', 'admin')
    one, two = (door.join(join, name)[1]['credential'] for name in ('one', 'two'))
    for wrong in ('', api, join, 'reeve-node-' + '0' * 32):
        assert Link(door, wrong).status == 401
    assert door.ask(one, 'GET', '/v1/jobs')[0] == 401  # good for being that node, and nothing else
    link = Link(door, two)
    link.hello('one')
    code, reason = link.end()
    assert code == 4403 and reason == "the credential is node two's, and not that of one"
    link = Link(door, one)
    link.hello('one', protocol=99, protocol_min=99)
    assert link.end()[0] == 4426
    link = Link(door, one)
    link.hello('one')
    welcome = link.message('welcome')
    assert welcome['heartbeat_ms'] == 500 and welcome['lease_ms'] > 0
    # a second machine with the same credential is told, and the first one stays
    link.send(9, b'')
    other = Link(door, one)
    other.hello('one', pid=2)
    code, reason = other.end()
    assert code == 4409 and 'another agent (process 1' in reason
    # the same agent after a break takes its place
    again = Link(door, one)
    again.hello('one')
    again.message('welcome')
    assert link.end()[0] == 1001


def test_forget(server, door):
    """A node that is forgotten loses its link and its credential; it can join again."""
    join, _ = make(server, '--join')
    credential = door.join(join, 'n1')[1]['credential']
    link = Link(door, credential)
    link.hello('n1')
    link.message('welcome')
    reader, _ = make(server, '--role', 'operate')
    assert door.ask(reader, 'POST', '/v1/nodes/n1/forget')[0] == 403
    server.cli('node', 'forget', 'n1')
    assert link.end()[0] == 4401
    assert server.api('GET', '/v1/nodes') == []
    assert Link(door, credential).status == 401
    with pytest.raises(ApiError) as e:
        server.api('POST', '/v1/nodes/n1/forget')
    assert e.value.status == 404
    # joining again makes what it had before void
    first = door.join(join, 'n1')[1]['credential']
    second = door.join(join, 'n1')[1]['credential']
    assert Link(door, first).status == 401
    assert Link(door, second).status == 101


def test_silence(server):
    """A node that says nothing for --lost-after is taken for gone."""
    server.cli('down')
    server.wait_gone()
    server.start_server('--lost-after', '400ms')
    server.wait_for(lambda: server.api('GET', '/v1/version'), 'the server answers')
    door = Door(server)
    join, _ = make(server, '--join')
    link = Link(door, door.join(join, 'n1')[1]['credential'])
    link.hello('n1')
    assert link.message('welcome')['heartbeat_ms'] == 100
    for _ in range(10):  # more than twice as long as the silence that is let pass
        time.sleep(0.1)
        link.send(9, b'')
    assert [n['state'] for n in server.api('GET', '/v1/nodes')] == ['ready']
    server.wait_for(lambda: server.api('GET', '/v1/nodes')[0]['state'] == 'lost', 'the silent node is lost')


def test_upgrade_and_down(server):
    """Without an agent beside it the server is what is replaced, and what ends."""
    before = server.pid('server')
    assert 'agent' not in server.cli('upgrade').stdout
    assert server.pid('server') != before
    server.down()
    assert server.nest.await_end(server.up_pid, seconds(20)) == 0


def test_cli_tokens(server):
    text = server.cli('token', 'create', '--note', 'for the test', '--ttl', '30d').stdout
    assert text.startswith('reeve-') and text.count('\n') == 1
    tokens = server.cli_json('token', 'list')
    assert [(t['kind'], t['role'], t['note'], t['jobs']) for t in tokens] == [('api', 'read', 'for the test', None)]
    assert 'token' not in tokens[0] and 'hash' not in tokens[0]
    assert '29d' in server.cli('token', 'list').stdout
    for wrong in (['--role', 'root'], ['--jobs', '-x'], ['--ttl', 'soon'], ['--uses', '0', '--join'],
                  ['--uses', '2'], ['--join', '--role', 'admin'], ['--join', '--jobs', 'web']):
        assert server.cli('token', 'create', *wrong, check=False).returncode == 2, wrong
    assert server.cli('token', 'revoke', 'nothing', check=False).returncode == 3
    server.cli('token', 'revoke', tokens[0]['id'])
    assert server.cli_json('token', 'list') == []
    told = [e['message'] for e in server.events() if e['kind'] == 'token']
    assert [re.sub(r'^user \S+ ', '', t) for t in told] == [
        f'made the api token {tokens[0]["id"]}, role read', f'revoked the token {tokens[0]["id"]}']
    assert text.strip() not in json.dumps(server.events())


def test_login(server, door):
    """The CLI keeps address, token and whom to believe; nothing is kept that does not work."""
    token, token_id = make(server, '--role', 'operate')
    config = os.path.join(server.dir, 'config')
    env = {'REEVE_ADDR': '', 'REEVE_TOKEN': '', 'XDG_CONFIG_HOME': config}

    def cli(*arguments, stdin=None):
        return server.cli(*arguments, check=False, stdin=stdin, env=env)

    wrong = ('1' if door.fingerprint[0] == '0' else '0') + door.fingerprint[1:]
    done = cli('login', door.url, stdin=token)
    assert done.returncode == 5 and door.fingerprint in done.stderr
    assert cli('login', door.url, '--fingerprint', wrong, stdin=token).returncode != 0
    assert cli('login', door.url, '--fingerprint', door.fingerprint, stdin='reeve-wrong\n').returncode == 5
    assert cli('login', door.url.replace('https', 'http').replace('127.0.0.1', '192.0.2.1')).returncode == 2
    assert not os.path.exists(os.path.join(config, 'reeve/login'))
    path = os.path.join(server.dir, 'token-file')
    with open(path, 'w') as f:
        f.write(token + '\n')
    done = cli('login', door.url, '--fingerprint', door.fingerprint, '--token-file', path)
    assert done.returncode == 0 and token not in done.stdout
    assert os.stat(os.path.join(config, 'reeve/login')).st_mode & 0o777 == 0o600
    assert cli('apply', '-', stdin='jobs: {web: {command: [sleep, "1000"]}}').returncode == 0
    assert 'web' in cli('jobs').stdout and 'web' in cli('events').stdout
    # what is kept is for that server: another one is not shown the token
    other = server.cli('jobs', check=False, env={**env, 'REEVE_ADDR': door.url.replace('127.0.0.1', 'localhost')})
    assert other.returncode != 0
    by_hand = server.cli('jobs', env={**env, 'REEVE_ADDR': door.url, 'REEVE_TOKEN': token, 'REEVE_CA': door.ca,
                                      'XDG_CONFIG_HOME': '/nonexistent'})
    assert 'web' in by_hand.stdout
    server.cli('token', 'revoke', token_id)
    assert cli('jobs').returncode == 5
    assert cli('logout').returncode == 0 and not os.path.exists(os.path.join(config, 'reeve/login'))
    assert 'not logged in' in cli('logout').stdout


def test_login_on_a_terminal(server, door):
    """The fingerprint is shown and confirmed, and the token is not echoed."""
    token, _ = make(server)
    config = os.path.join(server.dir, 'config')
    master, slave = pty.openpty()
    process = subprocess.Popen([server.reeve, 'login', door.url], stdin=slave, stdout=slave, stderr=slave,
                               env={**os.environ, 'XDG_CONFIG_HOME': config}, start_new_session=True)
    os.close(slave)
    shown = b''

    def read_until(what):
        nonlocal shown
        end = time.monotonic() + seconds(20)
        while what not in shown:
            assert select.select([master], [], [], max(0, end - time.monotonic()))[0], shown
            shown += os.read(master, 4096)

    read_until(b'[y/N] ')
    assert door.fingerprint.encode() in shown
    os.write(master, b'y\n')
    read_until(b'Token: ')
    os.write(master, token.encode() + b'\n')
    read_until(b'logged in to')
    assert process.wait(seconds(20)) == 0
    os.close(master)
    assert token.encode() not in shown
    assert server.cli('jobs', env={'REEVE_ADDR': '', 'XDG_CONFIG_HOME': config}).returncode == 0
