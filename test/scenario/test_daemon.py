# SPDX-License-Identifier: BSD-3-Clause
"""Programs that fork themselves away and write their own pid file, and pid files that Reeve writes."""
import os
import re
import signal
import subprocess
import time

import pytest

import reeve as harness
from reeve import program

DAEMON = program('daemon')


def alive(pid):
    stat = harness.proc_stat(pid)
    return stat is not None and stat[0] not in 'ZX'


def pid_in(path):
    try:
        with open(path) as f:
            return int(f.read())
    except (FileNotFoundError, ValueError):
        return None


def daemon(up, name, delay=0, life=0, children=0, **more):
    """The spec of a daemon; its file is DIR/NAME.pid."""
    path = os.path.join(up.dir, f'{name}.pid')
    more.setdefault('restart', {'policy': 'never'})
    return {'command': [DAEMON, up.notes, path, str(delay), str(life), str(children)],
            'daemon': {'pid_file': path, **more.pop('daemon', {})}, **more}, path


def await_daemon(up, task, path, deadline=60):
    """The task runs, and its process is the one in the file."""
    def there():
        t = up.task(task)
        return t['state'] == 'running' and t['pid'] is not None and t['pid'] == pid_in(path)
    up.wait_for(there, f'the process of {task} is that in {path}', deadline)
    return up.task(task)


def test_a_daemon_is_the_process_of_the_task(up):
    """The pid of the file is the task's; it is ready then, not before; its output is captured; the end is known."""
    spec, path = daemon(up, 'd', delay=300, life=1500)
    up.apply({'d': spec})
    task = await_daemon(up, 'd.0', path)
    assert task['ready']
    assert str(task['pid']) in up.note('d.0', 1, 'start')
    ended = up.wait_tasks('d', state='ended')[0]
    assert ended['result'] == 'failed' and f'exit code {ended["exit_code"]}\n' == up.note('d.0', 1, 'end')
    assert f'daemon {task["pid"]}\n' in up.log_text('d.0')
    assert not os.path.exists(path), 'the file is removed with the process'
    why = up.cli('why', 'd.0').stdout
    assert f'run 1 is process {task["pid"]}, as daemon.pid_file has it' in why


def test_stop_goes_to_the_daemon_and_the_rest_is_killed(up):
    spec, path = daemon(up, 'd', children=2)
    up.apply({'d': spec})
    pid = await_daemon(up, 'd.0', path)['pid']
    children = [int(p) for p in up.note('d.0', 1, 'children').split()]
    assert all(map(alive, children))
    up.cli('stop', 'd')
    assert up.wait_tasks('d', state='ended')[0]['exit_code'] == 0
    assert up.note('d.0', 1, 'end') == 'exit code 0\n'
    up.wait_for(lambda: not any(map(alive, [pid, *children])), 'all that the daemon left is gone')


def test_a_daemon_that_ends_is_begun_again(up):
    spec, path = daemon(up, 'd', restart={'policy': 'always', 'delay': '10ms'})
    up.apply({'d': spec})
    first = await_daemon(up, 'd.0', path)['pid']
    os.kill(first, signal.SIGKILL)
    up.wait_for(lambda: up.task('d.0')['runs'] == 2, 'it runs again')
    second = await_daemon(up, 'd.0', path)['pid']
    assert second != first
    assert 'killed by KILL' in up.cli('why', 'd.0').stdout
    up.cli('signal', 'd.0', 'TERM')
    up.wait_for(lambda: up.task('d.0')['runs'] == 3, 'the signal came to the daemon')


def test_a_shell_that_leaves_a_process_behind(up):
    """No session of its own, no second fork: the process stays in the group of the shell that has ended."""
    path = os.path.join(up.dir, 'sh.pid')
    up.apply({'sh': {'command': f'sleep 100000 & echo $! > {path}', 'daemon': {'pid_file': path}}})
    pid = await_daemon(up, 'sh.0', path)['pid']
    assert harness.cmdline(pid) == ['sleep', '100000']
    up.cli('stop', 'sh')
    up.wait_tasks('sh', state='ended')
    assert not alive(pid)


