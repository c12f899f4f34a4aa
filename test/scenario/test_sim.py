# SPDX-License-Identifier: BSD-3-Clause
"""`reeve sim`: what would happen to a cluster as a snapshot has it, and that it is what then does happen."""
import json
import os

import pytest


@pytest.fixture
def two(up):
    """A Reeve with a second node, `there`, and the tasks of `web` on both."""
    there = os.path.join(up.dir, 'there')
    os.mkdir(there)
    keeper = os.path.join(up.bin, 'reeve-keeper')
    up.nest.start(up.log_path, [keeper, '--dir', there, '--', up.reeve, 'agent', '--data', there, '--socket', up.socket,
                                '--node', 'there'])
    up.wait_for(lambda: [n['name'] for n in up.api('GET', '/v1/nodes') if n['state'] == 'ready'] == ['here', 'there'],
                'both nodes are ready')
    up.apply({'web': {'command': 'sleep 100000', 'count': 4},
              'pinned': {'command': 'sleep 100000', 'place': {'node': 'there'}},
              'once': {'kind': 'batch', 'command': 'true'}})
    up.wait_running('web', 4)
    up.wait_running('pinned', 1)
    up.wait_tasks('once', state='ended', result='succeeded')
    return up


def save(reeve):
    path = os.path.join(reeve.dir, 'snapshot')
    reeve.cli('snapshot', 'save', path)
    return path


def sim(reeve, path, *arguments):
    return json.loads(reeve.cli('sim', '--snapshot', path, '--json', *arguments).stdout)


def named(rows, key='name'):
    return {row[key]: row for row in rows}


def test_nothing_happens_by_itself(two):
    before = named(two.ps(), 'id')
    end = sim(two, save(two))
    assert end['events'] == []
    for task in end['tasks']:
        assert (task['node'], task['state']) == (before[task['id']]['node'], before[task['id']]['state'])
    assert {name: job['least_running'] for name, job in named(end['jobs']).items()} == {'web': 4, 'pinned': 1, 'once': 0}


def test_a_node_fails(two):
    path = save(two)
    on_it = [t['id'] for t in two.ps('web') if t['node'] == 'there']
    end = sim(two, path, '--fail', 'there')
    lost = [e for e in end['events'] if e['kind'] == 'node-lost']
    assert [e['node'] for e in lost] == ['there'] and 1 < lost[0]['at'] < 5
    tasks = named(end['tasks'], 'id')
    assert all(tasks[t]['node'] == 'here' and tasks[t]['state'] == 'running' for t in on_it)
    moved = {e['task'] for e in end['events'] if e['kind'] == 'task-lost'}
    assert set(on_it) <= moved
    jobs = named(end['jobs'])
    assert jobs['web']['running'] == 4 and jobs['web']['least_running'] == 4 - len(on_it)
    assert jobs['pinned']['running'] == 0 and tasks['pinned.0']['reason']
    assert sim(two, path, '--fail', 'there') == end, 'the same seed gives the same'

    text = two.cli('sim', '--snapshot', path, '--fail', 'there').stdout
    assert 'node there is lost' in text and 'After 10m' in text
    assert two.ps('web') and {t['state'] for t in two.ps('web')} == {'running'}, 'the real one is untouched'


def test_an_update_is_tried(two):
    file = os.path.join(two.dir, 'web.json')
    with open(file, 'w') as f:
        json.dump({'jobs': {'web': {'command': 'sleep 200000', 'count': 4},
                            'huge': {'command': 'true', 'resources': {'memory': '1000TiB'}}}}, f)
    end = sim(two, save(two), '--apply', file)
    jobs, tasks = named(end['jobs']), named(end['tasks'], 'id')
    assert jobs['web']['version'] == 2 and jobs['web']['running'] == 4
    assert jobs['web']['least_running'] == 3, 'one at a time'
    assert all(tasks[f'web.{i}']['version'] == 2 for i in range(4))
    assert tasks['huge.0']['state'] == 'queued' and 'memory' in tasks['huge.0']['reason']
    assert 'huge.0: ' in two.cli('sim', '--snapshot', os.path.join(two.dir, 'snapshot'), '--apply', file).stdout


def test_mistakes_are_told(two):
    path = save(two)
    for arguments, status, message in (
            (('--fail', 'thee'), 3, 'no node "thee"'), (('--fail', 'thee'), 3, 'did you mean "there"?'),
            (('--fail', 'here,'), 3, 'no node ""'), (('--apply', path + '.none'), 3, '.none: No such file')):
        refused = two.cli('sim', '--snapshot', path, *arguments, check=False)
        assert refused.returncode == status and message in refused.stderr, refused
    with open(path, 'r+b') as f:
        f.truncate(os.path.getsize(path) - 40)
    refused = two.cli('sim', '--snapshot', path, check=False)
    assert refused.returncode == 2 and 'cut off' in refused.stderr, refused
    refused = two.cli('sim', check=False)
    assert refused.returncode == 2 and '--snapshot FILE is needed' in refused.stderr
