# SPDX-License-Identifier: BSD-3-Clause
"""What is done to Reeve at the worst moment, or with the worst of intentions."""
import os
import shutil
import signal
import struct
import subprocess

import pytest

import reeve as harness
from reeve import program


def begin_to_go_down(reeve):
    """Two tasks that take their time; returns the pids of their first runs, which were told to end."""
    reeve.up()
    reeve.apply({'slow': {'command': [program('termer'), reeve.notes, '15', '2500', '0'], 'count': 2,
                          'stop': {'grace': '20s'}}})
    pids = [t['pid'] for t in reeve.wait_running('slow', 2)]
    reeve.wait_for(lambda: all(reeve.note(f'slow.{i}', 1, 'start') for i in range(2)), 'they have begun')
    reeve.api('POST', '/v1/down')
    reeve.wait_for(lambda: all(reeve.note(f'slow.{i}', 1, 'told') for i in range(2)), 'they were told')
    return pids


def wait_ended_alone(reeve, pids):
    """Waits for the end of the first runs; no second one begins beside them."""
    def ended():
        again = [t for t, runs in reeve.note_runs('start').items() if len(runs) > 1]
        alive = [p for p in pids if harness.proc_stat(p) and harness.proc_stat(p)[0] not in 'ZX']
        assert not alive or not again, f'{again} run again while {alive} run still'
        return not alive
    reeve.wait_for(ended, 'the first runs have ended', 20)


@pytest.mark.parametrize('dead', [['agent'], ['keeper'], ['server'], ['agent', 'keeper'], ['keeper', 'server']],
                         ids='+'.join)
def test_killed_while_going_down(reeve, dead):
    """Parts die while `down` waits for tasks that take their time: nothing is begun a second time beside them, and
    going down goes on."""
    pids = begin_to_go_down(reeve)
    for part in dead:
        reeve.kill(part)
    wait_ended_alone(reeve, pids)
    reeve.wait_gone()
    assert not reeve.nest.descendants()
    reeve.up()
    reeve.wait_running('slow', 2)
    assert {t['runs'] for t in reeve.ps('slow')} == {2}


def test_up_calls_off_going_down(reeve):
    """All is killed while the node goes down. The next `up` waits for what still ends, then begins it again."""
    pids = begin_to_go_down(reeve)
    reeve.kill_all_parts()
    reeve.start_up()
    wait_ended_alone(reeve, pids)
    reeve.wait_for(lambda: all(t['state'] == 'running' and t['runs'] == 2 for t in reeve.ps('slow')), 'run 2')


def write_as_older_version(path, cut=8):
    """Rewrites the task table (src/node/table.c) as a version would have that knew @cut bytes less of a machine."""
    with open(path, 'rb') as f:
        old = f.read()
    slot, machine = struct.unpack_from('<II', old, 8)
    copies = slot - 2 * (8 + machine)  # behind them nothing
    new = bytearray(old[:4096])
    struct.pack_into('<II', new, 8, slot - 2 * cut, machine - cut)
    for at in range(4096, len(old) - slot + 1, slot):
        first = old[at + copies:at + copies + 8 + machine - cut]
        second = old[at + copies + 8 + machine:at + slot - cut]
        new += old[at:at + copies] + first + second
    with open(path, 'r+b') as f:
        f.truncate(0)
        f.write(new)


def test_table_of_an_older_version(up):
    """The agent of a version that knows more of its tasks takes the running ones over from one that knew less."""
    up.apply({'web': {'command': [program('starts'), up.notes], 'count': 5}})
    pids = {t['id']: t['pid'] for t in up.wait_running('web', 5)}
    up.wait_for(lambda: len(up.note_runs('start')) == 5, 'they have begun')
    up.kill_all_parts()
    path = os.path.join(up.data, 'node/table')
    size = os.stat(path).st_size
    write_as_older_version(path)
    assert os.stat(path).st_size < size
    up.up()
    up.wait_log('carried over from another version')
    assert {t['id']: t['pid'] for t in up.wait_running('web', 5)} == pids
    assert all(list(runs) == [1] for runs in up.note_runs('start').values())


UNSHARE = shutil.which('unshare')


def may_unshare():
    return UNSHARE and subprocess.run([UNSHARE, '--pid', '--fork', '--mount-proc', 'true'], capture_output=True).returncode == 0


