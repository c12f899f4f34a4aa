# SPDX-License-Identifier: BSD-3-Clause
"""Order among jobs: what they wait for, in which order they stop, what a failure does to others, circles."""
import json
import os

import pytest

import reeve as harness
from reeve import program

SLEEPER = {'command': ['sleep', '100000']}


def touch(reeve, name):
    open(f'{reeve.dir}/{name}', 'w').close()


def ready_when(reeve, name):
    """A service that is ready when the test makes a file."""
    return {'command': ['sleep', '100000'], 'ready': {'command': ['test', '-e', f'{reeve.dir}/{name}'],
                                                      'interval': '100ms'}}


def noted(reeve, word):
    """A service that writes down when it begins and when it was told to end."""
    path = f'{reeve.dir}/order'
    return {'command': f'echo +{word} >> {path}; trap "sleep 0.3; echo -{word} >> {path}; exit 0" TERM; '
                       'while :; do sleep 0.05; done'}


def order(reeve):
    try:
        with open(f'{reeve.dir}/order') as f:
            return f.read().split()
    except FileNotFoundError:
        return []


def reason(reeve, task):
    return reeve.task(task)['reason']


def test_jobs_wait(up):
    """A chain of three, given in the wrong order: each begins when what it waits for is there, and `why` says what
    that is until then; waiting is no failure."""
    up.apply({'app': dict(SLEEPER, count=2, after={'db': 'ready', 'migrate': 'succeeded'})})
    up.wait_for(lambda: reason(up, 'app.0') == 'waits for job db, which does not exist and for job migrate, which does '
                                               'not exist', 'both are missing')
    why = ' '.join(up.cli('why', 'app.0').stdout.split())
    assert 'app.0 waits for job db, which does not exist' in why and 'it is placed as soon as that is so' in why, why
    up.apply({'migrate': {'kind': 'batch', 'command': f'test -e {up.dir}/schema', 'after': {'db': 'ready'},
                          'restart': {'policy': 'never'}},
              'db': ready_when(up, 'db-ready')})
    up.wait_for(lambda: reason(up, 'migrate.0') == 'waits for db to be ready', 'it waits for the database')
    touch(up, 'db-ready')
    up.wait_for(lambda: reason(up, 'app.0') == 'waits for migrate to succeed, which has failed', 'the first try fails')
    assert up.task('app.0')['runs'] == 0 and up.task('app.0')['state'] == 'queued'
    touch(up, 'schema')
    up.cli('restart', 'migrate', check=False)
    up.wait_running('app', 2)
    assert all(t['runs'] == 1 and t['restarts'] == 0 for t in up.ps('app'))


def test_down_and_up(reeve):
    """`reeve down` stops in the reverse order, one after the other; the next `up` begins in order; so does a boot."""
    reeve.up()
    jobs = {'top': dict(noted(reeve, 'top'), after={'middle': 'ready'}),
            'middle': dict(noted(reeve, 'middle'), after={'base': 'ready'}, ready={'log': 'x'}),
            'base': dict(noted(reeve, 'base'), ready={'log': '^x$'})}
    for name in ('middle', 'base'):  # ready some time after they began
        jobs[name]['command'] = f'sleep 0.3; echo x; {jobs[name]["command"]}'
    reeve.apply(jobs)
    reeve.wait_running('top', 1)
    reeve.wait_for(lambda: order(reeve) == ['+base', '+middle', '+top'], 'they began in order')
    reeve.down()
    assert order(reeve)[3:] == ['-top', '-middle', '-base']
    reeve.up()
    reeve.wait_running('top', 1)
    reeve.wait_for(lambda: order(reeve)[6:] == ['+base', '+middle', '+top'], 'they began in order again')
    assert all(t['restarts'] == 0 for t in reeve.ps())


def test_stop_and_remove_several(up):
    """`reeve stop` and `reeve remove` of several jobs: whatever order they are named in."""
    up.apply({'base': noted(up, 'base'), 'top': dict(noted(up, 'top'), after={'base': 'started'})})
    up.wait_for(lambda: order(up) == ['+base', '+top'], 'they began in order')
    up.cli('stop', 'base', 'top')
    assert order(up)[2:] == ['-top', '-base']
    up.cli('restart', 'top', 'base')
    up.wait_for(lambda: order(up)[4:] == ['+base', '+top'], 'they began in order')
    up.cli('remove', 'base', 'top')
    assert order(up)[6:] == ['-top', '-base']


