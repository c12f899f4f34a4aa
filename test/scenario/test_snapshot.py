# SPDX-License-Identifier: BSD-3-Clause
"""Snapshots: saved while the server works, checked, restored on a server that is down, and what the agents that lived on
make of a server that knows less than they do."""
import json
import os
import sqlite3
import threading
import time

import pytest

import reeve as harness
from reeve import seconds


def guarded(marker):
    """A task that notes when there is a second one of its name, and otherwise lives on under a name of its own."""
    return (f'exec 9>"$LOCKS/$REEVE_TASK"; flock -n 9 || echo "$REEVE_TASK" >> "$LOCKS/twice"; '
            f'echo x >> "$LOCKS/$REEVE_TASK.runs"; exec -a {marker} sleep 100000')


def jobs_with(locks, **commands):
    return {name: {'kind': 'service', 'count': 3, 'command': ['bash', '-c', guarded(marker)], 'env': {'LOCKS': locks}}
            for name, marker in commands.items()}


def batch_with(locks):
    return {'once': {'kind': 'batch', 'command': 'echo x >> "$LOCKS/once.runs"', 'env': {'LOCKS': locks}}}


def running(reeve, marker):
    """How many processes have this name."""
    return sum(harness.cmdline(p)[:1] == [marker] for p in reeve.nest.descendants())


def runs_of(locks, name):
    path = os.path.join(locks, name + '.runs')
    return len(open(path).read().split()) if os.path.exists(path) else 0


def has_job(reeve, name):
    return name in reeve.jobs()


@pytest.fixture
def locks(reeve):
    path = os.path.join(reeve.dir, 'locks')
    os.mkdir(path)
    return path


