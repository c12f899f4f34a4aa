# SPDX-License-Identifier: BSD-3-Clause
"""Full disks: for the logs, for the store, for everything. Errors are clear, nothing that was promised is lost, and all
goes on by itself when there is room."""
import ctypes
import os
import random
import subprocess
import time

import pytest

import reeve as harness
from workload import Workload

SEED = int(os.environ.get('REEVE_SEED') or random.SystemRandom().randrange(1 << 32))
CLONE_NEWNS = 0x20000
MIB = 1 << 20


@pytest.fixture(scope='module', autouse=True)
def own_mounts():
    """A mount namespace of our own: what is mounted here is seen, and lives, only below this process."""
    if os.geteuid() != 0:
        pytest.skip('only root can mount file systems to fill')
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        pytest.skip(f'no mount namespace: {os.strerror(ctypes.get_errno())}')
    if subprocess.run(['mount', '--make-rprivate', '/']).returncode != 0:
        pytest.skip('mounts cannot be made private')


class Disk:
    """A small file system that can be filled and emptied."""

    def __init__(self, reeve, path, size):
        self.path = path
        self.filler = os.path.join(path, 'filler')
        os.makedirs(path, exist_ok=True)
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size},mode=755', 'tmpfs', path])
        if done.returncode != 0:
            pytest.skip('tmpfs cannot be mounted')
        reeve.mounts.append(path)

    def fill(self):
        with open(self.filler, 'ab', buffering=0) as f:
            for size in (MIB, 65536, 4096):
                try:
                    while True:
                        f.write(b'x' * size)
                except OSError:
                    pass

    def free(self):
        v = os.statvfs(self.path)
        return v.f_bavail * v.f_bsize

    def empty(self):
        os.unlink(self.filler)


def flows(reeve):
    """The texts of what became of log capture."""
    return [e['message'] for e in reeve.events() if e['kind'] == 'task-logs']


def await_stuck(reeve, load):
    """The writer waits in a write: its count has not moved for many times as long as a burst takes."""
    last = [None, time.monotonic()]

    def stuck():
        if load.written() != last[0]:
            last[:] = [load.written(), time.monotonic()]
        return time.monotonic() > last[1] + harness.seconds(0.5)
    reeve.wait_for(stuck, 'the writer is held up')


def await_writing(reeve, load):
    before = load.written()
    reeve.wait_for(lambda: load.written() > before + 50000, 'the writer writes again')


def test_no_room_for_logs(reeve):
    """The tasks' writes wait, with an event that says why; everything else goes on; the agent may even be killed;
    when there is room all goes on by itself, and every line is there."""
    disk = Disk(reeve, os.path.join(reeve.data, 'node/tasks'), 24 * MIB)
    reeve.up()
    load = Workload(reeve, SEED, relay=1, exits=4)
    load.start()
    disk.fill()
    reeve.wait_for(lambda: any('No space left' in m for m in flows(reeve)), 'an event says why')
    await_stuck(reeve, load)
    reeve.apply({'other': {'kind': 'batch', 'command': ['true']}})
    reeve.wait_tasks('other', state='ended', result='succeeded')
    reeve.kill('agent')
    reeve.wait_ready()
    load.check_running()
    disk.empty()
    subprocess.run(['mount', '-o', f'remount,size={4096 * MIB}', disk.path], check=True)
    await_writing(reeve, load)
    print(load.finish())


def test_no_room_for_dropped_logs(reeve):
    """With `when_full: drop` the task is not held up: it runs to its end; what was lost is counted in an event."""
    disk = Disk(reeve, os.path.join(reeve.data, 'node/tasks'), 8 * MIB)
    reeve.up()
    disk.fill()
    reeve.apply({'drop': {'kind': 'batch', 'command': 'head -c 3000000 /dev/zero | tr "\\0" x; echo',
                          'logs': {'when_full': 'drop'}}})
    reeve.wait_tasks('drop', state='ended', result='succeeded')
    assert reeve.wait_for(lambda: flows(reeve), 'an event says so')
    disk.empty()
    reeve.apply({'after': {'kind': 'batch', 'command': 'echo hello'}})
    reeve.wait_tasks('after', state='ended', result='succeeded')
    reeve.wait_for(lambda: reeve.log_text('after.0') == 'hello\n', 'its log')


