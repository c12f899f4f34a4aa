# SPDX-License-Identifier: BSD-3-Clause
"""Reading the past: events of a span of time, of a node, of a kind; and how long they are kept."""
import http.client
import json
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