def save(reeve, name='snapshot'):
    path = os.path.join(reeve.dir, name)
    reeve.cli('snapshot', 'save', path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    return path


def restore(reeve, path, *arguments, check=True):
    return reeve.cli('snapshot', 'restore', path, '--data', reeve.data, *arguments, check=check)


def change_everything(reeve, locks):
    """What the snapshot does not know."""
    reeve.apply(jobs_with(locks, web='web-two', extra='extra-one'))
    reeve.wait_for(lambda: running(reeve, 'web-two') == 3 and running(reeve, 'web-one') == 0, 'web has version 2')
    reeve.wait_running('extra', 3)
    reeve.cli('stop', 'steady')
    reeve.wait_tasks('steady', state='ended')
    reeve.cli('remove', 'gone')
    reeve.wait_for(lambda: not has_job(reeve, 'gone'), 'the job is gone')
    reeve.cli('restart', 'once')
    reeve.wait_for(lambda: runs_of(locks, 'once') == 2, 'the batch runs a second time')
    reeve.wait_tasks('once', state='ended')


@pytest.mark.parametrize('tasks_live_on', [True, False])
def test_what_the_snapshot_says_is_what_runs(reeve, locks, tasks_live_on):
    reeve.up()
    reeve.apply(jobs_with(locks, web='web-one', steady='steady-one', gone='gone-one'))
    reeve.apply(batch_with(locks))
    for job in 'web', 'steady', 'gone':
        reeve.wait_running(job, 3)
    reeve.wait_tasks('once', state='ended', result='succeeded')
    path = save(reeve)
    change_everything(reeve, locks)

    if tasks_live_on:
        reeve.kill_all_parts()
        assert running(reeve, 'web-two') == 3
    else:
        reeve.down()
    refused = restore(reeve, path, check=False)
    assert refused.returncode == 4 and 'is not empty' in refused.stderr
    assert '--force' in refused.stderr
    assert 'restored 4 jobs, 10 tasks, 1 node' in restore(reeve, path, '--force').stdout
    assert os.path.exists(os.path.join(reeve.data, 'store.db.before-restore'))
    reeve.up()

    for job in 'web', 'steady', 'gone':
        reeve.wait_running(job, 3)
    reeve.wait_for(lambda: [running(reeve, m) for m in ('web-one', 'web-two', 'steady-one', 'gone-one', 'extra-one')] ==
                   [3, 0, 3, 3, 0], 'what runs is what the snapshot says')
    assert not has_job(reeve, 'extra') and not os.path.exists(os.path.join(locks, 'twice'))
    assert runs_of(locks, 'once') == 2, 'a batch that is done is not done again'
    assert reeve.ps('once')[0]['state'] == 'ended'

    # what is wished from now on is newer than all the agent has heard
    reeve.apply(jobs_with(locks, web='web-three'))
    reeve.wait_for(lambda: running(reeve, 'web-three') == 3 and running(reeve, 'web-one') == 0, 'the next version')
    reeve.cli('restart', 'once')
    reeve.wait_for(lambda: runs_of(locks, 'once') == 3, 'the batch runs when it is asked to')
    assert not os.path.exists(os.path.join(locks, 'twice'))


def test_a_live_server_is_left_alone(reeve, locks):
    reeve.up()
    reeve.apply(jobs_with(locks, web='web-one'))
    reeve.wait_running('web', 3)
    path = save(reeve)
    refused = restore(reeve, path, '--force', check=False)
    assert refused.returncode == 4 and f'Reeve runs on {reeve.data}' in refused.stderr
    assert not os.path.exists(os.path.join(reeve.data, 'store.db.before-restore'))
    assert len(reeve.ps('web')) == 3


def test_onto_a_new_machine(reeve, locks):
    reeve.up()
    reeve.apply(jobs_with(locks, web='web-one'))
    reeve.wait_running('web', 3)
    path = save(reeve)
    reeve.down()
    reeve.data += '-new'
    restore(reeve, path)
    reeve.up()
    reeve.wait_running('web', 3)
    assert [e['index'] for e in reeve.events()][:3] == [1, 2, 3], 'its history came along'


def test_damage_is_told_and_nothing_is_touched(reeve, locks):
    reeve.up()
    reeve.apply(jobs_with(locks, web='web-one'))
    reeve.wait_running('web', 3)
    path = save(reeve)
    reeve.down()
    whole = open(path, 'rb').read()
    before = open(os.path.join(reeve.data, 'store.db'), 'rb').read()
    middle = whole.index(b'job/web')
    for damaged, message in ((whole[:-40], 'cut off after'), (whole[:middle], 'cut off after'),
                             (whole[:middle] + b'k' + whole[middle + 1:], 'has not the checksum'),
                             (whole + b'{}\n', 'goes on behind its end'), (b'', 'is empty'),
                             (before, 'no snapshot of Reeve')):
        open(path, 'wb').write(damaged)
        for command in (('inspect', path), ('restore', path, '--data', reeve.data, '--force')):
            refused = reeve.cli('snapshot', *command, check=False)
            assert refused.returncode == 2 and message in refused.stderr, (refused.stderr, message)
            assert path in refused.stderr
    assert open(os.path.join(reeve.data, 'store.db'), 'rb').read() == before
    assert not [f for f in os.listdir(reeve.data) if 'restor' in f]
    open(path, 'wb').write(whole)
    restore(reeve, path, '--force')
    again = restore(reeve, path, '--force', check=False)
    assert again.returncode == 4 and 'store.db.before-restore is there already' in again.stderr


def test_inspect(reeve, locks):
    reeve.up()
    reeve.apply(jobs_with(locks, web='web-one', more='more-one'))
    reeve.wait_running('web', 3)
    path = save(reeve)
    text = reeve.cli('snapshot', 'inspect', path).stdout
    assert '2 jobs, 6 tasks, 1 node, ' in text and 'whole' in text
    content = reeve.cli_json('snapshot', 'inspect', path)
    assert (content['jobs'], content['tasks'], content['nodes']) == (2, 6, 1)
    rows = {row['key']: row.get('value') for row in content['rows']}
    assert rows['job/web']['versions'][0]['spec']['count'] == 3
    assert content['events'] == len(reeve.events())
    lines = [json.loads(line) for line in reeve.cli('snapshot', 'save', '-').stdout.splitlines()]
    assert lines[0]['reeve-snapshot'] == 1 and lines[-1]['rows'] == len(lines) - 2


def put_events(reeve, count, size):
    """Into the store of a server that is down, as if it had written them."""
    db = sqlite3.connect(os.path.join(reeve.data, 'store.db'))
    with db:
        db.executemany('INSERT OR REPLACE INTO kv VALUES(?, ?)', (
            (f'event/{i:020}'.encode(), json.dumps({'index': i, 'time': '2026-01-01T00:00:00.000Z', 'kind': 'store',
                                                    'message': f'{i} ' + 'x' * size}).encode())
            for i in range(1000, 1000 + count)))
    db.close()


def memory_kb(pid, field):
    with open(f'/proc/{pid}/status') as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ':'))


