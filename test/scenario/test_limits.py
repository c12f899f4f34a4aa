# SPDX-License-Identifier: BSD-3-Clause
"""What a process is given, and what all processes of a task may use together. The same on cgroups of version 1, of
version 2 (test/vm) and of both; what the machine cannot limit is skipped, with its name."""
import grp
import os
import re
import signal
import time

import pytest

import cgroups
import reeve as harness
from reeve import program

SLEEPER = {'command': ['sleep', '100000']}
EATER = program('eater')


def alive(pid):
    stat = harness.proc_stat(pid)
    return stat is not None and stat[0] not in 'ZX'


def running(up, job):
    return up.wait_running(job, 1)[0]['pid']


def stop(up, job):
    up.cli('stop', job)
    up.wait_tasks(job, state='ended')


def need(up, *words):
    missing = set(words) - cgroups.enforced(up)
    if missing:
        pytest.skip(f'this machine has no writable cgroup controllers for: {" ".join(sorted(missing))}')


def may_raise_limits():
    with open('/proc/self/status') as f:
        capabilities = int(re.search(r'CapEff:\t(\w+)', f.read())[1], 16)
    return capabilities >> 24 & 1  # CAP_SYS_RESOURCE


def marked(up, mark):
    """Processes below the nest that sleep for so long."""
    return [p for p in up.nest.descendants() if harness.cmdline(p) == ['sleep', mark]]


# ---- what one process is given


def test_a_process_gets_what_its_spec_says(up):
    """nice, io, cpus, oom_score, umask, groups and resource limits are there when the program begins."""
    cpu = max(os.sched_getaffinity(0))
    up.apply({'given': {**SLEEPER, 'nice': 7, 'io': {'class': 'best-effort', 'level': 6}, 'cpus': str(cpu),
                        'oom_score': 321, 'umask': '027', 'groups': ['daemon', 12345],
                        'limits': {'files': 77, 'core': 0, 'stack': '1MiB', 'file_size': 'unlimited',
                                   'locked_memory': '64KiB', 'processes': 999, 'address_space': '1GiB'}}})
    pid = running(up, 'given')
    with open(f'/proc/{pid}/stat') as f:
        assert f.read().rpartition(')')[2].split()[16] == '7', 'nice'
    with open(f'/proc/{pid}/status') as f:
        status = dict(line.rstrip('\n').split(':\t', 1) for line in f if ':\t' in line)
    assert status['Umask'] == '0027'
    assert status['Cpus_allowed_list'] == str(cpu)
    assert sorted(map(int, status['Groups'].split())) == sorted([grp.getgrnam('daemon').gr_gid, 12345])
    with open(f'/proc/{pid}/oom_score_adj') as f:
        assert f.read().strip() == '321'
    with open(f'/proc/{pid}/limits') as f:
        limits = {line[:25].strip(): line[25:].split()[:2] for line in f}
    assert limits['Max open files'] == ['77', '77']
    assert limits['Max core file size'] == ['0', '0']
    assert limits['Max stack size'] == ['1048576', '1048576']
    assert limits['Max file size'] == ['unlimited', 'unlimited']
    assert limits['Max locked memory'] == ['65536', '65536']
    assert limits['Max processes'] == ['999', '999']
    assert limits['Max address space'] == ['1073741824', '1073741824']


def test_what_cannot_be_given_is_named(up):
    """A start that fails at a limit says at which."""
    up.apply({'where': {**SLEEPER, 'cpus': '4095', 'restart': {'policy': 'never'}},
              'who': {**SLEEPER, 'groups': ['no-such-group'], 'restart': {'policy': 'never'}}})
    assert 'cpus: run on those only: Invalid argument' in up.wait_tasks('where', state='ended')[0]['reason']
    assert 'groups: there is no group "no-such-group"' in up.wait_tasks('who', state='ended')[0]['reason']


# ---- all processes of a task together


