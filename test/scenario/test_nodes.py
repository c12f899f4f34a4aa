# SPDX-License-Identifier: BSD-3-Clause
"""Two agents on one server: logs, programs and signals through both links."""
import os
import pty
import re
import signal
import subprocess
import time

import pytest

from reeve import seconds

# Numbered lines, in two pieces each, without end.
COUNT = 'i=0; while :; do printf "line "; echo $i; i=$((i+1)); sleep 0.02; done'


@pytest.fixture
def two(up):
    """A Reeve with a second node: its agent under a keeper of its own, its link to the same server."""
    up.there = os.path.join(up.dir, 'there')
    os.mkdir(up.there)
    keeper = os.path.join(up.bin, 'reeve-keeper')
    up.nest.start(up.log_path, [keeper, '--dir', up.there, '--', up.reeve, 'agent', '--data', up.there, '--socket',
                                up.socket, '--node', 'there'])
    up.wait_for(lambda: [n['name'] for n in up.api('GET', '/v1/nodes') if n['state'] == 'ready'] == ['here', 'there'],
                'both nodes are ready')
    return up


def start_on_both(reeve, count=4, command=COUNT):
    """Two jobs' worth of tasks: `web` has tasks on each of the nodes. Returns {task: node}."""
    reeve.apply({'web': {'command': command, 'count': count}})
    tasks = reeve.wait_running('web', count)
    nodes = {t['id']: t['node'] for t in tasks}
    assert set(nodes.values()) == {'here', 'there'}, nodes
    return nodes


class Follower:
    """`reeve logs -f` with what it has shown so far."""

    def __init__(self, reeve, *arguments):
        self.path = os.path.join(reeve.dir, f'followed.{time.monotonic_ns()}')
        with open(self.path, 'wb') as out:
            self.process = subprocess.Popen([reeve.reeve, 'logs', '-f', *arguments], stdout=out,
                                            env={**os.environ, 'REEVE_ADDR': f'unix:{reeve.socket}'})

    def text(self):
        with open(self.path, errors='replace') as f:
            return f.read()

    def numbers(self):
        """{task: [number of each line]}; every line but the last is whole."""
        found = {}
        for line in self.text().split('\n')[:-1]:
            match = re.fullmatch(r'(web\.\d+) \| line (\d+)', line)
            assert match, f'not a line of a task: {line!r}'
            found.setdefault(match[1], []).append(int(match[2]))
        return found

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=seconds(20))


@pytest.fixture
def follow():
    made = []

    def make(*arguments):
        made.append(Follower(*arguments))
        return made[-1]

    yield make
    for f in made:
        f.close()


def has_all(numbers, tasks, least):
    return set(numbers) == set(tasks) and all(len(n) >= least for n in numbers.values())


def test_followed_logs_of_all_nodes(two, follow):
    nodes = start_on_both(two)
    f = follow(two, 'web')
    two.wait_for(lambda: has_all(f.numbers(), nodes, 50), 'lines of all tasks')
    for task, numbers in f.numbers().items():
        assert numbers == list(range(len(numbers))), task


def test_followed_over_the_death_of_an_agent(two, follow):
    """The other node's lines go on meanwhile, and of its own none is missing or told twice."""
    nodes = start_on_both(two)
    f = follow(two, 'web')
    two.wait_for(lambda: has_all(f.numbers(), nodes, 10), 'lines of all tasks')
    with open(os.path.join(two.there, 'node/lock')) as lock:
        agent = int(lock.read())
    os.kill(agent, signal.SIGKILL)
    before = {t: len(n) for t, n in f.numbers().items()}
    two.wait_for(lambda: all(len(n) > before[t] + 50 for t, n in f.numbers().items()), 'all go on')
    for task, numbers in f.numbers().items():
        assert numbers == list(range(len(numbers))), task
    assert all(t['runs'] == 1 for t in two.ps('web'))


def test_new_tasks_are_followed(two, follow):
    start_on_both(two, 2)
    f = follow(two, 'web')
    two.wait_for(lambda: has_all(f.numbers(), ['web.0', 'web.1'], 5), 'lines of both')
    two.cli('scale', 'web=4')
    two.wait_for(lambda: has_all(f.numbers(), [f'web.{i}' for i in range(4)], 5), 'lines of the new ones, too')
    for task, numbers in f.numbers().items():
        assert numbers == list(range(len(numbers))), task


def test_logs_of_all_nodes(two):
    nodes = start_on_both(two, command='echo "I am $REEVE_TASK on $REEVE_NODE"; sleep 100000')
    wanted = sorted(f'{t} | I am {t} on {n}' for t, n in nodes.items())
    two.wait_for(lambda: sorted(two.cli('logs', 'web').stdout.splitlines()) == wanted, 'what all have written')


@pytest.mark.parametrize('options', [[], ['-f']])
def test_colours_on_a_terminal(two, options):
    start_on_both(two, 2, 'echo "text | more"; sleep 100000')
    two.wait_for(lambda: two.cli('logs', 'web').stdout.count('text') == 2, 'both have written')

    def shown(**env):
        master, slave = pty.openpty()
        full = {k: v for k, v in os.environ.items() if k != 'NO_COLOR'}
        p = subprocess.Popen([two.reeve, 'logs', *options, 'web'], stdout=slave,
                             env={**full, 'TERM': 'xterm', 'REEVE_ADDR': f'unix:{two.socket}', **env})
        os.close(slave)
        seen = b''
        while seen.count(b'\n') < 2:
            seen += os.read(master, 4096)
        p.terminate()
        p.wait(timeout=seconds(20))
        os.close(master)
        return sorted(seen.decode().replace('\r', '').splitlines(), key=lambda line: line[line.index('web'):])

    lines = shown()
    match = [re.fullmatch(r'(\x1b\[\d+m)(web\.\d)\x1b\[0m \| text \| more', line) for line in lines]
    assert all(match) and [m[2] for m in match] == ['web.0', 'web.1'], lines
    assert match[0][1] != match[1][1]
    assert shown(NO_COLOR='1') == ['web.0 | text | more', 'web.1 | text | more']


def test_programs_and_signals_on_all_nodes(two):
    nodes = start_on_both(two, 2, 'trap "echo caught" USR1; echo ready; while :; do sleep 0.05; done')
    for task, node in nodes.items():
        assert two.cli('exec', task, '--', 'sh', '-c', 'echo $REEVE_TASK $REEVE_NODE').stdout == f'{task} {node}\n'
    two.wait_for(lambda: two.cli('logs', 'web').stdout.count('ready') == 2, 'both are ready')
    two.cli('signal', 'web', 'USR1')
    two.wait_for(lambda: two.cli('logs', 'web').stdout.count('caught') == 2, 'both caught it')
