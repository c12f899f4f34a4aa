# SPDX-License-Identifier: BSD-3-Clause
"""Run records of processes that are gone, whose pid another program has now: not adopted, not killed, not counted."""
import os
import signal
import struct
import subprocess

import pytest

import reeve as harness
from reeve import program


def kill_everything(reeve):
    """All parts and all tasks at once, as an out-of-memory killer gone wild would."""
    reeve.kill_all_parts()
    for pid in reeve.nest.descendants():
        try:
            os.kill(pid, signal.SIGKILL)  # below our nest
        except ProcessLookupError:
            pass
    reeve.wait_for(lambda: not reeve.nest.descendants(), 'nothing is left')


def may_choose_pid():
    """ns_last_pid says which pid comes next, for those who may write it."""
    return os.geteuid() == 0 and os.access('/proc/sys/kernel/ns_last_pid', os.W_OK)


def start_with_pid(pid):
    """Starts a stranger under that pid, or returns None when others were faster each time."""
    for _ in range(200):
        try:
            with open('/proc/sys/kernel/ns_last_pid', 'w') as f:
                f.write(str(pid - 1))
        except OSError:
            return None
        stranger = subprocess.Popen(['sleep', '100000'], start_new_session=True)
        if stranger.pid == pid:
            return stranger
        stranger.kill()
        stranger.wait()
        if os.path.exists(f'/proc/{pid}'):
            return None
    return None


def check_stranger(reeve, stranger, runs):
    """The stranger lives, is nobody's task, and the task has a new run."""
    task = reeve.wait_for(lambda: [t for t in reeve.ps('web') if t['state'] == 'running' and t['runs'] == runs],
                          'a new run')[0]
    assert task['pid'] != stranger.pid and harness.proc_stat(task['pid'])
    ends = [e for e in reeve.events() if e['kind'] == 'task-ended']
    assert [e['run'] for e in ends] == list(range(1, runs)), ends
    assert 'unknown' in ends[0]['message'], 'nobody saw how it ended: never a guess'
    assert stranger.poll() is None
    reeve.cli('stop', 'web')
    reeve.down()
    assert stranger.poll() is None, 'the stranger was killed'


@pytest.mark.skipif(not may_choose_pid(), reason='only root can choose the pid of a process')
def test_pid_of_a_dead_task_was_given_away(up):
    """Everything was killed, and the pid of a task is another program's now: it is neither adopted nor killed; the
    task is begun again, and its former end is unknown."""
    up.apply({'web': {'command': [program('starts'), up.notes], 'restart': {'policy': 'always', 'delay': 0}}})
    pid = up.wait_running('web', 1)[0]['pid']
    kill_everything(up)
    stranger = start_with_pid(pid)
    if stranger is None:
        pytest.skip(f'pid {pid} was taken by somebody else')
    try:
        up.up()
        check_stranger(up, stranger, 2)
    finally:
        stranger.kill()
        stranger.wait()


def test_children_of_a_task_that_ended_unseen(up):
    """All parts are dead when the main process of a task ends; its children live on. The next agent ends them before
    it begins the task again: no run beside another."""
    up.apply({'fork': {'command': [program('forker'), up.notes, '3'], 'restart': {'policy': 'always', 'delay': 0}}})
    pid = up.wait_running('fork', 1)[0]['pid']
    children = [int(p) for p in up.wait_for(lambda: up.note('fork.0', 1, 'children'), 'children').split()]
    up.kill_all_parts()
    os.kill(pid, signal.SIGKILL)  # our own task
    up.wait_for(lambda: harness.proc_stat(pid) is None, 'it is gone')
    assert all(harness.proc_stat(c) for c in children)
    up.up()
    up.wait_for(lambda: up.task('fork.0')['runs'] == 2 and up.task('fork.0')['state'] == 'running', 'run 2')
    up.wait_for(lambda: not any(harness.proc_stat(c) for c in children), 'the children of run 1 are gone')
    up.wait_for(lambda: up.note('fork.0', 2, 'children'), 'run 2 has children of its own')
    assert not up.note_runs(r'overlap\.\d+')


def patch_pid(path, old, new):
    """Writes another pid into the run record and the machine of the table (src/node/table.c): every aligned word that
    is the old pid."""
    with open(path, 'r+b') as f:
        data = bytearray(f.read())
        found = 0
        for at in range(0, len(data) - 3, 4):
            if struct.unpack_from('<i', data, at)[0] == old:
                struct.pack_into('<i', data, at, new)
                found += 1
        assert found >= 2, f'pid {old} is in the table {found} times'
        f.seek(0)
        f.write(data)


def test_run_record_of_a_stranger(up):
    """The table names a pid that runs another program, begun at another time: the same, for any user."""
    up.apply({'web': {'command': [program('starts'), up.notes], 'restart': {'policy': 'always', 'delay': 0}}})
    pid = up.wait_running('web', 1)[0]['pid']
    kill_everything(up)
    stranger = subprocess.Popen(['sleep', '100000'], start_new_session=True)
    try:
        patch_pid(os.path.join(up.data, 'node/table'), pid, stranger.pid)
        up.up()
        check_stranger(up, stranger, 2)
    finally:
        stranger.kill()
        stranger.wait()


def test_lock_file_of_a_stranger(up):
    """Lock files that name a living pid which is not ours: nobody is taken for a keeper, `up` begins."""
    up.apply({'web': {'command': [program('starts'), up.notes], 'restart': {'policy': 'always', 'delay': 0}}})
    up.wait_running('web', 1)
    kill_everything(up)
    stranger = subprocess.Popen(['sleep', '100000'], start_new_session=True)
    try:
        for name in ('keeper.lock', 'server.lock', 'node/lock'):
            with open(os.path.join(up.data, name), 'w') as f:
                f.write(f'{stranger.pid}\n')
        up.up()
        check_stranger(up, stranger, 2)
    finally:
        stranger.kill()
        stranger.wait()
