# SPDX-License-Identifier: BSD-3-Clause
"""What tasks and machine use: sampled by the agent, asked for by the server, shown by the API."""
import http.client
import os
import pwd
import re
import shutil
import time

import pytest
from reeve import ApiError, Unix, seconds

BURN = ['/bin/sh', '-c', 'while :; do :; done']
# in a child
FAT = ['/bin/sh', '-c', 'python3 -c "import os, time; os.fork() and time.sleep(1000); b = bytearray(80 << 20); time.sleep(1000)"']
JOBS = {'burn': {'command': BURN}, 'fat': {'command': FAT}, 'idle': {'command': ['sleep', '1000']}}
MIB = 1 << 20


def begin(reeve, every='1s'):
    reeve.up('--vitals-every', every)
    reeve.apply(JOBS)
    for job in JOBS:
        reeve.wait_running(job, 1)


def vitals_of(reeve, task, query=''):
    return reeve.ask('GET', f'/v1/tasks/{task}/vitals{query}')


def test_who_burns_and_who_is_fat(reeve):
    begin(reeve)

    def seen():
        tasks = {t['task']: t for t in reeve.ask('GET', '/v1/vitals?max_age=0')['tasks']}
        return set(tasks) == {'burn.0', 'fat.0', 'idle.0'} and all(t['cpu'] is not None for t in tasks.values()) and \
            tasks['burn.0']['cpu'] > 200 and tasks['idle.0']['cpu'] < 50 and tasks['fat.0']['memory'] > 80 * MIB and \
            tasks['burn.0']['memory'] < 20 * MIB and tasks
    tasks = reeve.wait_for(seen, 'one burns, one is fat, one is idle')
    assert tasks['burn.0']['cpu'] < 1500 and tasks['fat.0']['memory'] < 300 * MIB
    assert all(t['run'] == 1 for t in tasks.values())
    before = tasks['burn.0']['cpu_usec']
    reeve.wait_for(lambda: vitals_of(reeve, 'burn.0', '?max_age=0')['newest']['cpu_usec'] > before, 'its time grows')
    node = reeve.ask('GET', '/v1/vitals?tasks=false')['nodes'][0]
    assert node['node'] == 'here' and node['every'] == 1000 and node['cores'] == len(os.sched_getaffinity(0))
    with open('/proc/meminfo') as f:
        total = int(f.readline().split()[1]) * 1024
    assert node['memory_total'] == total and 0 < node['memory'] < total
    assert 0 < node['disk'] < node['disk_total'] and node['load'] >= 0


def test_what_a_limited_run_has_is_what_its_cgroup_counts(reeve):
    reeve.up()
    reeve.apply({'fat': {'command': FAT, 'limits': {'memory': '500MiB', 'cpu': 1.5}}, 'slim': {
        'command': ['sleep', '1000'], 'limits': {'memory': '100MiB'}}})
    reeve.wait_running('fat', 1)
    reeve.wait_running('slim', 1)

    def seen():
        tasks = {t['task']: t for t in reeve.ask('GET', '/v1/vitals?max_age=0')['tasks']}
        return set(tasks) == {'fat.0', 'slim.0'} and tasks['fat.0']['memory'] > 80 * MIB and tasks
    tasks = reeve.wait_for(seen, 'one is fat')
    assert tasks['fat.0']['memory'] < 300 * MIB and tasks['slim.0']['memory'] < 20 * MIB
    assert tasks['fat.0']['cpu_usec'] > 0


def test_without_the_right_to_make_cgroups(reeve):
    """Then the processes of a session are added up: all but who has left it."""
    nobody = pwd.getpwnam('nobody')
    if os.getuid() == 0:
        for path in (reeve.dir, reeve.notes):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        reeve.up_pid = reeve.nest.start(reeve.log_path, [
            shutil.which('setpriv'), f'--reuid={nobody.pw_uid}', f'--regid={nobody.pw_gid}', '--clear-groups', reeve.reeve, 'up',
            '--data', reeve.data, '--socket', reeve.socket, '--node', reeve.node, '--vitals-every', '1s'])
        reeve.wait_ready()
    else:
        reeve.up('--vitals-every', '1s')
    reeve.apply({**JOBS, 'pair': {'command': ['/bin/sh', '-c', '(while :; do :; done) & exec sleep 1000']}})
    for job in (*JOBS, 'pair'):
        reeve.wait_running(job, 1)

    def seen():
        tasks = {t['task']: t for t in reeve.ask('GET', '/v1/vitals?max_age=0')['tasks']}
        return len(tasks) == 4 and all(t['cpu'] is not None for t in tasks.values()) and min(
            tasks['burn.0']['cpu'], tasks['pair.0']['cpu']) > 100 and tasks['idle.0']['cpu'] < 50 and \
            tasks['fat.0']['memory'] > 80 * MIB
    reeve.wait_for(seen, 'children count for their task')
    reeve.wait_for(lambda: len(vitals_of(reeve, 'pair.0')['samples']) >= 2, 'samples')