class Slowest:
    """Asks the server all the time, and keeps the longest that an answer took."""

    def __init__(self, reeve):
        self.reeve, self.slowest, self.asked, self.stop = reeve, 0.0, 0, threading.Event()
        self.thread = threading.Thread(target=self._ask)

    def _ask(self):
        while not self.stop.is_set():
            begun = time.monotonic()
            self.reeve.api('GET', '/v1/version', timeout=30)
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.asked += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def test_a_large_store_is_saved_beside_the_work(reeve):
    """The loop answers meanwhile, and the server does not grow by what it saves."""
    reeve.up()
    reeve.down()
    put_events(reeve, 60000, 2500)
    reeve.up()
    before = memory_kb(reeve.pid('server'), 'VmRSS')
    with Slowest(reeve) as slowest:
        path = save(reeve)
    assert os.path.getsize(path) > 150e6
    assert slowest.asked > 5 and slowest.slowest < seconds(1)
    if harness.SCALE == 1:  # sanitizers keep what was freed
        assert memory_kb(reeve.pid('server'), 'VmHWM') < before + 30000
    assert ', 6000' in reeve.cli('snapshot', 'inspect', path).stdout


def test_what_is_saved_is_of_one_instant(reeve):
    """Jobs are applied in pairs, each pair in one commit: a snapshot has both or neither."""
    reeve.up()
    done = threading.Event()
    command = {'kind': 'service', 'count': 0, 'command': ['true']}

    def work():
        number = 0
        while not done.is_set():
            number += 1
            reeve.apply({f'{half}{number % 50}': dict(command, env={'N': str(number)}) for half in 'ab'})

    worker = threading.Thread(target=work)
    worker.start()
    try:
        reeve.wait_for(lambda: len(reeve.jobs()) > 20, 'there is work')
        for i in range(8):
            content = reeve.cli_json('snapshot', 'inspect', save(reeve, f'snapshot-{i}'))
            specs = {row['key'][4:]: row['value']['versions'][-1]['spec']['env']['N'] for row in content['rows']
                     if row['key'].startswith('job/')}
            assert specs and all(specs.get('b' + name[1:]) == n for name, n in specs.items() if name[0] == 'a'), specs
            assert len([n for n in specs if n[0] == 'a']) == len([n for n in specs if n[0] == 'b'])
    finally:
        done.set()
        worker.join()


def test_a_reader_that_goes_away_is_forgotten(reeve):
    """Also in the middle; and the server ends in order while somebody reads."""
    reeve.up()
    reeve.down()
    put_events(reeve, 20000, 2500)
    reeve.up()
    for _ in range(6):  # more than are allowed at once
        connection = harness.Unix(reeve.socket, seconds(20))
        connection.request('GET', '/v1/snapshot')
        assert connection.getresponse().read(1000)[:18] == b'{"reeve-snapshot":'
        connection.close()
    reeve.wait_for(lambda: reeve.cli('snapshot', 'save', os.path.join(reeve.dir, 's1'), check=False).returncode == 0,
                   'there is room for another one')
    connection = harness.Unix(reeve.socket, seconds(20))
    connection.request('GET', '/v1/snapshot')
    response = connection.getresponse()
    assert response.read(1000)
    reeve.down()
    connection.close()


def test_nothing_is_left_of_a_save_that_failed(reeve):
    reeve.up()
    path = os.path.join(reeve.dir, 'snapshot')
    refused = reeve.cli('snapshot', 'save', path, env={'REEVE_ADDR': 'unix:/nonexistent'}, check=False)
    assert refused.returncode == 6
    assert not [f for f in os.listdir(reeve.dir) if f.startswith('snapshot')]