def test_limits_stand_in_the_groups(up):
    """Every limit that this machine has is set where the kernel looks."""
    words = cgroups.enforced(up)
    if not words:
        pytest.skip('this machine has no writable cgroup controllers')
    up.apply({'all': {**SLEEPER, 'limits': {'memory': '64MiB', 'swap': 0, 'cpu': 0.5, 'cpu_weight': 200, 'pids': 9,
                                            'io_weight': 50}}})
    pid = running(up, 'all')
    if 'memory' in words:
        assert cgroups.value(pid, 'memory', 'memory.max', 'memory.limit_in_bytes') == str(64 << 20)
    if 'swap' in words:
        assert cgroups.value(pid, 'memory', 'memory.swap.max', 'memory.memsw.limit_in_bytes') in ('0', str(64 << 20))
    if 'cpu' in words:
        assert cgroups.value(pid, 'cpu', 'cpu.max', 'cpu.cfs_quota_us') in ('50000 100000', '50000')
        assert cgroups.value(pid, 'cpu', 'cpu.weight', 'cpu.shares') in ('200', '2048')
    if 'pids' in words:
        assert cgroups.value(pid, 'pids', 'pids.max', 'pids.max') == '9'
    if 'io' in words:
        assert '50' in cgroups.value(pid, 'io', 'io.weight', 'blkio.bfq.weight')
    stop(up, 'all')
    up.wait_for(lambda: not cgroups.groups_of(up, 'all.0'), 'its groups are gone')


def test_pids_are_limited(up):
    need(up, 'pids')
    up.apply({'fork': {'command': 'for i in 1 2 3 4 5 6 7 8 9; do sleep 100000 & done; wait',
                       'limits': {'pids': 5}, 'restart': {'policy': 'never'}}})
    up.wait_for(lambda: re.search(r'fork|Resource', up.log_text('fork.0', 'stderr')), 'the shell says it cannot fork')
    assert len([p for p in up.nest.descendants() if harness.cmdline(p) == ['sleep', '100000']]) <= 5


def test_cpu_time_is_limited(up):
    """A loop with a tenth of a core gets about that much, and never half of one."""
    need(up, 'cpu')
    up.apply({'spin': {'command': ['sh', '-c', 'while :; do :; done'], 'limits': {'cpu': 0.1}}})
    pid = running(up, 'spin')

    def used():
        with open(f'/proc/{pid}/stat') as f:
            fields = f.read().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    begun, before = time.monotonic(), used()
    up.wait_for(lambda: time.monotonic() - begun > 2, 'two seconds have gone by')
    share = (used() - before) / (time.monotonic() - begun)
    assert share < 0.3, f'it got {share:.2f} of a core'


def test_nothing_escapes_a_stop(up):
    """A process in a session of its own, which nobody is the parent of, ends with its task."""
    up.apply({'run': {'command': ['sh', '-c', 'setsid -f sleep 100001; setsid -f sleep 100001; exec sleep 100002']}})
    running(up, 'run')
    up.wait_for(lambda: len(marked(up, '100001')) == 2, 'two have gone away')
    stop(up, 'run')
    up.wait_for(lambda: not marked(up, '100001') and not marked(up, '100002'), 'nobody is left')
    up.wait_for(lambda: not cgroups.groups_of(up, 'run.0'), 'its groups are gone')


@pytest.mark.parametrize('delay', ['10ms', '0s'])
def test_nothing_escapes_the_end_of_a_run(up, delay):
    """A run that ends by itself takes those along that went away; no two runs overlap."""
    up.apply({'leave': {'command': ['sh', '-c', 'pgrep -f "^sleep 100003" && echo overlap; setsid -f sleep 100003; exit 1'],
                        'restart': {'delay': delay, 'burst': 4}}})
    assert up.wait_tasks('leave', state='ended')[0]['runs'] == 4
    up.wait_for(lambda: not marked(up, '100003'), 'nobody is left')
    assert 'overlap' not in up.log_text('leave.0')