@pytest.mark.skipif(not may_unshare(), reason='needs the right to make PID namespaces')
def test_container_that_is_started_again(reeve):
    """The keeper is process 1 of a container, each time. What an earlier container ran is not taken for its own."""
    def start():
        reeve.nest.start(reeve.log_path, [UNSHARE, '--pid', '--fork', '--kill-child', '--mount-proc', reeve.reeve, 'up',
                                          '--data', reeve.data, '--socket', reeve.socket, '--node', reeve.node])

    def running(runs):
        return all(t['state'] == 'running' and t['runs'] == runs for t in reeve.ps('web'))
    start()
    reeve.wait_for(lambda: [n for n in reeve.api('GET', '/v1/nodes') if n['state'] == 'ready'], 'a node')
    assert reeve.api('GET', '/v1/nodes')[0]['keeper_pid'] == 1
    reeve.apply({'web': {'command': ['sleep', '100000'], 'count': 3, 'restart': {'policy': 'always', 'delay': 0}}})
    reeve.wait_for(lambda: running(1), 'run 1')
    for pid in reeve.nest.descendants():
        try:
            os.kill(pid, signal.SIGKILL)  # below our nest; with its process 1 all of the container ends
        except ProcessLookupError:
            pass
    reeve.wait_for(lambda: not reeve.nest.descendants(), 'the container is gone')
    start()
    reeve.wait_for(lambda: running(2), 'run 2', 30)
    ends = [e['message'] for e in reeve.events() if e['kind'] == 'task-ended']
    assert len(ends) == 3 and all('unknown' in m for m in ends), ends


def up_limited(reeve, limit):
    """Begins `reeve up` under `ulimit LIMIT`, which root may not raise either, and waits until it is ready."""
    limited = os.path.join(reeve.dir, 'limited')
    with open(limited, 'w') as f:  # exec keeps the process: what is begun is `reeve up`
        f.write(f'#!/bin/sh\nulimit {limit}\n')
        f.write('exec setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource "$@"\n' if os.geteuid() == 0 else
                'exec "$@"\n')
    os.chmod(limited, 0o755)
    reeve.up_pid = reeve.nest.start(reeve.log_path, [limited, reeve.reeve, 'up', '--data', reeve.data, '--socket',
                                                     reeve.socket, '--node', reeve.node])
    reeve.wait_ready()


def test_more_tasks_than_descriptors(reeve):
    """A hard limit of 400 descriptors is too few for 200 tasks: those that do not fit are not begun and say why; all
    parts keep enough to answer, to come back after a crash and to stop what runs."""
    up_limited(reeve, '-n 400')
    reeve.apply({'many': {'command': [program('starts'), reeve.notes], 'count': 200,
                          'restart': {'policy': 'always', 'delay': '1s', 'max_delay': '1s', 'burst': 0}}})

    def settled():
        rows = reeve.ps('many')
        waiting = [t for t in rows if t['state'] == 'queued' and 'descriptors' in (t['reason'] or '')]
        running = [t for t in rows if t['state'] == 'running']
        return waiting and len(waiting) + len(running) == 200 and len(running)
    running = reeve.wait_for(settled, 'some run, the others say why not')
    assert 100 < running < 133, running
    reeve.wait_for(lambda: all(t['runs'] > 3 for t in reeve.ps('many') if t['state'] == 'queued'), 'they try again')
    # fifty or more are left: of what is kept free, the last task and whoever is just being tried take some
    assert len(os.listdir(f'/proc/{reeve.pid("agent")}/fd')) <= 350
    before = {t['id']: t['pid'] for t in reeve.ps('many') if t['state'] == 'running'}
    for part in ('server', 'agent', 'keeper', 'server'):
        reeve.kill(part)
        reeve.wait_ready()
    now = {t['id']: t['pid'] for t in reeve.ps('many') if t['state'] == 'running'}
    assert before.items() <= now.items()
    reeve.api('POST', '/v1/jobs/many/scale', {'count': 10})
    reeve.wait_running('many', 10)


@pytest.mark.parametrize('dead', [['keeper'], ['keeper', 'agent']], ids='+'.join)
def test_limits_of_tasks_stay(reeve, dead):
    """What Reeve itself is allowed is its own: a task begun after the keeper was replaced has the limits of before."""
    up_limited(reeve, '-Sn 512')
    command = ['sh', '-c', 'ulimit -Sn; ulimit -Hn']
    reeve.apply({'before': {'kind': 'batch', 'command': command}})
    reeve.wait_tasks('before', state='ended')
    reeve.apply({'lasts': {'command': ['sleep', '100000']}})
    reeve.wait_running('lasts', 1)
    keeper = reeve.pid('keeper')
    for part in dead:
        reeve.kill(part)
    reeve.wait_for(lambda: reeve.pid('keeper') not in (None, keeper) and reeve.is_ready(), 'a new keeper')
    reeve.apply({'after': {'kind': 'batch', 'command': command}})
    reeve.wait_tasks('after', state='ended')
    assert reeve.log_text('after.0') == reeve.log_text('before.0')
    assert reeve.log_text('after.0').startswith('512\n')