def test_samples_are_kept_by_agents_that_come_and_go(reeve):
    begin(reeve)
    reeve.wait_for(lambda: len(vitals_of(reeve, 'burn.0')['samples']) >= 3, 'some samples')
    first = vitals_of(reeve, 'burn.0')['samples'][0]
    reeve.kill('agent')
    reeve.wait_ready()

    def goes_on():
        samples = vitals_of(reeve, 'burn.0')['samples']
        after = [s for s in samples if s['cpu'] is not None]
        return samples[0] == first and len(samples) >= 6 and after[-1]['cpu'] > 200 and samples
    samples = reeve.wait_for(goes_on, 'samples from before and after')
    assert [s['time'] for s in samples] == sorted({s['time'] for s in samples})
    later = vitals_of(reeve, 'burn.0', f'?since={samples[2]["time"]}')['samples']
    assert later[0] == samples[3]
    machine = reeve.ask('GET', '/v1/nodes/here/vitals')
    assert {'cpu', 'memory', 'load', 'disk'} <= {k for k, v in machine['samples'][-1].items() if v is not None}
    assert len(machine['samples']) >= len(samples)


def test_a_new_run_is_counted_from_zero(reeve):
    begin(reeve)
    reeve.wait_for(lambda: vitals_of(reeve, 'burn.0', '?max_age=0')['newest']['cpu_usec'] > 1500000, 'it has worked')
    reeve.api('POST', '/v1/tasks/burn.0/restart')

    def anew():
        newest = vitals_of(reeve, 'burn.0', '?max_age=0')['newest']
        return newest and newest['run'] == 2 and newest
    assert reeve.wait_for(anew, 'the next run')['cpu_usec'] < seconds(20) * 1000000
    reeve.api('POST', '/v1/tasks/burn.0/stop')
    reeve.wait_tasks('burn', state='ended')
    reeve.wait_for(lambda: vitals_of(reeve, 'burn.0', '?max_age=0')['newest'] is None, 'nothing runs')
    assert {s['run'] for s in vitals_of(reeve, 'burn.0')['samples']} >= {1}


def test_what_cannot_be_asked(reeve):
    reeve.up('--vitals-every', 'never')
    reeve.apply(JOBS)
    reeve.wait_running('idle', 1)
    reeve.wait_for(lambda: vitals_of(reeve, 'idle.0')['newest'], 'somebody asks, and it is looked at')
    assert vitals_of(reeve, 'idle.0')['samples'] == []
    assert reeve.ask('GET', '/v1/vitals')['nodes'][0]['every'] is None
    for path, status in (('/v1/tasks/idle.7/vitals', 404), ('/v1/nodes/there/vitals', 404), ('/v1/vitals?node=there', 404),
                         ('/v1/vitals?max_age=soon', 400), ('/v1/tasks/idle.0/vitals?since=soon', 400)):
        with pytest.raises(ApiError) as e:
            reeve.api('GET', path)
        assert e.value.status == status, path
    done = reeve.cli('up', '--data', reeve.dir + '/other', '--vitals-every', '10ms', check=False)
    assert done.returncode == 2 and '--vitals-every 10ms: expected 1s to 1h, or never' in done.stderr
    reeve.apply({'far': {'command': ['true'], 'place': {'where': ['name = nowhere']}}})
    with pytest.raises(ApiError) as e:
        reeve.api('GET', '/v1/tasks/far.0/vitals')
    assert e.value.status == 409 and e.value.problem['detail'] == 'task far.0 is on no node'


def test_an_agent_that_does_not_answer(reeve):
    begin(reeve)
    reeve.wait_for(lambda: vitals_of(reeve, 'burn.0')['newest'], 'it answers')
    reeve.kill('agent', 19)  # SIGSTOP
    try:
        begun = time.monotonic()
        answer = reeve.api('GET', '/v1/vitals?max_age=0')
        assert time.monotonic() - begun < seconds(10)
        assert answer['nodes'], 'what was known before is shown'
        with pytest.raises(ApiError) as e:
            reeve.api('GET', '/v1/nodes/here/vitals')
        assert e.value.status == 503
    finally:
        reeve.kill('agent', 18)


# ---- /metrics

LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\n]|\\\\["\\\\n])*"'
SAMPLE = re.compile(rf'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9]+(?:\.[0-9]+)?)')


def parse_metrics(text):
    """The text format 0.0.4, strictly: {name: (type, {labels: value})}. All of a metric stands together, behind its
    HELP and TYPE, and no series twice."""
    assert text.endswith('\n')
    metrics, current = {}, None
    lines = text[:-1].split('\n')
    for i, line in enumerate(lines):
        if line.startswith('# HELP '):
            name, _, words = line[7:].partition(' ')
            assert name not in metrics and words and lines[i + 1].startswith(f'# TYPE {name} '), line
        elif line.startswith('# TYPE '):
            current, kind = line[7:].split(' ')
            assert lines[i - 1].startswith(f'# HELP {current} ') and kind in ('counter', 'gauge'), line
            assert kind == 'gauge' or current.endswith('_total'), line
            metrics[current] = kind, {}
        else:
            match = SAMPLE.fullmatch(line)
            assert match and match[1] == current, line
            pairs = re.findall(r'([a-zA-Z0-9_]+)="((?:[^"\\\\]|\\\\.)*)"', match[2] or '')
            labels = tuple(sorted(pairs))
            assert len({name for name, _ in labels}) == len(labels) and labels not in metrics[current][1], line
            metrics[current][1][labels] = float(match[3])
    return metrics


def scrape(reeve, headers=None):
    connection = Unix(reeve.socket, seconds(30))
    try:
        connection.request('GET', '/metrics', headers=headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    assert answer.status == 200 and answer.getheader('Content-Type').startswith('text/plain; version=0.0.4')
    return parse_metrics(text)


def test_metrics_say_what_the_api_says(reeve):
    begin(reeve)
    reeve.apply({'ends': {'kind': 'batch', 'command': ['true']}})
    reeve.wait_tasks('ends', state='ended')
    reeve.api('POST', '/v1/tasks/idle.0/restart')
    reeve.wait_for(lambda: reeve.task('idle.0')['runs'] == 2 and reeve.task('idle.0')['state'] == 'running', 'a second run')
    reeve.wait_for(lambda: vitals_of(reeve, 'burn.0', '?max_age=0')['newest']['cpu_usec'] > 1000000, 'it burns')

    def whole():
        metrics = scrape(reeve)
        return len(metrics['reeve_task_memory_bytes'][1]) == 3 and metrics
    metrics = reeve.wait_for(whole, 'all three tasks that run are known')
    one = lambda name, **labels: metrics[name][1][tuple(sorted(labels.items()))]  # noqa: E731
    states = {}
    for t in reeve.ps():
        states[t['state']] = states.get(t['state'], 0) + 1
        labels = {'task': t['id'], 'job': t['job']}
        assert one('reeve_task_runs_total', **labels) == t['runs']
        assert one('reeve_task_state', **labels, node='here', state=t['state']) == 1
        assert one('reeve_task_ready', **labels) == t['ready']
    for labels, value in metrics['reeve_tasks'][1].items():
        assert value == states.get(dict(labels)['state'], 0), labels
    assert one('reeve_jobs', state='running') == 3 and one('reeve_nodes', state='ready') == 1
    assert one('reeve_queue_tasks') == 0
    assert one('reeve_events_total') == reeve.events()[-1]['index']
    assert one('reeve_task_cpu_seconds_total', task='burn.0', job='burn') >= 1
    assert 80 * MIB < one('reeve_task_memory_bytes', task='fat.0', job='fat') < 300 * MIB
    node = reeve.ask('GET', '/v1/vitals?tasks=false')['nodes'][0]
    assert one('reeve_node_memory_bytes', node='here') == node['memory_total']
    assert 0 < one('reeve_node_cpu_seconds_total', node='here') <= node['cpu_usec'] / 1e6
    assert one('reeve_store_commits_total') > 0 and one('reeve_store_commit_failures_total') == 0
    assert one('reeve_http_requests_total', code='200') > 5
    again = scrape(reeve)
    for name in ('reeve_http_requests_total', 'reeve_decisions_total', 'reeve_loop_busy_seconds_total',
                 'process_cpu_seconds_total', 'reeve_uptime_seconds'):
        for labels, value in metrics[name][1].items():
            assert again[name][1][labels] >= value, name
    with open(os.path.join(os.path.dirname(__file__), '../../docs/metrics.md')) as f:
        documented = re.findall(r'^\| `(\w+)` \| (\w+) \|', f.read(), re.M)
    assert {(name, kind) for name, (kind, _) in again.items()} == set(documented)


def test_metrics_of_more_tasks_than_wanted(reeve):
    reeve.up('--metrics-tasks', '30')
    reeve.apply({'many': {'count': 30, 'command': ['sleep', '1000']}})
    reeve.wait_running('many', 30)
    metrics = scrape(reeve)
    assert len(metrics['reeve_task_state'][1]) == 30 and metrics['reeve_metrics_tasks_shown'][1][()] == 1
    reeve.apply({'one': {'command': ['sleep', '1000']}})
    reeve.wait_running('one', 1)
    metrics = scrape(reeve)
    assert not any(name.startswith('reeve_task_') for name in metrics) and metrics['reeve_metrics_tasks_shown'][1][()] == 0
    assert metrics['reeve_tasks'][1][(('state', 'running'),)] == 31


def test_metrics_need_a_token(reeve):
    reeve.up('--listen', '127.0.0.1:0')
    url = reeve.api('GET', '/v1/version')['url']
    make = lambda **body: reeve.api('POST', '/v1/tokens', {'kind': 'api', **body})['token']  # noqa: E731
    tokens = {None: 401, make(role='read'): 200, make(role='read', jobs='web'): 403}
    for token, status in tokens.items():
        connection = http.client.HTTPConnection(url.split('//')[1], timeout=seconds(20))
        connection.request('GET', '/metrics', headers={'Authorization': f'Bearer {token}'} if token else {})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == status