def test_a_run_that_follows_at_once_gets_the_group(up):
    """To remove it and to make it anew would take longer than all the rest; it goes when no run follows."""
    up.apply({'again': {**SLEEPER, 'restart': {'policy': 'always', 'delay': '0s', 'burst': 0}}})
    pid = running(up, 'again')
    group = cgroups.of(pid).get('')
    if group is None or not group.endswith('/tasks/again.0'):
        pytest.skip('no groups of version 2 here')
    made = os.stat(group).st_ino
    os.kill(pid, signal.SIGKILL)
    up.wait_for(lambda: up.task('again.0')['runs'] == 2 and up.task('again.0')['state'] == 'running', 'the next run')
    assert cgroups.of(up.task('again.0')['pid'])[''] == group and os.stat(group).st_ino == made
    stop(up, 'again')
    up.wait_for(lambda: not cgroups.groups_of(up, 'again.0'), 'its groups are gone')


def test_groups_outlive_the_agent(up):
    """Another agent finds the groups of the tasks, and what had gone away ends with its task still."""
    up.apply({'keep': {'command': ['sh', '-c', 'setsid -f sleep 100004; exec sleep 100005'],
                       'limits': {'memory': '64MiB'} if 'memory' in cgroups.enforced(up) else {}}})
    pid = running(up, 'keep')
    groups = cgroups.of(pid)
    up.wait_for(lambda: marked(up, '100004'), 'one has gone away')
    up.kill('agent')
    up.wait_ready()
    assert running(up, 'keep') == pid and cgroups.of(pid) == groups
    stop(up, 'keep')
    up.wait_for(lambda: not marked(up, '100004'), 'nobody is left')
    up.wait_for(lambda: not cgroups.groups_of(up, 'keep.0'), 'its groups are gone')


def test_what_a_killed_agent_left_is_killed(up):
    """A task that ended while nobody was there: the next agent ends what the run left behind."""
    up.apply({'gone': {'command': ['sh', '-c', 'setsid -f sleep 100006; exec sleep 100007'],
                       'restart': {'policy': 'never'}}})
    pid = running(up, 'gone')
    up.wait_for(lambda: marked(up, '100006'), 'one has gone away')
    up.kill_all_parts()
    os.kill(pid, signal.SIGKILL)
    up.up()
    up.wait_tasks('gone', state='ended')
    up.wait_for(lambda: not marked(up, '100006'), 'nobody is left')


def test_two_reeves_have_groups_of_their_own(new_reeve):
    """The same job on two Reeves of one machine: the end of one is not the end of the other."""
    pids, reeves = [], [new_reeve(), new_reeve()]
    for r in reeves:
        r.up()
        r.apply({'same': SLEEPER})
        pids.append(running(r, 'same'))
    assert cgroups.of(pids[0]) != cgroups.of(pids[1])
    stop(reeves[0], 'same')
    assert not alive(pids[0]) and alive(pids[1])
    reeves[0].down()
    assert alive(pids[1])


def test_down_leaves_no_group(up):
    up.apply({'a': SLEEPER, 'b': {**SLEEPER, 'limits': {'pids': 50, 'memory': '64MiB'}}})
    running(up, 'a'), running(up, 'b')
    with open(os.path.join(up.data, 'node/cgroups')) as f:
        roots = f.read().split()
    up.down()
    left = [path for root in roots for path, _, _ in os.walk(root) if not path.endswith('/self')]
    assert [p for p in left if p not in roots] == []


EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../examples/limits.yaml')


def test_the_example_runs(up):
    """examples/limits.yaml is taken as it is, and does what its comments say."""
    up.cli('apply', EXAMPLE)
    pid = running(up, 'worker')
    with open(f'/proc/{pid}/limits') as f:
        assert re.search(r'Max open files +256 +256', f.read())
    up.wait_tasks('report', state='ended', result='succeeded')
    assert 'done' in up.log_text('report.0')


# ---- live change


