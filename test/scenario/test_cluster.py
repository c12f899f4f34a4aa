# SPDX-License-Identifier: BSD-3-Clause
"""Several machines: joining, placing, losing, draining, with cables that are really cut."""
import collections
import itertools
import os
import shutil
import signal
import sqlite3
import sys

import pytest

import reeve as harness

# Writes its fencing token, its node and the time of the one clock that all machines here share, until it is killed.
BEATS = '''
import os, sys, time
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
while True:
    os.write(out, f"{os.environ['REEVE_FENCE']} {os.environ['REEVE_NODE']} {time.monotonic()}\\n".encode())
    time.sleep(0.01)
'''


# Writes when it begins and when it ends, which takes it a while.
SLOW_TO_END = '''
import os, signal, sys, time
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
def note(what):
    os.write(out, f"{os.environ['REEVE_NODE']} {os.getpid()} {what} {time.monotonic()}\\n".encode())
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
note('begins')
signal.sigwait({signal.SIGTERM})
time.sleep(3)
note('ends')
'''


def web(cluster, count, **more):
    return {'web': {'count': count, 'command': [harness.program('starts'), cluster.server.notes], **more}}


def spread_of(cluster, job):
    return collections.Counter(cluster.where(job).values())


def count_processes(cluster, name='starts'):
    return sum(len(pids) for pids in cluster.processes(name).values())


def test_join_and_place(cluster):
    cluster.begin(['a', 'b', 'c'], a=['--zone', 'west'], b=['--zone', 'west'], c=['--zone', 'east', '--attr', 'gpu=yes'])
    server = cluster.server
    server.apply({**web(cluster, 6), 'east': {'command': 'exec sleep 1000', 'place': {'zone': 'east'}},
                  'gpu': {'command': 'exec sleep 1000', 'count': 2, 'place': {'where': ['gpu exists'], 'exclusive': 'gpu'}}})
    server.wait_running('web', 6)
    assert spread_of(cluster, 'web') == {'a': 2, 'b': 2, 'c': 2}
    assert {n: len(p) for n, p in cluster.processes('starts').items()} == {'a': 2, 'b': 2, 'c': 2}
    server.wait_running('east', 1)
    assert cluster.where('east') == {'east.0': 'c'}
    # only one of two may be on the only node that has one
    server.wait_for(lambda: sorted(t['state'] for t in server.ps('gpu')) == ['queued', 'running'], 'one gpu task waits')
    waiting = [t for t in server.ps('gpu') if t['state'] == 'queued'][0]
    assert 'tag gpu' in waiting['reason'], waiting
    assert 'gpu' in server.cli('why', waiting['id']).stdout


def test_nothing_listens_on_a_worker(cluster):
    cluster.begin(['a'])
    cluster.server.apply(web(cluster, 1))
    cluster.server.wait_running('web', 1)
    assert cluster.agents['a'].run('ss', '-Hltun').strip() == ''


def test_server_is_no_witness_of_other_machines(cluster):
    """Their pids may be anybody's where the server is."""
    cluster.begin(['a', 'b'])
    server = cluster.server
    server.apply(web(cluster, 4))
    server.wait_running('web', 4)
    assert cluster.agents['b'].kill('agent')  # what runs already is told with its hello
    server.wait_for(lambda: cluster.nodes()['b']['agent_pid'] == cluster.agents['b'].pid('agent'), 'the agent is back')
    folder = f"/proc/{server.pid('server')}/fd"
    held = [os.readlink(f'{folder}/{fd}') for fd in os.listdir(folder)]
    assert not [name for name in held if 'pidfd' in name or '/fifos/' in name], held


def test_ports_are_handed_out(cluster):
    cluster.begin(['a'], a=['--ports', '25000-25009'])
    server = cluster.server
    server.apply({'p': {'count': 3, 'resources': {'ports': ['http', 'admin']},
                        'command': 'echo $REEVE_PORT_HTTP ${ports.admin}; exec sleep 1000'}})
    server.wait_running('p', 3)
    told = [server.cli('logs', f'p.{i}').stdout.split()[-2:] for i in range(3)]
    numbers = [int(n) for pair in told for n in pair]
    assert len(set(numbers)) == 6 and all(25000 <= n <= 25009 for n in numbers), told