def test_what_goes_wrong_is_named(up):
    none, _ = daemon(up, 'none', daemon={'timeout': '700ms'})
    none['daemon']['pid_file'] += '.not'
    stays = {'command': ['sleep', '100000'], 'restart': {'policy': 'never'},
             'daemon': {'pid_file': '/nonexistent', 'timeout': '300ms'}}
    stranger = {'command': f'(sleep 100000 &) ; echo 1 > {up.dir}/x.pid ; echo {os.getpid()} > {up.dir}/x.pid',
                'restart': {'policy': 'never'}, 'daemon': {'pid_file': f'{up.dir}/x.pid', 'timeout': '700ms'}}
    up.apply({'none': none, 'stays': stays, 'stranger': stranger,
              'empty': {**stays, 'command': 'true', 'daemon': {'pid_file': '/nonexistent'}},
              'bad': {**stays, 'command': 'exit 3'}})
    expected = {'none': 'none.pid.not named no process of the run within 700ms (daemon)',
                'stays': 'did not fork itself away and end within 300ms (daemon.timeout)',
                'stranger': 'x.pid named no process of the run within 700ms',
                'bad': 'exit code 3'}
    for job, text in expected.items():
        task = up.wait_tasks(job, state='ended')[0]
        assert task['result'] == 'failed' and text in task['reason'] + up.cli('why', f'{job}.0').stdout, task
    why = up.cli('why', 'empty.0').stdout
    up.wait_for(lambda: 'left no process behind' in up.cli('why', 'empty.0').stdout or 'named no process' in
                up.cli('why', 'empty.0').stdout, f'the command left nothing: {why}')
    left = [p for p in up.nest.descendants() if harness.cmdline(p) == ['sleep', '100000']]
    up.wait_for(lambda: not any(map(alive, left)), 'what they left behind is gone')


@pytest.mark.parametrize('delay', [0, 1500], ids=['found', 'awaited'])
@pytest.mark.parametrize('parts', [['agent'], ['keeper'], ['agent', 'keeper'], ['agent', 'keeper', 'server']],
                         ids=lambda p: '+'.join(p))
def test_kill_9_beside_a_daemon(up, parts, delay):
    """Whoever is killed while a daemon starts or runs: it is neither killed nor begun twice, and is found."""
    spec, path = daemon(up, 'd', delay=delay)
    up.apply({'d': spec})
    up.wait_for(lambda: up.note('d.0', 1, 'start'), 'it has begun')
    if delay == 0:
        await_daemon(up, 'd.0', path)
    pid = int(up.note('d.0', 1, 'start').split()[0])
    for part in parts:
        up.kill(part)
    if len(parts) == 3:
        up.start_up()
    up.wait_ready()
    task = await_daemon(up, 'd.0', path)
    assert task['pid'] == pid and task['runs'] == 1
    up.cli('stop', 'd')
    ended = up.wait_tasks('d', state='ended')[0]
    assert up.note('d.0', 1, 'end') == 'exit code 0\n'
    assert not alive(pid) and ended['runs'] == 1


def test_kill_9_at_any_instant_of_daemons_that_come_and_go(up):
    """Daemons that live for moments while the agent is killed: no two of a task at once, each end as it was."""
    jobs = {}
    for i in range(8):
        jobs[f'd{i}'], _ = daemon(up, f'd{i}', delay=i * 7, life=30 + 40 * i,
                                  restart={'policy': 'always', 'delay': '5ms', 'max_delay': '5ms', 'burst': 0})
    up.apply(jobs)
    for i in range(12):
        time.sleep(0.05 + 0.013 * i)
        up.kill('agent')
        if i % 4 == 3:
            up.kill('keeper')
        up.wait_ready()
    up.wait_for(lambda: all(t['runs'] >= 10 for t in up.ps()), 'they run on')
    for name in jobs:
        up.cli('stop', name)
    for name in jobs:
        up.wait_tasks(name, state='ended')
    notes = os.listdir(up.notes)
    assert not [n for n in notes if '.overlap' in n or '.double' in n]


def start_elsewhere(path, *command):
    """A process that Reeve has not begun, whose pid is in the file."""
    process = subprocess.Popen(command, start_new_session=True)
    with open(path, 'w') as f:
        f.write(f'{process.pid}\n')
    return process