def test_limits_change_without_a_new_run(up):
    """A limit that is changed, added or taken off reaches the process that is there."""
    words = cgroups.enforced(up)
    job = {**SLEEPER, 'limits': {'files': 100, 'memory': '64MiB'}}
    up.apply({'live': job})
    pid = running(up, 'live')

    def files():
        with open(f'/proc/{pid}/limits') as f:
            return re.search(r'Max open files +(\d+) +(\d+)', f.read()).groups()

    before = files()
    assert before == ('100', '100')
    up.apply({'live': {**job, 'limits': {'files': 50, 'memory': '32MiB', 'pids': 30}}})
    up.wait_for(lambda: files() == ('50', '50'), 'fewer files')
    if 'memory' in words:
        up.wait_for(lambda: cgroups.value(pid, 'memory', 'memory.max', 'memory.limit_in_bytes') == str(32 << 20),
                    'less memory')
    if 'pids' in words:
        up.wait_for(lambda: cgroups.value(pid, 'pids', 'pids.max', 'pids.max') == '30', 'fewer processes')
    up.apply({'live': SLEEPER})
    if may_raise_limits():
        up.wait_for(lambda: files() not in (('50', '50'), before), 'files as the agent has them')
    else:
        up.wait_log('limits.files: change it for process')
    if 'memory' in words:
        up.wait_for(lambda: cgroups.value(pid, 'memory', 'memory.max', 'memory.limit_in_bytes') not in (
            str(32 << 20), str(64 << 20)), 'no limit of memory')
    assert up.task('live.0')['runs'] == 1 and running(up, 'live') == pid


def test_the_first_limit_comes_to_a_run_without_any(up):
    """A run that was begun without limits is moved to where it can have some, with all its processes."""
    need(up, 'pids')
    up.apply({'first': {'command': ['sh', '-c', 'setsid -f sleep 100008; exec sleep 100009']}})
    pid = running(up, 'first')
    other = up.wait_for(lambda: marked(up, '100008'), 'one has gone away')[0]
    up.apply({'first': {'command': ['sh', '-c', 'setsid -f sleep 100008; exec sleep 100009'], 'limits': {'pids': 40}}})
    up.wait_for(lambda: all(cgroups.value(p, 'pids', 'pids.max', 'pids.max') == '40' for p in (pid, other)),
                'both are limited')
    stop(up, 'first')
    up.wait_for(lambda: not alive(pid) and not alive(other), 'nobody is left')


# ---- out of memory, and out of time


def why(up, task):
    return up.cli('why', task).stdout


def test_out_of_memory_is_named(up):
    """Reason, event and `reeve why` say that memory was the cause, who was killed, and how much it had."""
    need(up, 'memory')
    up.apply({'eat': {'command': [EATER, str(200 << 20)], 'limits': {'memory': '32MiB', 'swap': 0},
                      'restart': {'policy': 'never'}}})
    task = up.wait_tasks('eat', state='ended')[0]
    assert task['signal'] == 'KILL' and 'out of memory' in task['reason'] and '32MiB' in task['reason'], task
    ended = [e['message'] for e in up.events() if e['kind'] == 'task-ended']
    assert len(ended) == 1 and 'out of memory' in ended[0], ended
    peak = float(re.search(r'peak ([0-9.]+)MiB', ended[0])[1])
    assert 24 <= peak <= 33, ended
    assert 'out of memory' in why(up, 'eat.0')
    if os.access('/dev/kmsg', os.R_OK):
        assert re.search(r'out of memory: eater \(pid \d+\) was killed at the limit of 32MiB', ended[0]), ended


def test_out_of_memory_of_a_child_is_named(up):
    """The kernel kills a child, its parent ends by itself: that is told as well."""
    need(up, 'memory')
    up.apply({'eat': {'command': [EATER, str(200 << 20), 'child'], 'limits': {'memory': '32MiB', 'swap': 0},
                      'restart': {'policy': 'never'}}})
    task = up.wait_tasks('eat', state='ended')[0]
    assert task['exit_code'] == 7 and 'exit code 7, out of memory' in task['reason'], task


def test_what_a_run_has_used_is_told(up):
    """Peak of memory and CPU time of a run that has ended stand in its event, without any limit, too."""
    up.apply({'use': {'command': [EATER, str(300 << 20)], 'restart': {'policy': 'never'}, 'stop': {'signal': 'KILL'}}})
    up.wait_for(lambda: 'full' in up.log_text('use.0'), 'it has its memory')
    stop(up, 'use')
    ended = [e['message'] for e in up.events() if e['kind'] == 'task-ended']
    found = re.fullmatch(r'run 1 ended: killed by KILL after [^,]+, peak ([0-9.]+)MiB, CPU [^,:]+', ended[0])
    assert found and 300 <= float(found[1]) < 400, ended


