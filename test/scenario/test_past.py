# SPDX-License-Identifier: BSD-3-Clause
"""Reading the past: events of a span of time, of a node, of a kind; and how long they are kept."""
import http.client
import json
import re
import time

from reeve import Unix, seconds


def clock(moment):
    """RFC 3339 with milliseconds, as the API has it."""
    whole = int(moment * 1000)
    return time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole // 1000)) + f'.{whole % 1000:03}Z'


def apart():
    """A moment between what was and what comes: later than all events there are, earlier than those to come."""
    time.sleep(0.05)  # the distance is what is wanted, not a guess at how long something takes
    now = clock(time.time())
    time.sleep(0.05)
    return now


def test_events_of_a_span(up):
    """--since, --until, --job, --task, --node and --kind leave exactly what they say, as a page and as a feed."""
    up.apply({'web': {'command': ['sleep', '100000'], 'count': 2}, 'db': {'command': ['sleep', '100000']}})
    up.wait_running('web', 2)
    up.wait_running('db', 1)
    first = apart()
    up.cli('stop', 'web.1')
    up.wait_for(lambda: up.task('web.1')['state'] == 'ended', 'web.1 has ended')
    up.wait_for(lambda: [e for e in up.events() if e['kind'] == 'task-stopped'], 'that is told')
    second = apart()
    up.cli('restart', 'db')
    up.wait_for(lambda: up.task('db.0')['runs'] == 2 and up.task('db.0')['state'] == 'running', 'run 2 of db.0')

    events = up.events()
    shown = up.cli_json('events', '--since', first, '--until', second)
    assert shown == [e for e in events if first <= e['time'] <= second] and shown
    assert {e['task'] for e in shown} <= {'web.1', None}
    assert up.cli_json('events', '--since', second) == [e for e in up.events() if e['time'] >= second]
    assert up.cli_json('events', '--until', first) == [e for e in events if e['time'] <= first][-50:]
    assert up.cli_json('events', '--since', '1h', '--kind', 'task-started,task-stopped') == [
        e for e in events if e['kind'] in ('task-started', 'task-stopped')]
    assert up.cli_json('events', '--since', '1h ago', '--task', 'web.1', '--kind', 'task-stopped')
    assert all(e['node'] == 'here' for e in up.cli_json('events', '--node', 'here'))
    assert up.cli_json('events', '--node', 'nowhere') == []
    assert up.cli_json('events', '--since', first, '--until', second, '--job', 'db') == []

    text = up.api('GET', f'/v1/events?since={first}&until={second}&kind=task-stopped&follow=false')
    assert [e['kind'] for e in text] == ['task-stopped']

    assert 'task-stopped' in up.cli('events', '--kind', 'task-stoped', check=False).stderr
    assert '--since' in up.cli('events', '--since', 'yesterday', check=False).stderr
    assert '--until' in up.cli('events', '-f', '--until', '1s', check=False).stderr


def test_a_feed_from_a_time(up):
    """follow=true with since= begins with what was then, goes on with what comes, and takes only what was asked for."""
    up.apply({'web': {'command': ['sleep', '100000']}, 'db': {'command': ['sleep', '100000']}})
    up.wait_running('web', 1)
    up.wait_running('db', 1)
    since = apart()
    up.cli('restart', 'web')
    up.cli('restart', 'db')
    up.wait_for(lambda: up.task('web.0')['runs'] == 2 and up.task('web.0')['state'] == 'running', 'run 2')

    connection = Unix(up.socket, seconds(30))
    connection.request('GET', f'/v1/events?follow=true&since={since}&job=web&kind=job-restarted,task-started')
    answer = connection.getresponse()
    assert answer.getheader('Content-Type').startswith('text/event-stream')
    seen = []

    def read(n):
        while len(seen) < n:
            line = answer.readline()
            assert line, 'the feed has ended'
            if line.startswith(b'data:'):
                seen.append(json.loads(line[5:]))

    try:
        read(2)
        up.cli('restart', 'db')
        up.cli('restart', 'web')
        read(4)
    except http.client.HTTPException as e:
        raise AssertionError(f'the feed broke: {e!r}') from e
    finally:
        connection.close()
    assert [(e['kind'], e['job']) for e in seen] == [('job-restarted', 'web'), ('task-started', 'web')] * 2
    assert all(e['time'] >= since for e in seen)


# ---- --at

TASK_FIELDS = ('id', 'job', 'index', 'version', 'node', 'state', 'ready', 'result', 'runs', 'exit_code', 'signal')
JOB_FIELDS = ('name', 'kind', 'version', 'count', 'running', 'ready', 'state', 'queued', 'lost')
NODE_FIELDS = ('name', 'state', 'scheduling', 'tasks', 'running')


def picked(objects, fields):
    return [{f: o[f] for f in fields} for o in objects]


class Recorder:
    """What the server says at moments when nothing happens; afterwards --at must say the same of each."""

    def __init__(self, reeve):
        self.reeve, self.moments = reeve, []

    def state(self, at=None):
        query = f'?at={at}' if at else ''
        return (picked(self.reeve.api('GET', '/v1/jobs' + query), JOB_FIELDS),
                picked(self.reeve.api('GET', '/v1/tasks' + query), TASK_FIELDS),
                picked(self.reeve.api('GET', '/v1/nodes' + query), NODE_FIELDS))

    def record(self, what):
        before = apart()
        state = self.state()
        now = apart()
        assert self.state() == state, f'{what}: this is no moment when nothing happens (since {before})'
        self.moments.append((what, now, state))

    def compare(self, unknown=()):
        """@unknown: jobs that are gone, of which the kind is not known any more."""
        for what, at, (jobs, tasks, nodes) in self.moments:
            past_jobs, past_tasks, past_nodes = self.state(at)
            for job in jobs:
                if job['name'] in unknown:
                    job['kind'] = None
            assert past_tasks == tasks, f'{what}, tasks at {at}'
            assert past_jobs == jobs, f'{what}, jobs at {at}'
            assert past_nodes == nodes, f'{what}, nodes at {at}'