def apply_until_refused(reeve):
    """Applies bulky jobs until the disk is full. Returns the names that were accepted and the one that was not."""
    accepted = []
    for n in range(400):
        name = f'bulky-{n}'
        try:
            reeve.api('POST', '/v1/jobs', {'jobs': {name: {'kind': 'batch', 'command': ['true'],
                                                           'env': {'LONG': 'x' * 50000}}}})
            accepted.append(name)
        except harness.ApiError as e:
            assert (e.status, e.problem['title']) == (507, 'no-space'), e
            return accepted, name
    raise AssertionError('the disk is never full')


@pytest.mark.parametrize('killed', [None, 'server', 'agent', 'keeper'])
def test_no_room_for_the_store(reeve, killed):
    """Commands are refused as 507 `no-space`, exit status 9, and do not happen later; reading works; tasks run on, end
    and begin again; the server may be killed; when there is room all goes on by itself and every end is told."""
    disk = Disk(reeve, reeve.data, 16 * MIB)
    Disk(reeve, os.path.join(reeve.data, 'node'), 1024 * MIB)
    reeve.up()
    load = Workload(reeve, SEED, bulk=1, relay=1, exits=4)
    load.start()
    load.wait_settled()
    disk.fill()
    accepted, refused = apply_until_refused(reeve)
    spec = os.path.join(reeve.dir, 'more.json')
    with open(spec, 'w') as f:
        f.write('{"jobs": {"more": {"command": ["sleep", "1"]}}}')

    def cli_says_so():
        disk.fill()
        done = reeve.cli('apply', spec, check=False)
        return done.returncode == 9 and done.stderr
    said = reeve.wait_for(cli_says_so, 'the CLI says so')
    assert 'space' in said or 'full' in said, said
    names = set(reeve.jobs())
    assert set(accepted) <= names and refused not in names, 'reading works'
    if killed:
        reeve.kill(killed)
        reeve.wait_for(lambda: reeve.pid(killed), 'it is there again')
    load.wait_for_more_ends(5)
    disk.empty()
    reeve.wait_for(lambda: reeve.api('POST', '/v1/jobs', {'jobs': {'later': {'kind': 'batch', 'command': ['true']}}}),
                   'applying works again')
    reeve.wait_tasks('later', state='ended', result='succeeded')
    load.wait_settled()
    names = set(reeve.jobs()) - {'more'}
    assert names >= set(accepted) and refused not in names
    reeve.kill('server')
    load.wait_settled()
    assert set(reeve.jobs()) - {'more'} == names, 'the same after a restart'
    print(load.finish())


def test_no_room_at_all(reeve):
    """The whole state directory is full: tasks run on, every part is killed and comes back, and when there is room the
    books balance."""
    disk = Disk(reeve, reeve.data, 32 * MIB)
    reeve.up()
    load = Workload(reeve, SEED, bulk=1, relay=1, exits=4)
    load.start()
    load.wait_settled()
    disk.fill()
    await_stuck(reeve, load)
    for part in ('agent', 'server', 'keeper'):
        before = reeve.pid(part)
        reeve.kill(part)
        reeve.wait_for(lambda: reeve.pid(part) not in (None, before), f'there is a new {part}')
        load.check_processes()
    disk.empty()
    subprocess.run(['mount', '-o', f'remount,size={4096 * MIB}', disk.path], check=True)
    load.wait_settled()
    load.check_running()
    await_writing(reeve, load)
    load.wait_for_more_ends(5)
    print(load.finish())