@pytest.mark.parametrize('cut', ['deafen', 'unplug'])
def test_lost_node(cluster, cut):
    """Its tasks run elsewhere; when it is back, what it still runs is ended, and nothing else."""
    cluster.begin(['a', 'b', 'c'])
    server = cluster.server
    server.apply(web(cluster, 6))
    server.wait_running('web', 6)
    stayed = {t['id']: t['pid'] for t in server.ps('web') if t['node'] != 'b'}
    getattr(cluster.cables, cut)('b')
    cluster.wait_nodes(['b'], 'lost')
    server.wait_for(lambda: 'b' not in cluster.where('web').values() and
                    all(t['state'] == 'running' for t in server.ps('web')), 'all run elsewhere')
    assert len(cluster.processes('starts')['b']) == 2  # nobody could tell it
    assert {t['id']: t['pid'] for t in server.ps('web') if t['id'] in stayed} == stayed
    why = server.cli('why', [i for i in cluster.where('web') if i not in stayed][0]).stdout
    assert 'not been heard from' in why, why

    cluster.cables.heal('b')
    cluster.wait_nodes(['b'])
    server.wait_for(lambda: not cluster.processes('starts')['b'], 'what was left on b is ended')
    assert count_processes(cluster) == 6


def test_lost_node_without_room(cluster):
    """Where there is no other place a task stays with its node, and is taken as found."""
    cluster.begin(['a', 'b'])
    server = cluster.server
    server.apply(web(cluster, 2, place={'exclusive': 'one'}))
    before = {t['id']: t['pid'] for t in server.wait_running('web', 2)}
    cluster.cables.deafen('b')
    cluster.wait_nodes(['b'], 'lost')
    server.wait_for(lambda: 'lost' in {t['state'] for t in server.ps('web')}, 'one is lost')
    cluster.cables.heal('b')
    assert {t['id']: t['pid'] for t in server.wait_running('web', 2)} == before


def lives(path):
    """Node, begin and end of each process that wrote with SLOW_TO_END."""
    found = {}
    with open(path) as f:
        for node, pid, what, at in (line.split() for line in f):
            if what == 'begins':
                found[node, pid] = [node, float(at), float('inf')]
            else:
                found[node, pid][2] = float(at)
    return list(found.values())


def test_exclusive_on_a_node_that_is_back(cluster):
    """What was moved away still has the tag there until it has ended."""
    cluster.begin(['a', 'b'])
    server = cluster.server
    path = os.path.join(server.notes, 'lives')
    job = {'command': [sys.executable, '-c', SLOW_TO_END, path], 'place': {'exclusive': 'gpu'}, 'stop': {'grace': '60s'}}
    server.apply({'old': job})
    server.wait_running('old', 1)
    server.wait_for(lambda: os.path.exists(path) and len(lives(path)) == 1, 'it has begun')
    first = cluster.where('old')['old.0']
    cluster.cables.deafen(first)
    cluster.wait_nodes([first], 'lost')
    server.wait_running('old', 1)
    assert cluster.where('old')['old.0'] != first
    server.wait_for(lambda: len(lives(path)) == 2, 'it has begun elsewhere')
    server.apply({'new': job})
    assert server.task('new.0')['state'] == 'queued'
    cluster.cables.heal(first)
    cluster.wait_nodes([first])
    server.wait_running('new', 1)
    assert cluster.where('new') == {'new.0': first}
    server.wait_for(lambda: len(lives(path)) == 3, 'the new one has begun')
    (_, _, end), (_, begin, _) = sorted(life for life in lives(path) if life[0] == first)
    assert end < begin, lives(path)