def test_a_living_process_is_adopted(up):
    path = os.path.join(up.dir, 'd.pid')
    spec, _ = daemon(up, 'd', daemon={'adopt': True}, restart={'policy': 'always', 'delay': '10ms'})
    process = start_elsewhere(path, 'sleep', '100000')
    try:
        up.apply({'d': spec})
        task = await_daemon(up, 'd.0', path)
        assert task['pid'] == process.pid and task['ready']
        assert 'which was there already' in up.cli('why', 'd.0').stdout
        up.kill('agent')
        up.wait_ready()
        assert up.task('d.0')['pid'] == process.pid and up.task('d.0')['runs'] == 1
        process.kill()
        process.wait()
        up.wait_for(lambda: up.task('d.0')['runs'] == 2, 'its end is seen, and a new one begun')
        assert await_daemon(up, 'd.0', path)['pid'] != process.pid
    finally:
        process.kill()
        process.wait()


def test_an_adopted_process_is_stopped(up):
    path = os.path.join(up.dir, 'd.pid')
    spec, _ = daemon(up, 'd', daemon={'adopt': True})
    process = start_elsewhere(path, 'sleep', '100000')
    try:
        up.apply({'d': spec})
        await_daemon(up, 'd.0', path)
        up.cli('stop', 'd')
        up.wait_for(lambda: process.poll() is not None, 'it was told to end')
        assert process.returncode == -signal.SIGTERM
        up.wait_tasks('d', state='ended')
    finally:
        process.kill()
        process.wait()


def test_what_is_not_adopted(up):
    """A number that was given away since, a process of Reeve's, one of another task."""
    up.apply({'other': {'command': ['sleep', '100000']}})
    other = up.wait_running('other', 1)[0]['pid']
    process = subprocess.Popen(['sleep', '100000'], start_new_session=True)
    try:
        for name, pid, why in [('old', process.pid, 'younger than the file'), ('own', up.pid('agent'), 'part of Reeve'),
                               ('others', other, "another task's")]:
            spec, path = daemon(up, name, daemon={'adopt': True})
            with open(path, 'w') as f:
                f.write(str(pid))
            if name == 'old':
                os.utime(path, (time.time() - 3600,) * 2)
            up.apply({name: spec})
            assert await_daemon(up, f'{name}.0', path)['pid'] != pid
            assert f'process {pid}' in up.log() and why in up.log()
        assert alive(other) and alive(process.pid) and up.pid('agent')
    finally:
        process.kill()
        process.wait()


def test_reeve_writes_a_pid_file(up):
    """Written for the run, also by an agent that comes later, and removed with it."""
    path = os.path.join(up.dir, 'web.%d.pid')
    up.apply({'web': {'command': ['sleep', '100000'], 'count': 2,
                      'pid_file': os.path.join(up.dir, 'web.${task.index}.pid')}})
    pids = [t['pid'] for t in up.wait_running('web', 2)]
    for i in range(2):
        up.wait_for(lambda: pid_in(path % i) in pids, 'the file has the pid')
        os.unlink(path % i)
    up.kill('agent')
    up.wait_ready()
    for i in range(2):
        up.wait_for(lambda: pid_in(path % i) in pids, 'the next agent writes it again')
    up.cli('stop', 'web')
    up.wait_tasks('web', state='ended')
    up.wait_for(lambda: not os.path.exists(path % 0) and not os.path.exists(path % 1), 'the files are gone')


def test_a_pid_file_that_cannot_be_written(up):
    up.apply({'web': {'command': ['sleep', '100000'], 'pid_file': '/nonexistent/web.pid',
                      'restart': {'policy': 'never'}}})
    task = up.wait_tasks('web', state='ended')[0]
    assert task['result'] == 'failed' and 'pid_file: ' in task['reason'] and 'No such file' in task['reason']


def test_the_example(up):
    """examples/daemon.yaml is taken as it is, and does what its comments say."""
    up.cli('apply', os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../examples/daemon.yaml'))
    await_daemon(up, 'forks.0', '/tmp/reeve-example-forks.0.pid')
    for task in up.wait_running('stays', 2):
        up.wait_for(lambda: pid_in(f'/tmp/reeve-example-{task["id"]}.pid') == task['pid'], 'the file is there')
    up.down()
    assert not [n for n in os.listdir('/tmp') if re.match(r'reeve-example-(forks|stays)\.', n)]
