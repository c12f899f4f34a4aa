# SPDX-License-Identifier: BSD-3-Clause
"""The nodes of a cluster: one server and agents with state directories of their own, over TLS on 127.0.0.1."""
import os
import signal
import socket
import stat
import time

import pytest
from reeve import seconds


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def alive(pid):
    """A process that is not just a zombie."""
    try:
        with open(f'/proc/{pid}/stat') as f:
            return f.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


class Cluster:
    def __init__(self, new_reeve):
        self.new_reeve = new_reeve
        self.port = free_port()
        self.url = f'https://127.0.0.1:{self.port}'
        self.server = new_reeve()
        self.begin_server()

    def begin_server(self):
        self.server.start_server('--listen', f'127.0.0.1:{self.port}', '--advertise', f'127.0.0.1:{self.port}')
        self.server.wait_for(lambda: self.server.api('GET', '/v1/version'), 'the server answers')

    def token(self, *arguments):
        return self.server.cli_json('token', 'create', '--join', *arguments)['token']

    def begin_agent(self, node, *arguments):
        """Begins `reeve agent` on that node's directory."""
        node.up_pid = node.nest.start(node.log_path, [node.reeve, 'agent', '--data', node.data, *arguments])

    def start(self, name, *arguments, server=None):
        """A new node, which has joined."""
        node = self.new_reeve()
        node.node = name
        self.begin_agent(node, '--server', server or self.url, '--join', self.token(), '--name', name, *arguments)
        self.wait_ready(node)
        return node

    def status(self, node):
        return next((n for n in self.server.api('GET', '/v1/nodes') if n['name'] == node.node), None)

    def wait_ready(self, node):
        def is_ready():
            n = self.status(node)
            return n and n['state'] == 'ready' and n['agent_pid'] == node.pid('agent')
        self.server.wait_for(is_ready, f'{node.node} is ready')

    def run(self, node, name, **more):
        """A job with one task on that node; returns its pid when it runs."""
        self.server.apply({name: {'command': ['sleep', '1000'], 'place': {'node': node.node}, **more}})
        return self.server.wait_running(name, 1)[0]['pid']

    def task(self, task_id):
        return self.server.task(task_id)

    def refuse(self, *arguments):
        """`reeve agent` that does not begin: exit status and message."""
        node = self.new_reeve()
        done = node.cli('agent', '--data', node.data, *arguments, check=False)
        assert node.pid('keeper') is None and done.stderr.count('\n') == 1, done.stderr
        return done.returncode, done.stderr


@pytest.fixture
def cluster(new_reeve):
    return Cluster(new_reeve)


def listening(pid):
    """The addresses on which a process listens, UNIX sockets not counted."""
    inodes = set()
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            inodes.add(os.readlink(f'/proc/{pid}/fd/{fd}'))
        except FileNotFoundError:
            pass
    found = []
    for table in ('tcp', 'tcp6', 'udp', 'udp6'):
        with open(f'/proc/{pid}/net/{table}') as f:
            for line in f.readlines()[1:]:
                column = line.split()
                if f'socket:[{column[9]}]' in inodes and (table[:3] == 'udp' or column[3] == '0A'):
                    found.append(f'{table} {column[1]}')
    return found


def test_two_nodes(cluster):
    """Each has what it was told, runs what is placed on it, and listens on nothing."""
    west = cluster.start('west-1', '--zone', 'west', '--attr', 'rack=a7', '--cpu', '1.5', '--memory', '1GiB',
                         '--ports', '21000-21010')
    east = cluster.start('east-1', '--zone', 'east')
    status = cluster.status(west)
    assert (status['zone'], status['cpu'], status['memory']) == ('west', 1500, 1 << 30)
    assert status['attributes']['rack'] == 'a7' and status['attributes']['arch'] == os.uname().machine
    assert cluster.status(east)['attributes']['zone'] == 'east'

    command = ['sh', '-c', 'echo "$0 $REEVE_PORT_HTTP $URL $REEVE_NODE ${HOME-none}"; exec sleep 1000', '${ports.http} ${task.id}']
    cluster.run(west, 'web', command=command, resources={'ports': ['http']}, env={'URL': 'x:${ports.http}/${job.name}'})
    pid = cluster.run(east, 'other')
    west.wait_for(lambda: '\n' in west.log_text('web.0'), 'it has written')
    port = west.log_text('web.0').split()[0]
    assert 21000 <= int(port) <= 21010
    assert west.log_text('web.0') == f'{port} web.0 {port} x:{port}/web west-1 none\n'
    assert pid in east.nest.descendants() and pid not in west.nest.descendants()
    for node in (west, east):
        credential = os.stat(os.path.join(node.data, 'node/credential'))
        assert stat.S_IMODE(credential.st_mode) == 0o600
        assert listening(node.pid('agent')) == [] and listening(node.pid('keeper')) == []