def beats(path):
    with open(path) as f:
        return [(int(fence), node, float(at)) for fence, node, at in (line.split() for line in f)]


def test_singleton_never_twice(cluster):
    """A node that cannot reach the server ends its singleton before another node begins it."""
    cluster.begin(['a', 'b'])
    server = cluster.server
    path = os.path.join(server.notes, 'beats')
    server.apply({'one': {'command': [sys.executable, '-c', BEATS, path], 'singleton': True, 'lease': '3s',
                          'stop': {'grace': '1s'}}})
    server.wait_running('one', 1)
    first = cluster.where('one')['one.0']
    server.wait_for(lambda: os.path.exists(path) and beats(path), 'it beats')
    cluster.cables.deafen(first)
    server.wait_for(lambda: len({b[0] for b in beats(path)}) == 2, 'it beats with another token', 60)
    runs = [list(group) for _, group in itertools.groupby(beats(path), key=lambda b: b[0])]
    assert len(runs) == 2, 'two processes wrote at the same time'
    assert runs[0][0][0] < runs[1][0][0] and runs[0][0][1] != runs[1][0][1]
    assert runs[0][-1][2] < runs[1][0][2]
    cluster.cables.heal(first)
    cluster.wait_nodes(['a', 'b'])
    server.wait_running('one', 1)
    assert len({b[0] for b in beats(path)}) == 2


def test_server_away(cluster):
    """Tasks go on and are restarted while the server is dead; nothing is begun anew when it is back."""
    cluster.begin(['a', 'b'])
    server = cluster.server
    server.apply({**web(cluster, 4), 'crash': {'command': 'sleep 0.3; exit 1', 'restart': {'delay': '100ms', 'burst': 0}}})
    before = {t['id']: t['pid'] for t in server.wait_running('web', 4)}
    runs = server.task('crash.0')['runs']
    cluster.cables.deafen('server')
    for pid in [server.pid('server'), server.pid('keeper')]:
        os.kill(pid, signal.SIGKILL)
    server.wait_for(server.parts_gone, 'the server is gone')
    cluster.cables.heal('server')
    server.begin()
    cluster.wait_nodes(['a', 'b'])
    assert {t['id']: t['pid'] for t in server.wait_running('web', 4)} == before
    server.wait_for(lambda: server.task('crash.0')['runs'] > runs, 'the crasher went on')


def test_agent_and_keeper_killed(cluster):
    cluster.begin(['a', 'b'])
    server, agent = cluster.server, cluster.agents['a']
    server.apply(web(cluster, 4))
    before = {t['id']: t['pid'] for t in server.wait_running('web', 4)}
    assert agent.kill('agent')
    server.wait_for(lambda: cluster.nodes()['a']['agent_pid'] == agent.pid('agent'), 'the agent is back')
    assert agent.kill('keeper')
    server.wait_for(lambda: cluster.nodes()['a']['keeper_pid'] == agent.pid('keeper') and
                    cluster.nodes()['a']['state'] == 'ready', 'a keeper is back')
    assert {t['id']: t['pid'] for t in server.wait_running('web', 4)} == before


def test_drain(cluster):
    cluster.begin(['a', 'b', 'c'])
    server = cluster.server
    server.apply(web(cluster, 6, update={'parallel': 1}))
    server.wait_running('web', 6)
    server.cli('drain', 'b', '--wait')
    assert cluster.nodes()['b']['scheduling'] == 'drained'
    assert spread_of(cluster, 'web') == {'a': 3, 'c': 3}
    assert not cluster.processes('starts')['b']
    server.wait_running('web', 6)
    assert 'drain' in server.cli('why', 'b').stdout
    server.cli('drain', 'b', '--off')
    server.cli('scale', 'web=9')
    server.wait_running('web', 9)
    assert spread_of(cluster, 'web')['b'] == 3


