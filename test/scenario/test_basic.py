# SPDX-License-Identifier: BSD-3-Clause
"""Reeve as a person uses it: every command, on one machine, with real processes."""
import json
import os
import pwd
import re
import signal
import subprocess
import time

import pytest

import reeve as harness
from reeve import program, seconds

SLEEPER = {'command': ['sleep', '100000']}


def write(path, text):
    """Replaces a file as an editor does."""
    with open(path + '.new', 'w') as f:
        f.write(text if isinstance(text, str) else json.dumps(text))
    os.rename(path + '.new', path)
    return path


def pids(reeve, job):
    return {t['id']: t['pid'] for t in reeve.ps(job)}


def alive(pid):
    stat = harness.proc_stat(pid)
    return stat is not None and stat[0] not in 'ZX'


# ---- apply, ps, jobs, stop, restart, scale, remove


def test_life_of_a_job(up):
    """apply, ps, jobs, scale, restart, stop, remove: each does what it says, and says what it did."""
    path = write(f'{up.dir}/web.yaml', 'jobs:\n  web:\n    count: 2\n    command: [sleep, 100000]\n')
    done = up.cli('apply', '--wait', path)
    assert re.search(r'web.*created', done.stdout), done.stdout
    first = pids(up, 'web')
    assert len(first) == 2 and all(alive(p) for p in first.values())

    assert 'unchanged' in up.cli('apply', path).stdout
    assert pids(up, 'web') == first

    up.cli('scale', 'web=4', '--wait')
    up.wait_running('web', 4)
    assert {k: v for k, v in pids(up, 'web').items() if k in first} == first, 'scaling up touches nobody'
    up.cli('scale', 'web', '1')
    up.wait_for(lambda: list(pids(up, 'web')) == ['web.0'], 'only web.0 is left')
    assert pids(up, 'web')['web.0'] == first['web.0']

    up.cli('restart', 'web.0')
    up.wait_for(lambda: up.task('web.0')['runs'] == 2 and up.task('web.0')['pid'], 'run 2')
    assert up.task('web.0')['pid'] != first['web.0'] and not alive(first['web.0'])

    up.cli('stop', 'web')
    task = up.task('web.0')
    assert (task['state'], task['result'], task['pid']) == ('ended', 'stopped', None)
    assert up.jobs()['web']['state'] == 'stopped'

    up.cli('restart', 'web')
    up.wait_running('web', 1)
    up.cli('remove', 'web')
    assert up.jobs() == {} and up.ps() == []


def test_json_names(up):
    """`ps --json` and `jobs --json` give the names that stay."""
    up.apply({'web': dict(SLEEPER, count=2)})
    up.wait_running('web', 2)
    tasks = up.cli_json('ps')
    assert [t['id'] for t in tasks] == ['web.0', 'web.1']
    for t in tasks:
        assert {'id', 'job', 'version', 'node', 'state', 'ready', 'result', 'pid', 'runs', 'restarts', 'exit_code',
                'signal', 'reason', 'since', 'next_run_at'} <= set(t)
        assert (t['job'], t['version'], t['node'], t['state'], t['ready'], t['result'], t['runs'], t['restarts'],
                t['exit_code'], t['signal'], t['next_run_at']) == ('web', 1, up.node, 'running', True, None, 1, 0, None,
                                                                   None, None)
        assert alive(t['pid']) and t['reason'] and re.fullmatch(r'\d{4}-\d\d-\d\dT[\d:.]+Z', t['since'])
    job, = up.cli_json('jobs')
    assert {k: job[k] for k in ('name', 'kind', 'version', 'count', 'running', 'ready', 'state')} == {
        'name': 'web', 'kind': 'service', 'version': 1, 'count': 2, 'running': 2, 'ready': 2, 'state': 'running'}


def test_a_new_version_replaces_the_tasks(up):
    """A changed command begins new runs, one after the other; a change that needs none takes effect in place."""
    up.apply({'web': dict(SLEEPER, count=2)})
    up.wait_running('web', 2)
    before = pids(up, 'web')
    up.apply({'web': dict(SLEEPER, count=2, stop={'grace': '3s'})})
    up.wait_for(lambda: {t['version'] for t in up.ps('web')} == {2}, 'version 2')
    assert pids(up, 'web') == before, 'a new grace period needs no new run'
    up.apply({'web': {'command': ['sleep', '100001'], 'count': 2}})
    up.wait_for(lambda: all(t['state'] == 'running' and t['version'] == 3 and t['runs'] == 2 for t in up.ps('web')),
                'version 3 runs')
    for pid in pids(up, 'web').values():
        assert harness.cmdline(pid) == ['sleep', '100001']
    assert not any(alive(p) for p in before.values())