def test_a_run_has_only_so_much_time(up):
    """A run that lasts longer than it may is stopped, which is a failure; another agent counts on."""
    up.apply({'long': {**SLEEPER, 'max_run_time': '1s', 'restart': {'delay': '10ms', 'burst': 2}}})
    pid = running(up, 'long')
    up.kill('agent')
    task = up.wait_tasks('long', state='ended')[0]
    assert task['runs'] == 2 and 'lasted longer than max_run_time of 1s' in task['reason'], task
    assert not alive(pid)


def test_the_time_a_run_has_changes_while_it_runs(up):
    up.apply({'long': {**SLEEPER, 'restart': {'policy': 'never'}}})
    running(up, 'long')
    up.apply({'long': {**SLEEPER, 'max_run_time': '200ms', 'restart': {'policy': 'never'}}})
    assert 'max_run_time of 200ms' in up.wait_tasks('long', state='ended')[0]['reason']


# ---- without rights


@pytest.fixture
def rootless(reeve):
    """A Reeve of a user who may make no cgroups."""
    if os.geteuid() != 0:
        reeve.up()
        return reeve
    for path in (reeve.dir, reeve.notes, reeve.bin):
        os.chown(path, 65534, 65534)
    real = reeve.reeve
    reeve.reeve = os.path.join(reeve.bin, 'as-nobody')
    with open(reeve.reeve, 'w') as f:
        f.write(f'#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups {real} "$@"\n')
    os.chmod(reeve.reeve, 0o755)
    reeve.up()
    reeve.reeve = real
    return reeve


def test_without_rights_it_is_said_and_watched(rootless):
    """What cannot be limited is said once at the start; memory is watched, and who is over the limit is stopped."""
    up = rootless
    if 'memory' in cgroups.enforced(up):
        pytest.skip('this user has writable cgroup controllers')
    up.wait_log(r'limits that are not enforced on this node: memory.*memory is watched instead')
    up.apply({'again': {'command': [EATER, str(64 << 20)], 'limits': {'memory': '16MiB'},
                        'restart': {'delay': '10ms', 'burst': 2}},
              'once': {'command': [EATER, str(64 << 20), 'child'], 'limits': {'memory': '16MiB', 'over': 'end'}},
              'small': {**SLEEPER, 'limits': {'memory': '16MiB'}}})
    task = up.wait_tasks('again', state='ended')[0]
    assert task['runs'] == 2 and re.search(r'has \d+\.\dMiB of memory, the limit is 16MiB', task['reason']), task
    task = up.wait_tasks('once', state='ended')[0]
    assert task['runs'] == 1 and task['result'] == 'failed' and 'the limit is 16MiB' in task['reason'], task
    assert up.task('small.0')['state'] == 'running' and up.task('small.0')['runs'] == 1


def test_the_session_is_killed_without_cgroups(rootless):
    """Where no cgroup can be made, the process group is what ends with a task, as ever."""
    up = rootless
    up.apply({'run': {'command': ['sh', '-c', 'sleep 100010 & exec sleep 100011']}})
    running(up, 'run')
    up.wait_for(lambda: marked(up, '100010'), 'it has a child')
    stop(up, 'run')
    up.wait_for(lambda: not marked(up, '100010') and not marked(up, '100011'), 'nobody is left')


def test_a_run_that_follows_a_kill_lives(up):
    """A group that was killed with cgroup.kill kills whoever is born into it (Linux 6.18): the next run gets another."""
    def deaf(version):
        return {'deaf': {'command': ['/bin/sh', '-c', f'trap "" TERM; echo > {up.dir}/{version}; while :; do sleep 0.05; done'],
                         'stop': {'grace': '200ms'}}}
    for run, version in enumerate(('one', 'two', 'three', 'four'), 1):
        up.apply(deaf(version))
        up.wait_for(lambda: os.path.exists(f'{up.dir}/{version}'), f'run {run} is at work')
        task = up.wait_running('deaf', 1)[0]
        assert (task['runs'], task['version']) == (run, run)
    ends = [e['message'] for e in up.events() if e['kind'] == 'task-ended']
    assert len(ends) == 3 and all('killed by KILL' in e for e in ends), ends