def test_drain_waits_for_room(cluster):
    cluster.begin(['a', 'b'])
    server = cluster.server
    server.apply(web(cluster, 2, place={'exclusive': 'one'}))
    before = {t['id']: t['pid'] for t in server.wait_running('web', 2)}
    server.cli('drain', 'b')
    server.wait_for(lambda: 'room' in server.cli('why', 'b').stdout or 'fits' in server.cli('why', 'b').stdout,
                    'why says what the drain waits for')
    assert {t['id']: t['pid'] for t in server.wait_running('web', 2)} == before
    cluster.join('c')
    server.wait_for(lambda: set(cluster.where('web').values()) == {'a', 'c'}, 'the task has moved')


def test_update_over_nodes(cluster):
    """Start-first: never fewer than three run, and the extra one is gone at the end."""
    cluster.begin(['a', 'b'])
    server = cluster.server
    server.apply(web(cluster, 3, update={'order': 'start-first'}))
    server.wait_running('web', 3)
    old = {p for pids in cluster.processes('starts').values() for p in pids}
    least = [3]

    def rolled():
        least.append(count_processes(cluster))
        job = server.jobs()['web']
        return job['state'] == 'running' and job['version'] == 2 and job['running'] == 3
    server.apply(web(cluster, 3, update={'order': 'start-first'}, env={'V': '2'}))
    server.wait_for(rolled, 'the new version is everywhere')
    new = {p for pids in cluster.processes('starts').values() for p in pids}
    assert not new & old and len(new) == 3
    assert min(least) >= 3, least


def test_slow_link(cluster):
    cluster.begin(['a', 'b'])
    server = cluster.server
    cluster.cables.slow('a', '256kbit')
    server.apply(web(cluster, 8))
    server.wait_running('web', 8)
    assert cluster.nodes()['a']['state'] == 'ready'


def test_logs_of_all_nodes(cluster):
    cluster.begin(['a', 'b', 'c'])
    server = cluster.server
    server.apply({'say': {'count': 6, 'command': 'echo I am $REEVE_TASK; exec sleep 1000'}})
    server.wait_running('say', 6)
    said = server.wait_for(lambda: (lambda text: text if text.count('I am') == 6 else None)(
        server.cli('logs', 'say').stdout), 'all have spoken')
    assert all(f'I am say.{i}' in said for i in range(6)), said


def test_forget(cluster):
    cluster.begin(['a', 'b'])
    server = cluster.server
    server.apply(web(cluster, 2))
    server.wait_running('web', 2)
    cluster.cables.unplug('b')
    cluster.wait_nodes(['b'], 'lost')
    server.cli('node', 'forget', 'b')
    server.wait_for(lambda: 'b' not in cluster.nodes(), 'b is forgotten')
    cluster.cables.heal('b')
    server.wait_running('web', 2)
    assert set(cluster.where('web').values()) == {'a'}
    cluster.agents['b'].wait_log('credential')
    assert 'b' not in cluster.nodes()


def wipe(agent):
    """The machine loses its disk, and whatever ran there."""
    agent.kill_all_parts()
    fifos = os.path.realpath(os.path.join(agent.data, 'node/fifos'))
    for path in {fifos, agent.data}:
        shutil.rmtree(path, ignore_errors=True)


def number_notes_from(server, node, number):
    """In the store of a server that is down: as if the node's clock had been ahead when its table was made."""
    key = f'notes/{node}'.encode()
    db = sqlite3.connect(os.path.join(server.data, 'store.db'))
    with db:
        before = int(db.execute('SELECT value FROM kv WHERE key = ?', (key,)).fetchone()[0])
        assert 0 < before < number
        db.execute('UPDATE kv SET value = ? WHERE key = ?', (str(number).encode(), key))
    db.close()