def test_plan_changes_nothing(up):
    """`plan` says what apply would do, and does nothing."""
    up.apply({'web': SLEEPER})
    before = up.wait_running('web', 1)
    path = write(f'{up.dir}/new.json', {'jobs': {'web': {'command': ['sleep', '7']}, 'more': dict(SLEEPER, count=2)}})
    plan = up.cli_json('plan', path)
    assert {j['job']: j['action'] for j in plan['jobs']} == {'web': 'update', 'more': 'create'}
    changes = next(j for j in plan['jobs'] if j['job'] == 'web')['changes']
    assert [c['field'] for c in changes] == ['command']
    assert {s['task'] for s in plan['steps']} == {'web.0', 'more.0', 'more.1'}
    text = up.cli('plan', path).stdout
    assert 'web.0' in text and 'command' in text
    assert up.ps() == before and list(up.jobs()) == ['web']


def test_apply_is_all_or_none(up):
    """One bad job in a file: nothing of it is applied, and the message names file, line and field."""
    path = write(f'{up.dir}/two.yaml',
                 'jobs:\n  good:\n    command: [sleep, 1]\n  bad:\n    command: [sleep, 1]\n    restrat: {}\n')
    done = up.cli('apply', path, check=False)
    assert done.returncode == 2
    assert re.search(r'two\.yaml:6: jobs\.bad\.restrat: unknown field; did you mean "restart"\?', done.stderr), done
    assert up.jobs() == {}
    with pytest.raises(harness.ApiError) as e:
        up.api('POST', '/v1/jobs', {'jobs': {'good': SLEEPER, 'bad': dict(SLEEPER, count='x')}})
    assert e.value.status == 400 and 'jobs.bad.count' in e.value.problem['detail']
    assert up.jobs() == {}


def test_wrong_input(up):
    """Wrong usage, unknown names, wrong versions: exit statuses as documented, and a helpful sentence."""
    up.apply({'web': SLEEPER})
    up.wait_running('web', 1)
    for arguments, status, said in [
            (['stop', 'wbe'], 3, 'did you mean "web"'),
            (['why', 'web.7'], 3, 'web'),
            (['logs', 'nothing'], 3, 'nothing'),
            (['scale', 'web=many'], 2, 'many'),
            (['ps', '--jsno'], 2, ''),
            (['frobnicate'], 2, 'frobnicate'),
            (['apply', f'{up.dir}/missing.yaml'], 3, 'missing.yaml'),
    ]:
        done = up.cli(*arguments, check=False)
        assert done.returncode == status, f'{arguments}: {done.returncode} {done.stderr}'
        assert said in done.stderr and done.stderr, f'{arguments}: {done.stderr}'
    path = write(f'{up.dir}/web.json', {'jobs': {'web': {'command': ['sleep', '3']}}})
    assert up.cli('apply', '--if-version', '7', path, check=False).returncode == 4
    assert up.task('web.0')['runs'] == 1
    done = up.cli('ps', check=False, env={'REEVE_ADDR': f'unix:{up.dir}/nobody'})
    assert done.returncode == 6 and 'reeve up' in done.stderr


# ---- what a task gets


def test_command_directory_environment(up):
    """Shell commands, directory, environment: what the spec says, and nothing that Reeve itself was given."""
    up.apply({
        'shell': {'kind': 'batch', 'command': 'echo one | tr o 0; echo "$GREETING" >&2',
                  'env': {'GREETING': "it's $me"}},
        'where': {'kind': 'batch', 'command': ['pwd'], 'directory': '/usr/share'},
        'env': {'kind': 'batch', 'command': ['env'], 'env': {'NUMBER': 12}},
    })
    for job in ('shell', 'where', 'env'):
        up.wait_tasks(job, state='ended', result='succeeded', exit_code=0)
    assert up.log_text('shell.0') == '0ne\n' and up.log_text('shell.0', 'stderr') == "it's $me\n"
    assert up.log_text('where.0') == '/usr/share\n'
    env = dict(line.split('=', 1) for line in up.log_text('env.0').splitlines())
    assert env['NUMBER'] == '12' and env['REEVE_TASK'] == 'env.0' and env['REEVE_JOB'] == 'env'
    assert (env['REEVE_RUN'], env['REEVE_TASK_INDEX'], env['REEVE_NODE']) == ('1', '0', up.node)
    assert 'REEVE_PROGRAMS' not in env and 'REEVE_KEEPER_FD' not in env and 'PATH' in env