def test_who_is_refused(cluster):
    node = cluster.start('n1')
    token = cluster.token()
    wrong = token[:-1] + ('0' if token[-1] != '0' else '1')
    expected = [
        (('--server', cluster.url, '--join', wrong, '--name', 'n2'), 'certificate'),
        (('--server', cluster.url, '--join', 'reeve-join-' + '0' * 32 + token[43:], '--name', 'n2'), 'not known here'),
        (('--server', cluster.url, '--join', 'abc'), 'not a join token'),
        (('--server', cluster.url, '--join', token, '--name', 'n1'), 'n1 is connected'),
        (('--server', cluster.url, '--join', token, '--name', 'a.b'), 'a name is'),
        (('--server', f'https://127.0.0.1:{free_port()}', '--join', token), 'refused'),
        (('--server', 'http://192.0.2.1:1', '--join', token), 'https'),
        (('--server', cluster.url), 'no node of a cluster yet'),
    ]
    for arguments, words in expected:
        status, message = cluster.refuse(*arguments)
        assert status != 0 and words in message, (arguments, message)
    once = cluster.token('--uses', '1')
    other = cluster.new_reeve()
    other.node = 'n2'
    cluster.begin_agent(other, '--server', cluster.url, '--join', once, '--name', 'n2')
    cluster.wait_ready(other)
    assert cluster.refuse('--server', cluster.url, '--join', once, '--name', 'n3')[0] == 5
    second = node.cli('agent', '--data', node.data, check=False)
    assert second.returncode == 4 and 'already' in second.stderr


@pytest.mark.parametrize('parts', [['agent'], ['keeper'], ['server'], ['agent', 'server'], ['keeper', 'server']])
def test_kill(cluster, parts):
    """No process dies, none runs twice."""
    node = cluster.start('n1')
    pid = cluster.run(node, 'web', command=['sleep', '1000'])
    before = {part: (cluster.server if part == 'server' else node).pid(part) for part in parts}
    for part in parts:
        os.kill(before[part], signal.SIGKILL)
    for part in parts:
        owner = cluster.server if part == 'server' else node
        owner.wait_for(lambda: owner.pid(part) not in (None, before[part]), f'there is a {part} again')
    cluster.wait_ready(node)
    cluster.server.wait_running('web', 1)
    task = cluster.task('web.0')
    assert (task['pid'], task['runs']) == (pid, 1) and alive(pid)


def test_server_away(cluster):
    """The tasks go on, restarts included, and the server hears of it later."""
    node = cluster.start('n1')
    pid = cluster.run(node, 'web', restart={'delay': '100ms'})
    server = cluster.server.pid('server')
    os.kill(cluster.server.pid('keeper'), signal.SIGTERM)
    cluster.server.wait_for(lambda: not alive(server) and cluster.server.pid('keeper') is None, 'the server is gone')
    os.kill(pid, signal.SIGKILL)
    node.wait_for(lambda: [p for p in node.nest.descendants() if p != pid and b'sleep' in
                           open(f'/proc/{p}/cmdline', 'rb').read()], 'it was begun again')
    os.kill(node.pid('agent'), signal.SIGKILL)  # and the agent does without the server, too
    cluster.begin_server()
    cluster.wait_ready(node)
    cluster.server.wait_tasks('web', runs=2, state='running')
    messages = [e['message'] for e in cluster.server.events() if e['task'] == 'web.0']
    assert any('run 1 ended: killed by KILL' in m for m in messages)


def test_starts_again_without_a_token(cluster):
    node = cluster.start('n1')
    pid = cluster.run(node, 'web')
    os.kill(node.pid('keeper'), signal.SIGTERM)
    node.wait_gone()
    assert alive(pid)
    cluster.begin_agent(node)
    cluster.wait_ready(node)
    cluster.server.wait_running('web', 1)
    assert (cluster.task('web.0')['pid'], cluster.task('web.0')['runs']) == (pid, 1)


def test_several_addresses(cluster):
    """Whichever answers; also after a break."""
    node = cluster.start('n1', server=f'https://127.0.0.1:{free_port()},{cluster.url}')
    pid = cluster.run(node, 'web')
    before = cluster.server.pid('server')
    cluster.server.kill('server')
    cluster.server.wait_for(lambda: cluster.server.pid('server') not in (None, before), 'there is a server again')
    cluster.wait_ready(node)
    cluster.server.wait_running('web', 1)
    assert cluster.task('web.0')['pid'] == pid


def test_forgotten(cluster):
    """The agent says so, and its tasks go on."""
    node = cluster.start('n1')
    pid = cluster.run(node, 'web')
    cluster.server.cli('node', 'forget', 'n1')
    node.wait_log('a new join token makes this machine a node again')
    assert alive(pid) and node.pid('agent')


def node_fence(pid):
    """REEVE_FENCE of a process."""
    with open(f'/proc/{pid}/environ') as f:
        return int(next(v for v in f.read().split('\0') if v.startswith('REEVE_FENCE=')).partition('=')[2])


@pytest.mark.parametrize('agent_too', [False, True])
def test_lease(cluster, agent_too):
    """A singleton whose server is silent is gone before its lease is over, whatever its grace period, also when the agent
    is killed meanwhile; and it is begun again when the server wants it again."""
    lease = seconds(4)
    node = cluster.start('n1')
    other = cluster.run(node, 'other')
    pid = cluster.run(node, 'one', command=['sh', '-c', 'trap "" TERM; while :; do sleep 0.05; done'], singleton=True,
                      lease=f'{int(lease * 1000)}ms', stop={'grace': '5m'})
    fence = node_fence(pid)
    server = cluster.server.pid('server')
    os.kill(server, signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        assert alive(pid)
        if agent_too:
            os.kill(node.pid('agent'), signal.SIGKILL)
        node.wait_for(lambda: not alive(pid), 'the singleton is gone')
        assert time.monotonic() - stopped < lease
        assert alive(other)
    finally:
        os.kill(server, signal.SIGCONT)
    cluster.wait_ready(node)
    cluster.server.wait_tasks('one', runs=2, state='running')
    assert node_fence(cluster.task('one.0')['pid']) >= fence > 0
    messages = [e['message'] for e in cluster.server.events() if e['task'] == 'one.0']
    assert any('its lease ends' in m for m in messages), messages
    assert cluster.task('other.0')['pid'] == other