def test_the_past_is_what_it_was(up):
    """Jobs come, change, grow, shrink, stop, fail and go: --at tells of each moment what the server told then."""
    moments = Recorder(up)
    sleeper = {'command': ['sleep', '100000']}
    moments.record('nothing is there')
    up.apply({'web': {**sleeper, 'count': 2}, 'once': {'kind': 'batch', 'command': ['true']},
              'huge': {**sleeper, 'resources': {'memory': '1000TiB'}}, 'other': sleeper})
    up.wait_running('web', 2)
    up.wait_running('other', 1)
    up.wait_for(lambda: up.task('once.0')['state'] == 'ended', 'once has ended')
    moments.record('all began')
    up.apply({'web': {**sleeper, 'count': 2, 'env': {'A': '1'}}})
    up.wait_for(lambda: up.jobs()['web']['state'] == 'running' and all(
        t['version'] == 2 and t['state'] == 'running' for t in up.ps('web')), 'version 2')
    moments.record('web was updated')
    up.cli('scale', 'web=4', '--wait')
    up.wait_running('web', 4)
    moments.record('web has grown')
    up.cli('stop', 'web.1')
    up.wait_for(lambda: up.task('web.1')['state'] == 'ended', 'web.1 has ended')
    moments.record('web.1 was stopped')
    up.cli('scale', 'web=2')
    up.wait_for(lambda: len(up.ps('web')) == 2, 'two are left')
    up.cli('restart', 'web')
    up.wait_for(lambda: up.jobs()['web']['state'] == 'running' and up.jobs()['web']['running'] == 2 and
                up.task('web.0')['runs'] == 3, 'web was restarted')
    moments.record('web was restarted')
    up.apply({'crash': {'command': ['sh', '-c', 'exit 3'], 'restart': {'delay': '1h', 'max_delay': '1h'}}})
    up.wait_for(lambda: up.task('crash.0')['state'] == 'queued' and up.task('crash.0')['runs'] == 1, 'crash waits')
    moments.record('crash waits')
    up.cli('stop', 'web')
    up.wait_for(lambda: all(t['state'] == 'ended' for t in up.ps('web')), 'web is stopped')
    moments.record('web was stopped')
    up.cli('remove', 'web')
    up.wait_for(lambda: 'web' not in up.jobs(), 'web is gone')
    moments.record('web is gone')
    up.apply({'web': {**sleeper, 'count': 1}})
    up.wait_running('web', 1)
    moments.record('another web')
    for _, _, (jobs, _, _) in moments.moments[:-1]:
        for job in jobs:  # of the first web, nothing is kept but its events
            job['kind'] = None if job['name'] == 'web' else job['kind']
    moments.compare()

    # the commands, and what cannot be known
    at = moments.moments[3][1]
    shown = up.cli_json('ps', 'web', '--at', at)
    assert len(shown) == 4 and all(t['pid'] is None for t in shown), shown
    assert up.cli_json('ps', 'web.3', '--at', at)[0]['state'] == 'running'
    assert '4/4' in up.cli('jobs', '--at', at).stdout
    assert len(re.findall(r'^web\.\d +running', up.cli('ps', '--at', at).stdout, re.M)) == 4
    first = up.cli('job', 'web', '--at', at).stdout
    assert 'is not kept' in first and '4 of 4' in first, first
    assert 'there was no job "crash"' in up.cli('job', 'crash', '--at', at, check=False).stderr
    assert 'still to come' in up.cli('ps', '--at', '2999-01-01', check=False).stderr
    assert 'the past is known from ' in up.cli('ps', '--at', '1h', check=False).stderr


def test_the_spec_of_then(up):
    """`reeve job NAME --at` shows the version that was in force, with its spec."""
    up.apply({'web': {'command': ['sleep', '100000'], 'env': {'A': '1'}}})
    up.wait_running('web', 1)
    then = apart()
    up.apply({'web': {'command': ['sleep', '100001'], 'env': {'A': '2'}}})
    up.wait_for(lambda: up.task('web.0')['version'] == 2 and up.task('web.0')['state'] == 'running', 'version 2')
    answer = up.cli_json('job', 'web', '--at', then)
    assert answer['version'] == 1 and answer['spec']['env'] == {'A': '1'}, answer
    assert '100000' in up.cli('job', 'web', '--at', then).stdout
    assert up.cli_json('job', 'web')['version'] == 2
    up.kill('server')
    up.wait_ready()
    assert up.ask('GET', f'/v1/jobs/web?at={then}')['spec']['env'] == {'A': '1'}


def test_events_are_kept_as_told(reeve):
    """--keep-events and --keep-events-for bound how far the past is known."""
    refused = reeve.cli('up', '--keep-events', '0', check=False)
    assert refused.returncode == 2 and '--keep-events' in refused.stderr
    reeve.up('--keep-events', '5', '--keep-events-for', '7d')
    with open(f'/proc/{reeve.pid("server")}/cmdline', 'rb') as f:
        words = f.read().split(b'\0')
    assert words[words.index(b'--keep-events') + 1] == b'5'
    assert words[words.index(b'--keep-events-for') + 1] == b'7d'