def test_descriptors_of_a_task(up):
    """A task gets 0, 1 and 2, no signal ignored or blocked, and is the leader of a group of its own."""
    up.apply({'look': {'kind': 'batch', 'command': 'ls /proc/$$/fd; exec cat /proc/self/status'}})
    up.wait_tasks('look', state='ended', result='succeeded')
    text = up.log_text('look.0')
    assert re.findall(r'^\d+$', text, re.M)[:3] == ['0', '1', '2']
    assert not [n for n in re.findall(r'^(\d+)$', text, re.M) if 3 <= int(n) < 10], text
    for mask in ('SigBlk', 'SigIgn'):
        assert int(re.search(rf'{mask}:\s*(\w+)', text)[1], 16) == 0, text


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can start tasks as another user')
def test_user(up):
    """`user` and `group` are taken by name and number; an unknown one is a clear failure."""
    nobody = pwd.getpwnam('nobody')
    up.apply({
        'name': {'kind': 'batch', 'command': ['id'], 'user': 'nobody'},
        'number': {'kind': 'batch', 'command': ['id'], 'user': str(nobody.pw_uid), 'group': '0'},
        'unknown': {'kind': 'batch', 'command': ['id'], 'user': 'no-such-user', 'restart': {'policy': 'never'}},
    })
    up.wait_tasks('name', state='ended', result='succeeded')
    up.wait_tasks('number', state='ended', result='succeeded')
    assert f'uid={nobody.pw_uid}(nobody) gid={nobody.pw_gid}(' in up.log_text('name.0')
    assert f'uid={nobody.pw_uid}(nobody) gid=0(root)' in up.log_text('number.0')
    task, = up.wait_tasks('unknown', state='ended')
    assert task['result'] in ('failed', 'rejected') and 'no-such-user' in task['reason']


def test_a_program_that_is_not_there(up):
    """A command that cannot be executed fails with the reason; the task waits and is tried again."""
    up.apply({'gone': {'command': ['/no/such/program'], 'restart': {'delay': '10ms', 'burst': 2}}})
    task, = up.wait_tasks('gone', state='ended', result='failed')
    assert '/no/such/program' in task['reason'] and 'No such file' in task['reason']
    assert task['runs'] == 2 and task['exit_code'] is None


# ---- restarts


def test_restart_policies(up):
    """always, on-failure, never, and rules that overrule them."""
    up.apply({
        'always': {'command': ['true'], 'restart': {'policy': 'always', 'delay': '10ms'}},
        'failure-ends': {'command': 'exit 0', 'restart': {'policy': 'on-failure', 'delay': '10ms'}},
        'failure-again': {'command': 'exit 1', 'restart': {'policy': 'on-failure', 'delay': '10ms', 'burst': 0}},
        'never': {'command': 'exit 1', 'restart': {'policy': 'never'}},
        'rule': {'command': 'exit 78',
                 'restart': {'policy': 'always', 'delay': '10ms', 'rules': [{'exit': 78, 'then': 'end'}]}},
        'signal': {'command': 'kill -KILL $$',
                   'restart': {'policy': 'always', 'delay': '10ms', 'rules': [{'signal': 'KILL', 'then': 'end'}]}},
    })
    for job in ('always', 'failure-again'):
        up.wait_for(lambda: up.task(f'{job}.0')['restarts'] >= 3, f'{job} restarts again and again')
    for job, result, code, number in [('failure-ends', 'succeeded', 0, None), ('never', 'failed', 1, None),
                                      ('rule', 'failed', 78, None), ('signal', 'failed', None, 'KILL')]:
        task, = up.wait_tasks(job, state='ended')
        assert (task['result'], task['exit_code'], task['signal'], task['runs'], task['restarts']) == (
            result, code, number, 1, 0), task