def test_what_a_failure_does(up):
    """`nothing`, `restart` with it, `stop`."""
    quick = {'delay': '100ms', 'max_delay': '100ms', 'burst': 0}
    db = dict(ready_when(up, 'db-ready'), restart=quick)
    touch(up, 'db-ready')
    up.apply({'db': db, 'nothing': dict(SLEEPER, after={'db': 'ready'}),
              'restart': dict(SLEEPER, after={'db': 'ready'}, after_failure='restart'),
              'stop': dict(SLEEPER, after={'db': 'ready'}, after_failure='stop')})
    for name in ('nothing', 'restart', 'stop'):
        up.wait_running(name, 1)
    before = {t['id']: t['pid'] for t in up.ps()}
    os.unlink(f'{up.dir}/db-ready')
    os.kill(before['db.0'], 9)
    up.wait_for(lambda: reason(up, 'restart.0') == 'waits for db to be ready', 'it waits')
    touch(up, 'db-ready')
    up.wait_running('restart', 1)
    after = {t['id']: t['pid'] for t in up.ps()}
    assert after['nothing.0'] == before['nothing.0'] and after['stop.0'] == before['stop.0']
    assert after['restart.0'] != before['restart.0'] and up.task('restart.0')['restarts'] == 0
    up.apply({'db': dict(db, restart={'policy': 'never'})})
    up.wait_for(lambda: up.task('db.0')['version'] == 2, 'the new policy')
    os.kill(after['db.0'], 9)
    up.wait_for(lambda: up.jobs()['stop']['state'] == 'stopped', 'it is stopped')
    assert [e['message'] for e in up.events() if e['kind'] == 'job-stopped'] == [
        'was stopped: db.0 has failed (after_failure)']
    assert up.task('nothing.0')['pid'] == before['nothing.0']


def test_plan(up):
    """A plan begins what comes after others when these are there, and says what waits for others all the same."""
    app = dict(SLEEPER, after={'db': 'ready'})
    plan = up.api('POST', '/v1/plan', {'jobs': {'app': app}})
    assert [w['reason'] for w in plan['waits']] == ['app.0 waits for job db, which does not exist'], plan
    plan = up.api('POST', '/v1/plan', {'jobs': {'app': app, 'db': ready_when(up, 'x')}})
    assert plan['waits'] == [] and [s['task'] for s in plan['steps']] == ['db.0', 'app.0'], plan


def test_circles(up):
    """Refused with the circle by name, and nothing of the file is applied; also by `plan`."""
    jobs = {'a': dict(SLEEPER, after={'b': 'ready'}), 'b': dict(SLEEPER, after={'c.0': 'started'}),
            'c': dict(SLEEPER, after={'a': 'ended'})}
    for path, circle in (('/v1/jobs', 'a -> b -> c -> a'), ('/v1/plan', 'c -> a -> b -> c')):
        with pytest.raises(harness.ApiError) as e:
            up.api('POST', path, {'jobs': jobs})
        assert f'after: the jobs wait for each other: {circle}' in json.dumps(e.value.problem), e.value.problem
    assert up.jobs() == {}
    up.apply({'a': jobs['a']})
    with pytest.raises(harness.ApiError) as e:
        up.api('POST', '/v1/jobs', {'jobs': {'b': dict(SLEEPER, after={'a.0': 'ready'})}})
    assert 'b -> a -> b' in json.dumps(e.value.problem)
    assert list(up.jobs()) == ['a']


@pytest.mark.parametrize('part', ['agent', 'server', 'keeper'])
def test_kills(up, part):
    """A part is killed while a job waits and when it may begin: it begins once, in order."""
    up.apply({'app': dict(command=[program('lines'), '1'], kind='batch', after={'db': 'ready'}),
              'db': ready_when(up, 'db-ready')})
    up.wait_for(lambda: reason(up, 'app.0') == 'waits for db to be ready', 'it waits')
    up.kill(part)
    up.wait_ready()
    assert up.task('app.0')['runs'] == 0
    touch(up, 'db-ready')
    up.kill(part)
    up.wait_tasks('app', state='ended')
    assert up.task('app.0')['runs'] == 1


def test_order_and_updates_over_nodes(cluster):
    """On the nodes of a cluster: what comes after waits for all tasks, wherever they are; an update goes on only when
    the new task is ready there."""
    cluster.begin(['a', 'b'])
    server = cluster.server
    db = dict(ready_when(server, 'ready-$REEVE_TASK_INDEX'), count=2, update={'deadline': '1h'})
    db['ready'] = dict(db['ready'], command=f'test -e {server.dir}/ready-$REEVE_TASK_INDEX')
    server.apply({'app': dict(SLEEPER, after={'db': 'ready'}), 'db': db})
    server.wait_running('db', 2)
    assert set(cluster.where('db').values()) == {'a', 'b'}
    touch(server, 'ready-0')
    server.wait_for(lambda: server.jobs()['db']['ready'] == 1, 'one is ready')
    assert reason(server, 'app.0') == 'waits for db to be ready'
    touch(server, 'ready-1')
    server.wait_running('app', 1)
    os.unlink(f'{server.dir}/ready-0')
    server.apply({'db': dict(db, command=['sleep', '100001'])})
    server.wait_for(lambda: server.task('db.0')['version'] == 2 and server.task('db.0')['state'] == 'running', 'the first')
    assert server.task('db.1')['version'] == 1 and not server.task('db.0')['ready']
    touch(server, 'ready-0')
    server.wait_for(lambda: all(t['version'] == 2 and t['ready'] for t in server.ps('db')), 'the whole update')
    assert server.task('app.0')['runs'] == 1