@pytest.mark.parametrize('forgotten', [False, True])
def test_wiped_node_joins_again(cluster, forgotten):
    """What its agent tells is new, although its numbers are smaller than those of the one before."""
    cluster.begin(['a', 'b'])
    server, b = cluster.server, cluster.agents['b']
    once = {'kind': 'batch', 'command': 'exit 0', 'place': {'node': 'b'}}
    server.apply({'before': once})
    server.wait_for(lambda: server.jobs()['before']['state'] == 'succeeded', 'the first one is done')
    server.wait_for(lambda: any(e['kind'] == 'task-ended' for e in server.events()), 'and its end is told')
    wipe(b)
    server.kill_all_parts()
    number_notes_from(server, 'b', 1 << 52)
    server.begin()
    cluster.wait_nodes(['b'], 'lost')
    if forgotten:
        server.cli('node', 'forget', 'b')
    b.begin(join=cluster.token())
    cluster.wait_nodes(['a', 'b'])
    server.apply({'again': once})
    server.wait_for(lambda: server.jobs()['again']['state'] == 'succeeded', 'the next one is done')
    server.wait_for(lambda: any(e['kind'] == 'task-ended' and e['task'] == 'again.0' for e in server.events()),
                    'and its end is told')
    assert sum('lost what it knew' in e['message'] for e in server.events()) == (0 if forgotten else 1)


def test_rebalance(cluster):
    cluster.begin(['a'])
    server = cluster.server
    server.apply(web(cluster, 6, update={'parallel': 2}))
    server.wait_running('web', 6)
    assert server.cli_json('rebalance', '--plan') == []
    cluster.join('b')
    cluster.wait_nodes(['b'])
    plan = server.cli_json('rebalance', '--plan')
    assert len(plan) == 3 and {m['from'] for m in plan} == {'a'} and spread_of(cluster, 'web') == {'a': 6}
    server.cli('rebalance')
    server.wait_for(lambda: spread_of(cluster, 'web') == {'a': 3, 'b': 3}, 'the nodes are even')
    server.wait_running('web', 6)
    server.wait_for(lambda: {n: len(p) for n, p in cluster.processes('starts').items()} == {'a': 3, 'b': 3},
                    'and nothing is left over')


def test_one_on_every_node(cluster):
    """A system job and one that goes with another follow the nodes as they come, are drained and are lost."""
    cluster.begin(['a', 'b'])
    server = cluster.server
    server.apply({**web(cluster, 1, place={'node': 'a'}), 'every': {'kind': 'system', 'command': 'exec sleep 1000'},
                  'side': {'command': 'exec sleep 1001', 'place': {'with': 'web'}}})
    server.wait_running('every', 2)
    server.wait_running('side', 1)
    assert set(cluster.where('every').values()) == {'a', 'b'} and set(cluster.where('side').values()) == {'a'}
    cluster.join('c')
    server.wait_running('every', 3)
    assert set(cluster.where('every').values()) == {'a', 'b', 'c'}
    before = {t['id']: t['pid'] for t in server.ps('every')}
    cluster.cables.deafen('b')
    cluster.wait_nodes(['b'], 'lost')
    assert set(cluster.where('every').values()) == {'a', 'b', 'c'}  # it belongs there and nowhere else
    cluster.cables.heal('b')
    assert {t['id']: t['pid'] for t in server.wait_running('every', 3)} == before


def test_batch_over_nodes(cluster):
    """Forty pieces, each done exactly once, although a node is lost on the way and comes back."""
    cluster.begin(['a', 'b', 'c'])
    server = cluster.server
    server.apply({'crunch': {'kind': 'batch', 'count': 40, 'command': 'sleep 0.2; echo done >> "$OUT/$REEVE_TASK"',
                             'env': {'OUT': server.notes}, 'batch': {'parallel': 6}, 'lost': {'then': 'wait'}}})
    server.wait_for(lambda: len(os.listdir(server.notes)) > 5, 'some are done')
    cluster.cables.deafen('b')
    cluster.wait_nodes(['b'], 'lost')
    cluster.cables.heal('b')
    server.wait_for(lambda: server.jobs()['crunch']['state'] == 'succeeded', 'all are done')
    for i in range(40):
        with open(os.path.join(server.notes, f'crunch.{i}')) as f:
            assert f.read() == 'done\n', f'crunch.{i}'