def test_killed_from_outside(up):
    """A task killed by somebody else is begun again, with the signal told."""
    up.apply({'web': dict(SLEEPER, restart={'delay': 0})})
    pid = up.wait_running('web', 1)[0]['pid']
    os.kill(pid, signal.SIGKILL)  # our own task
    up.wait_for(lambda: up.task('web.0')['runs'] == 2 and up.task('web.0')['state'] == 'running', 'run 2')
    task = up.task('web.0')
    assert (task['signal'], task['restarts']) == ('KILL', 1)
    assert any(e['kind'] == 'task-ended' and 'killed by KILL' in e['message'] for e in up.events())


def test_back_off_and_parking(up):
    """Failures in a row make the wait double, until the burst limit parks the task with a reason that says how to go
    on; a person's restart begins afresh."""
    up.apply({'crasher': {'command': 'exit 3',
                          'restart': {'delay': '200ms', 'max_delay': '10s', 'burst': 4, 'window': '10m'}}})
    task, = up.wait_for(lambda: [t for t in up.ps('crasher') if t['next_run_at']] or None, 'it waits')
    assert task['state'] == 'queued' and 'exit code 3' in task['reason']
    task, = up.wait_tasks('crasher', state='ended', result='failed')
    assert task['runs'] == 4 and 'reeve restart crasher.0' in task['reason'], task
    assert up.jobs()['crasher']['state'] == 'failed'
    events = up.events()
    begun = [e['time'] for e in events if e['kind'] == 'task-started']
    waits = [float(b[17:23]) - float(a[17:23]) for a, b in zip(begun, begun[1:])]
    waits = [w if w >= 0 else w + 60 for w in waits]
    for wait, least in zip(waits, (0.1, 0.2, 0.4)):
        assert wait >= least, waits
    assert any(e['kind'] == 'task-parked' for e in events)
    up.cli('restart', 'crasher')
    up.wait_for(lambda: up.task('crasher.0')['runs'] == 8, 'four more tries')


# ---- stop


def test_stop_kills_the_whole_group(up):
    """What ignores TERM in the task's group is killed: at the end of the task, or when the grace period is over."""
    up.apply({'fork': {'command': [program('forker'), up.notes, '3'], 'stop': {'grace': '500ms'}}})
    pid = up.wait_running('fork', 1)[0]['pid']
    children = [int(p) for p in up.wait_for(lambda: up.note('fork.0', 1, 'children'), 'children').split()]
    assert len(children) == 3 and all(alive(p) for p in children)
    up.cli('stop', 'fork')
    up.wait_for(lambda: not any(alive(p) for p in children + [pid]), 'the group is gone')


def test_a_child_left_behind_ends_with_its_task(up):
    """A task that ends by itself takes its group with it before the next run begins."""
    up.apply({'leave': {'command': 'trap "" TERM; sleep 100000 & echo $!; exit 0',
                        'restart': {'policy': 'always', 'delay': '50ms'}, 'count': 1}})
    up.wait_for(lambda: up.task('leave.0')['runs'] >= 4, 'several runs')
    up.cli('stop', 'leave')
    left = [int(p) for p in up.log_text('leave.0').split()]
    assert len(left) >= 3
    up.wait_for(lambda: not any(alive(p) for p in left), 'no child is left')


def test_stop_signal_and_grace(up):
    """The spec's signal is sent once; who ends within the grace period is not killed, who does not is."""
    up.apply({
        'slow': {'command': [program('termer'), up.notes, str(int(signal.SIGUSR2)), '300', '7'],
                 'stop': {'signal': 'USR2', 'grace': '60s'}},
        'deaf': {'command': [program('termer'), up.notes, str(int(signal.SIGTERM)), '-1', '0'],
                 'stop': {'grace': '300ms'}},
    })
    for job in ('slow', 'deaf'):
        up.wait_running(job, 1)
        up.wait_for(lambda: up.note(f'{job}.0', 1, 'start'), 'it has begun')
    up.cli('stop', 'slow', 'deaf')
    slow, deaf = up.task('slow.0'), up.task('deaf.0')
    assert up.note('slow.0', 1, 'told') == f'{int(signal.SIGUSR2)}\n'
    assert (slow['result'], slow['exit_code'], slow['signal']) == ('stopped', 7, None)
    assert up.note('deaf.0', 1, 'told') == f'{int(signal.SIGTERM)}\n'
    assert (deaf['result'], deaf['exit_code'], deaf['signal']) == ('stopped', None, 'KILL')


