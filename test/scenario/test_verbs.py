# SPDX-License-Identifier: BSD-3-Clause
"""People's verbs for the cluster: nodes, drain, cordon, promote, revert, versions, dispatch, and what ps and why say of
it. One node, and where tasks have to move, two."""
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

from reeve import ApiError, seconds

SLEEPER = {'command': ['sleep', '100000']}
FILLER = {**SLEEPER, 'resources': {'memory': '64MiB', 'ports': ['http', 'admin']}}


@pytest.fixture
def two(up):
    """A Reeve with a second node: its agent under a keeper of its own, its link to the same server."""
    there = os.path.join(up.dir, 'there')
    os.mkdir(there)
    up.nest.start(up.log_path, [os.path.join(up.bin, 'reeve-keeper'), '--dir', there, '--', up.reeve, 'agent', '--data',
                                there, '--socket', up.socket, '--node', 'there'])
    up.wait_for(lambda: [n['name'] for n in nodes(up) if n['state'] == 'ready'] == ['here', 'there'],
                'both nodes are ready')
    return up


def nodes(reeve):
    return reeve.ask('GET', '/v1/nodes')


def node(reeve, name):
    return reeve.ask('GET', f'/v1/nodes/{name}')


def on_terminal(reeve, *arguments, columns=80):
    """What the command prints on a terminal of so many columns, without its colours."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    process = subprocess.Popen([reeve.reeve, *arguments], stdin=slave, stdout=slave, stderr=slave,
                               env={**os.environ, 'REEVE_ADDR': f'unix:{reeve.socket}', 'TERM': 'xterm', 'NO_COLOR': '1'})
    os.close(slave)
    out = b''
    try:
        while piece := os.read(master, 65536):
            out += piece
    except OSError:
        pass  # the other side is closed
    os.close(master)
    process.wait(seconds(60))
    return out.decode().replace('\r', '')


def refused(reeve, status, text, *arguments):
    done = reeve.cli(*arguments, check=False)
    assert done.returncode == status and text in done.stderr, (done.returncode, done.stdout, done.stderr)


# ---- Nodes


def test_node_listings(two):
    two.apply({'web': dict(FILLER, count=3)})
    two.wait_running('web', 3)
    seen = {n['name']: n for n in two.cli_json('nodes')}
    assert {n: (v['state'], v['scheduling'], v['running']) for n, v in seen.items()} == {
        'here': ('ready', 'open', 2), 'there': ('ready', 'open', 1)}
    assert seen['here']['memory_used'] == 2 * 64 << 20 and seen['here']['memory'] > seen['here']['memory_used']
    assert re.search(r'(?m)^NODE +STATE +TASKS +CPU +MEMORY +VERSION\nhere +ready +2/2 +0/\d+ +128MiB/.*\nthere +ready',
                     two.cli('nodes').stdout)

    text = two.cli('node', 'there').stdout
    assert 'web.1' in text and 'of 2 nodes that fitted: the fewest tasks of the job are on it' in text
    assert '  arch=' in text and 'node-ready' in text and 'Memory:   64MiB/' in text
    placed = two.cli_json('node', 'here')['placed']
    assert [(t['id'], t['node'], t['leaving']) for t in placed] == [('web.0', 'here', None), ('web.2', 'here', None)]
    assert all('nodes that fitted' in t['chosen'] for t in placed)
    refused(two, 3, 'no node "ther"; did you mean "there"?', 'node', 'ther')
    assert all(len(line) <= 80 for c in ('nodes', 'ps', 'jobs', 'node here', 'job web', 'why web.0', 'why here')
               for line in on_terminal(two, *c.split()).splitlines())


def test_ps_by_node_and_state(two):
    two.apply({'web': dict(FILLER, count=2), 'big': dict(SLEEPER, resources={'memory': '100TiB'})})
    two.wait_running('web', 2)
    assert re.search(r'(?m)^TASK +STATE +NODE +READY .* PORTS ', two.cli('ps').stdout)
    assert re.search(r'(?m)^web\.1 +running +there +yes .* http=\d+ admin=\d+ ', two.cli('ps').stdout)

    def ids(*arguments):
        return [t['id'] for t in two.cli_json('ps', *arguments)]
    assert ids('--node', 'there') == ['web.1'] and ids('--node', 'here', '--job', 'web') == ['web.0']
    assert ids('--state', 'queued') == ['big.0'] and ids('--state', 'running', 'big') == []
    assert ids('--node', 'here', 'web.0', 'web.1') == ['web.0'] and ids('--job', 'web', 'big', 'web.1') == ['web.1']
    assert ids('--state', 'running', '--node', 'there', 'web') == ['web.1']
    refused(two, 2, 'no such state, "runing"; did you mean "running"?', 'ps', '--state', 'runing')
    refused(two, 3, 'no node "nowhere"', 'ps', '--node', 'nowhere')
    assert re.search(r'(?m)^big .* 0/1 +0 +1 ', two.cli('jobs').stdout)
    assert two.jobs()['big']['queued'] == 1 and two.jobs()['web']['queued'] == 0
    assert '1 waits for a node' in two.cli('job', 'big').stdout
    assert 'no node has so much memory' in two.cli('why', 'big.0').stdout.replace('\n', ' ')


def test_drain_moves_tasks(two):
    """Those of the drained node go one by one (update.parallel is 1), and --wait says so and ends."""
    two.apply({'web': dict(SLEEPER, count=4)})
    two.wait_running('web', 4)
    assert len(node(two, 'here')['placed']) == 2
    out = two.cli('drain', 'here', '--wait').stdout
    # when it looks for the first time, the first may be gone already
    lines = out.splitlines()
    assert lines[-1] == 'here: drained' and re.match(r'here: \d tasks? to leave; web\.[02]: ', lines[0]), out
    assert re.findall(r'here: (web\.\d) has left', out) in (['web.0', 'web.2'], ['web.2']), out
    moved = [e['task'] for e in two.events() if e['kind'] == 'task-moved']
    assert moved == ['web.0', 'web.2']
    two.wait_for(lambda: all(t['state'] == 'running' and t['node'] == 'there' for t in two.ps('web')), 'all are there')
    assert node(two, 'here')['scheduling'] == 'drained' and 'ready, drained' in two.cli('nodes').stdout
    assert two.cli('drain', 'here', '--wait').stdout == 'here: drained\n'
    assert 'it is drained: nothing runs there any more' in two.cli('why', 'here').stdout.replace('\n', ' ')
    refused(two, 4, 'node here is drained: end that first', 'cordon', 'here', '--off')
    two.cli('drain', 'here', '--off')
    two.cli('scale', 'web=6')
    assert [t['node'] for t in two.wait_running('web', 6)][4:] == ['here', 'here']


def test_drain_of_the_only_node(up):
    """Nothing goes as long as there is nowhere to go: it says so, and after the deadline the tasks end."""
    up.apply({'web': dict(SLEEPER, count=2)})
    up.wait_running('web', 2)
    refused(up, 7, 'is not drained yet: 2 tasks to leave; web.0: no node fits: the only one is closed', 'drain', 'here',
            '--wait', '--timeout', '300ms')
    assert [t['state'] for t in up.ps('web')] == ['running', 'running']
    assert 'it has to leave node here, which is drained' in up.cli('why', 'web.0').stdout.replace('\n', ' ')
    assert up.cli('drain', 'here', '--wait', '--deadline', '500ms').stdout.splitlines()[-1] == 'here: drained'
    up.wait_tasks('web', state='queued', node=None)
    why = ' '.join(up.cli('why', 'web.0').stdout.split())
    assert 'it would fit on node here if that were open (`reeve drain here --off`)' in why, why
    assert up.jobs()['web']['queued'] == 2
    up.cli('drain', 'here', '--off')
    up.wait_running('web', 2)


def test_cordon(up):
    up.apply({'web': SLEEPER})
    up.wait_running('web', 1)
    assert 'no new tasks' in up.cli('cordon', 'here').stdout and 'ready, cordoned' in up.cli('nodes').stdout
    up.apply({'more': SLEEPER})
    up.wait_tasks('more', state='queued')
    assert [t['state'] for t in up.ps('web')] == ['running']
    assert 'closed for new tasks' in up.cli('why', 'more.0').stdout.replace('\n', ' ')
    up.cli('cordon', 'here', '--off')
    up.wait_running('more', 1)
    refused(up, 3, 'no node "hree"; did you mean "here"?', 'cordon', 'hree')


@pytest.mark.parametrize('path, body, says', [
    ('drain', {'on': 'yes'}, 'on: expected true or false'),
    ('drain', {'deadline': 'soon'}, 'deadline: expected a duration such as 10m, got "soon"'),
    ('drain', {'on': False, 'deadline': '1m'}, 'deadline: only with a drain that begins'),
    ('cordon', [], 'expected an object')])
def test_mistakes_in_bodies(up, path, body, says):
    with pytest.raises(ApiError) as caught:
        up.api('POST', f'/v1/nodes/here/{path}', body)
    assert caught.value.status == 400 and says in caught.value.problem['detail']
    assert nodes(up)[0]['scheduling'] == 'open'


# ---- Versions


def test_versions_and_revert(up):
    for level in ('1', '2', '3'):
        up.apply({'web': dict(SLEEPER, env={'LEVEL': level}, stop={'grace': f'{level}s'})})
        up.wait_for(lambda: up.jobs()['web']['state'] == 'running', 'it has that version')
    up.wait_for(lambda: [v['tasks'] for v in up.cli_json('job', 'web', '--versions')] == [0, 0, 1], 'version 3 runs')
    rows = up.cli_json('job', 'web', '--versions')
    assert [v['version'] for v in rows] == [1, 2, 3] and rows[0]['changes'] == []
    assert [(c['field'], c['from'], c['to']) for c in rows[2]['changes']] == [
        ('env', {'LEVEL': '2'}, {'LEVEL': '3'}), ('stop.grace', '2s', '3s')]
    assert re.search(r'(?m)^ +3 +1 +env \{"LEVEL":"2"\} -> \{"LEVEL":"3"\}, stop.grace "2s" -> "3s"$',
                     up.cli('job', 'web', '--versions').stdout)

    out = up.cli('revert', 'web', '1', '--wait').stdout
    assert out == 'web: the spec of version 1 is in force again, as version 4\n'
    assert up.ask('GET', '/v1/jobs/web')['spec']['env'] == {'LEVEL': '1'}
    up.wait_for(lambda: up.task('web.0')['version'] == 4 and up.task('web.0')['state'] == 'running', 'it runs')
    assert up.cli('revert', 'web').stdout == 'web: the spec of the version before is in force again, as version 5\n'
    assert up.ask('GET', '/v1/jobs/web')['spec']['env'] == {'LEVEL': '3'}
    refused(up, 3, 'has no version 77; the oldest kept is 1', 'revert', 'web', '77')
    refused(up, 4, 'version 5 of job web is in force', 'revert', 'web', '5')
    refused(up, 2, 'expected the number of a version, got "last"', 'revert', 'web', 'last')
    refused(up, 3, 'no job "wbe"; did you mean "web"?', 'revert', 'wbe')


def test_promote(up):
    spec = dict(SLEEPER, count=2, update={'canary': 1})
    up.apply({'web': spec})
    up.wait_running('web', 2)
    refused(up, 4, 'job web has no canary to promote', 'promote', 'web')
    up.apply({'web': dict(spec, env={'NEW': '1'})})
    up.wait_for(lambda: 'the canary waits for `reeve promote web`' in (up.jobs()['web']['reason'] or ''), 'it waits')
    assert {t['id']: t['version'] for t in up.ps('web')} == {'web.0': 1, 'web.1': 1, 'web.2': 2}
    assert up.cli('promote', 'web', '--wait').stdout == 'web: promoted, its other tasks follow\n'
    up.wait_for(lambda: {t['id']: t['version'] for t in up.ps('web')} == {'web.0': 2, 'web.1': 2}, 'all have it')


# ---- Templates


def test_dispatch(up):
    up.apply({'report': {'kind': 'batch', 'template': True, 'command': 'echo "$LEVEL of $REEVE_JOB"',
                         'env': {'LEVEL': 'info'}}})
    made = up.cli_json('dispatch', 'report', '--set', 'env.LEVEL=debug', '--set', 'count=2', '--name', 'first')
    assert made['job'] == 'first'
    up.wait_tasks('first', result='succeeded')
    up.wait_for(lambda: up.cli('logs', 'first').stdout.count('debug of first') == 2, 'both have written')
    out = up.cli('dispatch', 'report', '--wait').stdout
    name = re.fullmatch(r'(report-\d+): made of template report\n', out)[1]
    up.wait_for(lambda: up.cli('logs', name).stdout == f'info of {name}\n', 'it has written')
    assert up.jobs()[name]['source'] == 'template:report'
    assert up.ask('GET', f'/v1/jobs/{name}')['spec']['template'] is False

    refused(up, 2, 'set.cuont: unknown field; did you mean "count"?', 'dispatch', 'report', '--set', 'cuont=2')
    refused(up, 2, 'set.template: ', 'dispatch', 'report', '--set', 'template=true')
    refused(up, 2, '--set count: expected FIELD=VALUE', 'dispatch', 'report', '--set', 'count')
    refused(up, 2, 'count: expected', 'dispatch', 'report', '--set', 'count=many')
    refused(up, 2, 'name: expected 1 to 63 letters', 'dispatch', 'report', '--name', 'a b')
    refused(up, 4, 'there is a job first already', 'dispatch', 'report', '--name', 'first')
    refused(up, 4, 'first is not a template', 'dispatch', 'first')
    refused(up, 3, 'no job "reprot"; did you mean "report"?', 'dispatch', 'reprot')
    with pytest.raises(ApiError) as caught:
        up.api('POST', '/v1/jobs/report/dispatch', {'sets': {}})
    assert 'sets: unknown; did you mean "set"?' in caught.value.problem['detail']
    assert len(up.jobs()) == 3


def plan_of(reeve, jobs):
    return reeve.ask('POST', '/v1/plan', {'jobs': jobs})


def runs_of(reeve, job):
    return {t['id']: (t['node'], t['runs']) for t in reeve.ask('GET', '/v1/tasks') if t['job'] == job and t['state'] == 'running'}


def test_plan_comes_true(two):
    """What a plan says of moves, new runs and a canary is what then happens."""
    before = {'web': {**SLEEPER, 'count': 3, 'place': {'node': 'here'}}}
    two.ask('POST', '/v1/jobs', {'jobs': before})
    two.wait_for(lambda: len(runs_of(two, 'web')) == 3, 'all run')
    after = {'web': {'command': ['sleep', '99999'], 'count': 3, 'place': {'node': 'there'}, 'update': {'canary': 1}}}
    plan = plan_of(two, after)
    assert [(s['action'], s['task'], s['from'], s['node']) for s in plan['steps']] == [
        ('start', 'web.3', None, 'there'), ('promote', None, None, None),
        ('move', 'web.0', 'here', 'there'), ('move', 'web.1', 'here', 'there'), ('move', 'web.2', 'here', 'there'),
        ('stop', 'web.3', None, 'there')], plan['steps']
    assert plan['least_running'] == {'web': 3} and plan['waits'] == []
    assert {n for n, _ in runs_of(two, 'web').values()} == {'here'}
    two.ask('POST', '/v1/jobs', {'jobs': after})
    two.wait_for(lambda: runs_of(two, 'web').get('web.3', ('',))[0] == 'there', 'the canary is there')
    two.wait_for(lambda: two.cli('promote', 'web', check=False).returncode == 0, 'it can be promoted')
    two.wait_for(lambda: {i: n for i, (n, _) in runs_of(two, 'web').items()} ==
                 {'web.0': 'there', 'web.1': 'there', 'web.2': 'there'}, 'all have moved and the canary is gone')


def test_plan_fits_a_terminal(two):
    """A hundred equal steps are one line, what has no room is told with what would help, and nothing is too wide."""
    jobs = {'many': {**SLEEPER, 'count': 100, 'update': {'parallel': 50, 'pause': '10s'}},
            'big': {**SLEEPER, 'resources': {'memory': '900TiB'}}}
    path = os.path.join(two.dir, 'plan.json')
    with open(path, 'w', encoding='utf-8') as file:
        json.dump({'jobs': jobs}, file)
    text = on_terminal(two, 'plan', path)
    assert re.search(r'1-100 +many\.0 \(100\) +start ', text), text
    assert 'big.0 waits for a node: ' in text and 'resources.memory at most ' in text, text
    assert max(len(line) for line in text.splitlines()) <= 80, text
    assert two.cli_json('plan', path)['steps'][99]['order'] == 100