def test_a_single_task_is_stopped(up):
    """`stop web.1` stops that one, and it stays so until it is restarted."""
    up.apply({'web': dict(SLEEPER, count=3)})
    up.wait_running('web', 3)
    before = pids(up, 'web')
    up.cli('stop', 'web.1')
    assert up.task('web.1')['result'] == 'stopped'
    up.kill('agent')
    up.wait_ready()
    assert up.task('web.1')['state'] == 'ended'
    assert {k: v for k, v in pids(up, 'web').items() if k != 'web.1'} == {
        k: v for k, v in before.items() if k != 'web.1'}
    up.cli('restart', 'web.1')
    up.wait_running('web', 3)


# ---- logs, events, why


def test_logs(up):
    """Both streams, the last lines, one stream, JSON with byte numbers, several tasks."""
    up.apply({'talk': {'kind': 'batch', 'command': 'for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done'}})
    up.wait_tasks('talk', state='ended')
    lines = up.cli('logs', 'talk.0').stdout.splitlines()
    assert sorted(lines) == sorted(f'{s} {i}' for s in ('out', 'err') for i in range(1, 6))
    assert up.cli('logs', '--stream', 'stdout', 'talk.0').stdout == ''.join(f'out {i}\n' for i in range(1, 6))
    assert up.cli('logs', '-n', '2', '-s', 'stderr', 'talk.0').stdout == 'err 4\nerr 5\n'
    rows = [json.loads(line) for line in up.cli('logs', '--json', '-s', 'stdout', 'talk.0').stdout.splitlines()]
    assert ''.join(r['text'] if r['text'].endswith('\n') else r['text'] + '\n' for r in rows) == ''.join(
        f'out {i}\n' for i in range(1, 6))
    assert [r['offset'] for r in rows] == sorted(r['offset'] for r in rows) and rows[0]['task'] == 'talk.0'


def follow(up, *arguments):
    env = dict(os.environ, REEVE_ADDR=f'unix:{up.socket}')
    return subprocess.Popen([up.reeve, 'logs', '-f', *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=env, text=True)


def test_logs_follow(up):
    """`logs -f` shows what comes, over runs, and ends quietly with Ctrl-C."""
    up.apply({'tick': {'command': 'echo run $REEVE_RUN; sleep 100000'}})
    up.wait_running('tick', 1)
    reader = follow(up, '-s', 'stdout', 'tick.0')
    try:
        for run in range(1, 4):
            assert reader.stdout.readline() == f'run {run}\n'
            up.cli('restart', 'tick')
        reader.send_signal(signal.SIGINT)
        reader.wait(seconds(20))
        assert reader.returncode in (0, 130, -signal.SIGINT) and reader.stderr.read() == ''
    finally:
        reader.kill()
        reader.communicate()


@pytest.mark.parametrize('part', harness.PARTS)
def test_logs_follow_over_a_crash(up, part):
    """`logs -f` goes on when a part is killed: no line is left out, none is shown twice."""
    up.apply({'count': {'command': 'i=0; while sleep 0.01; do i=$((i+1)); echo $i; done'}})
    up.wait_running('count', 1)
    reader = follow(up, '-s', 'stdout', 'count.0')
    try:
        expected = 0
        for target in (20, 60, 100):
            while expected < target:
                expected += 1
                line = reader.stdout.readline()
                assert line == f'{expected}\n', f'{line!r} instead of {expected}: {reader.poll()}'
            up.wait_ready()
            up.kill(part)
    finally:
        reader.kill()
        reader.communicate()


def test_events(up):
    """Events tell a task's life in order, can be filtered, and are followed as they come."""
    up.apply({'one': {'kind': 'batch', 'command': 'exit 0'}, 'two': {'kind': 'batch', 'command': 'exit 0'}})
    for job in ('one', 'two'):
        up.wait_tasks(job, state='ended')
    kinds = [e['kind'] for e in up.cli_json('events', '--job', 'one')]
    assert kinds[0] == 'job-applied'
    assert [k for k in kinds if k in ('task-started', 'task-ended')] == ['task-started', 'task-ended']
    assert all(e['task'] == 'two.0' for e in up.cli_json('events', '--task', 'two.0'))
    assert 'one' in up.cli('events').stdout
    newest = up.events()[-1]['index']
    connection = harness.Unix(up.socket, seconds(20))
    connection.request('GET', f'/v1/events?after={newest}', headers={'Accept': 'text/event-stream'})
    stream = connection.getresponse()
    up.apply({'three': {'kind': 'batch', 'command': 'exit 4', 'restart': {'policy': 'never'}}})
    seen = []
    while 'task-ended' not in seen:
        line = stream.readline().decode()
        assert line, 'the stream ended'
        if line.startswith('data:'):
            seen.append(json.loads(line[5:])['kind'])
    assert seen[0] == 'job-applied' and 'task-started' in seen
    connection.close()


def test_why(up):
    """`why` answers for a task that failed, a job, and a node; the answer has the reason in it."""
    up.apply({'bad': {'command': 'exit 5', 'restart': {'policy': 'never'}}, 'web': SLEEPER})
    up.wait_tasks('bad', state='ended')
    up.wait_running('web', 1)
    answer = up.cli_json('why', 'bad.0')
    assert set(answer) == {'subject', 'kind', 'summary', 'chain', 'next', 'dossier'}
    assert 'exit code 5' in answer['summary'] and any('exit code 5' in c['message'] for c in answer['chain'])
    for subject in ('bad', 'web.0', up.node):
        assert subject in up.cli('why', subject).stdout


def test_blocking_read(up):
    """A read with index and wait answers when something has changed, not before."""
    connection = harness.Unix(up.socket, seconds(30))
    connection.request('GET', '/v1/jobs')
    answer = connection.getresponse()
    answer.read()
    index = answer.headers['Reeve-Index']
    connection.request('GET', f'/v1/jobs?index={index}&wait=60s')
    began = time.monotonic()
    up.apply({'web': SLEEPER})
    answer = connection.getresponse()
    assert 'web' in answer.read().decode() and answer.headers['Reeve-Index'] != index
    assert time.monotonic() - began < seconds(30)
    connection.close()


def test_schema_and_version(up):
    """`schema job` is a JSON schema, `version` says a version."""
    assert json.loads(up.cli('schema', 'job').stdout)['$schema']
    assert re.search(r'\d+\.\d+', up.cli('version').stdout)


# ---- job files


def test_job_files_are_watched(reeve):
    """A change of a watched directory touches only what changed; a removed file takes its jobs with it."""
    jobs = f'{reeve.dir}/jobs'
    os.mkdir(jobs)
    write(f'{jobs}/a.yaml', 'jobs:\n  a:\n    command: [sleep, 100000]\n  b:\n    command: [sleep, 100000]\n')
    write(f'{jobs}/c.json', {'jobs': {'c': SLEEPER}})
    reeve.up(jobs=jobs)
    for job in 'abc':
        reeve.wait_running(job, 1)
    before = {j: pids(reeve, j)[f'{j}.0'] for j in 'abc'}

    write(f'{jobs}/a.yaml', 'jobs:\n  a:\n    command: [sleep, 100001]\n  b:\n    command: [sleep, 100000]\n')
    reeve.wait_for(lambda: reeve.task('a.0')['version'] == 2 and reeve.task('a.0')['state'] == 'running', 'a, new')
    assert pids(reeve, 'a')['a.0'] != before['a']
    assert pids(reeve, 'b')['b.0'] == before['b'] and pids(reeve, 'c')['c.0'] == before['c']

    write(f'{jobs}/d.yml', 'jobs:\n  d:\n    command: [sleep, 100000]\n')
    reeve.wait_for(lambda: 'd' in reeve.jobs(), 'd is there')
    os.unlink(f'{jobs}/c.json')
    reeve.wait_for(lambda: 'c' not in reeve.jobs(), 'c is gone')
    reeve.wait_for(lambda: not alive(before['c']), 'its process, too')
    write(f'{jobs}/a.yaml', 'jobs:\n  b:\n    command: [sleep, 100000]\n')
    reeve.wait_for(lambda: set(reeve.jobs()) == {'b', 'd'}, 'b and d are left')
    assert pids(reeve, 'b')['b.0'] == before['b'] and alive(before['b'])


def test_a_bad_job_file_disturbs_nothing(reeve):
    """It is reported with file, line and field; what ran before runs on; the repaired file is taken."""
    path = write(f'{reeve.dir}/web.yaml', 'jobs:\n  web:\n    command: [sleep, 100000]\n')
    reeve.up(jobs=path)
    pid = reeve.wait_running('web', 1)[0]['pid']
    write(path, 'jobs:\n  web:\n    command: [sleep, 5]\n    cuont: 2\n')
    reeve.wait_log(r'web\.yaml:4: jobs\.web\.cuont: unknown field; did you mean \\?"count')
    reeve.wait_for(lambda: any(e['kind'] == 'job-refused' and 'cuont' in e['message'] for e in reeve.events()),
                   'an event says so')
    reeve.kill('server')
    reeve.wait_ready()
    assert pids(reeve, 'web') == {'web.0': pid}
    write(path, 'jobs:\n  web:\n    command: [sleep, 100000]\n    count: 2\n')
    reeve.wait_running('web', 2)
    assert pids(reeve, 'web')['web.0'] == pid


def test_a_job_of_a_file_is_changed_there(reeve):
    """apply, scale and remove of a job that a file owns are refused, and say which file."""
    path = write(f'{reeve.dir}/web.yaml', 'jobs:\n  web:\n    command: [sleep, 100000]\n')
    reeve.up(jobs=path)
    reeve.wait_running('web', 1)
    other = write(f'{reeve.dir}/other.json', {'jobs': {'web': {'command': ['sleep', '1']}}})
    for arguments in (['apply', other], ['scale', 'web=2'], ['remove', 'web']):
        done = reeve.cli(*arguments, check=False)
        assert done.returncode == 4 and path in done.stderr, f'{arguments}: {done}'
    assert reeve.task('web.0')['runs'] == 1


def test_what_lasts(reeve):
    """What was applied by hand survives `down` and `up`; what came from a file disappears with it."""
    path = write(f'{reeve.dir}/file.yaml', 'jobs:\n  filed:\n    command: [sleep, 100000]\n')
    reeve.up(jobs=path)
    reeve.apply({'hand': SLEEPER, 'stopped': SLEEPER})
    for job in ('filed', 'hand', 'stopped'):
        reeve.wait_running(job, 1)
    reeve.cli('stop', 'stopped')
    reeve.down()
    assert reeve.await_up_end() == 0 and reeve.nest.descendants() == []
    reeve.up(jobs=[])
    reeve.wait_running('hand', 1)
    reeve.wait_for(lambda: set(reeve.jobs()) == {'hand', 'stopped'}, 'filed is gone')
    assert reeve.task('stopped.0')['state'] == 'ended'
    assert [p for p in reeve.nest.descendants() if harness.cmdline(p)[:1] == ['sleep']] == [
        reeve.task('hand.0')['pid']]


# ---- batch


def test_a_batch_runs_once(reeve):
    """A batch runs to its end once, also over the death of every part, over down and up."""
    reeve.up()
    reeve.apply({'once': {'kind': 'batch', 'count': 3, 'command': [program('exiter'), reeve.notes, '1', '1'],
                          'success_codes': list(range(256)), 'restart': {'policy': 'never'}},
                 'long': {'kind': 'batch', 'command': [program('termer'), reeve.notes, '15', '0', '0']}})
    reeve.wait_tasks('once', state='ended')
    long_pid = reeve.wait_running('long', 1)[0]['pid']
    before = reeve.ps('once')
    for part in harness.PARTS:
        reeve.kill(part)
        reeve.wait_ready()
    reeve.kill_all_parts()
    reeve.up()
    assert reeve.task('long.0')['pid'] == long_pid
    reeve.down()
    reeve.up()
    reeve.wait_running('long', 1)
    assert [(t['id'], t['runs'], t['result'], t['exit_code'], t['signal']) for t in reeve.ps('once')] == [
        (t['id'], 1, t['result'], t['exit_code'], t['signal']) for t in before]
    assert {t: list(r) for t, r in reeve.note_runs('start').items() if t.startswith('once')} == {
        f'once.{i}': [1] for i in range(3)}
    assert reeve.task('long.0')['runs'] == 2, 'it was cut short by `down` and is begun again'


# ---- up and its ends


def test_up_twice(up):
    """A second `up` on the same directory says who is there and ends with 4; nothing is disturbed."""
    up.apply({'web': SLEEPER})
    before = up.wait_running('web', 1)
    keeper = up.pid('keeper')
    done = up.cli('up', '--data', up.data, '--socket', up.socket, check=False)
    assert done.returncode == 4 and str(keeper) in done.stderr and up.data in done.stderr, done
    assert (up.pid('keeper'), up.ps()) == (keeper, before)


def test_term_leaves_the_tasks(reeve):
    """TERM to `up` ends Reeve in order and leaves the tasks; the next `up` takes over the same processes, and the end
    of one that ended in between is told."""
    keeper = reeve.up()
    reeve.apply({'web': dict(SLEEPER, count=3), 'talk': {'command': 'i=0; while sleep 0.01; do i=$((i+1)); echo $i; done'}})
    reeve.wait_running('web', 3)
    reeve.wait_running('talk', 1)
    before = dict(pids(reeve, 'web'), **pids(reeve, 'talk'))
    os.kill(keeper, signal.SIGTERM)  # the child that we began
    assert reeve.await_up_end() == 0
    reeve.wait_gone()
    assert all(alive(p) for p in before.values())
    reeve.up()
    assert dict(pids(reeve, 'web'), **pids(reeve, 'talk')) == before
    assert all(t['runs'] == 1 for t in reeve.ps())
    reeve.cli('stop', 'talk')
    numbers = [int(n) for n in reeve.log_text('talk.0').split()]
    assert numbers == list(range(1, len(numbers) + 1)), 'no line is lost or doubled'


@pytest.mark.parametrize('way', ['down', 'ctrl-c'])
def test_down_and_ctrl_c(reeve, way):
    """`down`, and SIGINT to the foreground group, stop the tasks in order with their own signal and grace, then end
    everything with exit status 0."""
    keeper = reeve.up()
    reeve.apply({'slow': {'command': [program('termer'), reeve.notes, '15', '300', '0'], 'count': 2},
                 'fork': {'command': [program('forker'), reeve.notes, '2'], 'stop': {'grace': '500ms'}}})
    reeve.wait_running('slow', 2)
    reeve.wait_running('fork', 1)
    reeve.wait_for(lambda: all(reeve.note(f'slow.{i}', 1, 'start') for i in range(2)) and reeve.note(
        'fork.0', 1, 'children'), 'they have begun')
    if way == 'down':
        reeve.cli('down')
    else:
        os.killpg(os.getpgid(keeper), signal.SIGINT)  # the session that our child leads
    assert reeve.await_up_end() == 0
    reeve.wait_for(lambda: not reeve.nest.descendants(), 'nothing is left')
    for i in range(2):
        assert reeve.note(f'slow.{i}', 1, 'told') == '15\n'
    reeve.up()
    ended = [e for e in reeve.events() if e['kind'] == 'task-ended' and e['job'] == 'slow']
    assert sorted(e['task'] for e in ended) == ['slow.0', 'slow.1'], 'the ends are known, once'
    assert all('exit code 0' in e['message'] for e in ended)
    reeve.wait_running('slow', 2)


def test_detached(reeve):
    """`up --detach` returns when it answers and leaves everything running; `down` ends it."""
    done = reeve.cli('up', '--detach', '--data', reeve.data, '--socket', reeve.socket)
    try:
        assert reeve.socket in done.stdout
        assert reeve.api('GET', '/v1/jobs') == []
    finally:
        reeve.cli('down')


def test_listen_needs_a_token(reeve):
    """With --listen the API is on TCP too, and there only with the token."""
    reeve.up('--listen', '127.0.0.1:0')
    address = reeve.wait_log(r'http://127\.0\.0\.1:(\d+)|127\.0\.0\.1:(\d+)')
    port = reeve.api('GET', '/v1/version')['listen'].rsplit(':', 1)[1]
    assert address
    with open(f'{reeve.data}/token') as f:
        token = f.read().strip()
    assert os.stat(f'{reeve.data}/token').st_mode & 0o077 == 0
    for env, status in [({'REEVE_TOKEN': token}, 0), ({'REEVE_TOKEN': 'wrong'}, 5), ({'REEVE_TOKEN': ''}, 5)]:
        done = reeve.cli('ps', check=False, env=dict(env, REEVE_ADDR=f'http://127.0.0.1:{port}'))
        assert done.returncode == status, f'{env}: {done}'
