# SPDX-License-Identifier: BSD-3-Clause
"""Dossiers: what is known of a run that has failed, whoever was killed while it was gathered."""
import os
import random
import re
import signal

import pytest

import cgroups
import reeve as harness
from reeve import program

ONCE = {'restart': {'policy': 'never'}}


def dossiers(up, task):
    return up.ask('GET', f'/v1/tasks/{task}/dossiers')


def failed(up, job):
    return up.wait_tasks(job, state='ended', result='failed')[0]


def test_it_tells_status_and_last_lines(up):
    """Exit 127 of a shell: its meaning, the last 20 lines of each stream, and where they begin."""
    up.apply({'shell': {'command': 'i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; no-such-program',
                        'success_codes': [0], **ONCE}})
    failed(up, 'shell')
    d, = dossiers(up, 'shell.0')
    assert (d['run'], d['version'], d['exit_code'], d['signal'], d['how']) == (1, 1, 127, None, 'exit code 127')
    assert 'command that it does not find' in d['meaning']
    assert d['stdout'].splitlines() == [f'line {i}' for i in range(80, 100)]
    assert up.log_text('shell.0')[d['stdout_from']:] == d['stdout']
    assert 'no-such-program' in d['stderr']
    assert d['good_run'] is None and d['core_dumped'] is False
    why = up.cli('why', 'shell.0').stdout
    assert 'That means: a shell says so of a command that it does not find' in why
    assert '  line 99\n' in why and 'line 79\n' not in why
    assert up.cli('why', 'shell.0', '--run', '1').stdout in why
    assert up.cli('why', 'shell.0', '--run', '2', check=False).returncode != 0
    assert up.cli_json('why', 'shell.0', '--json')['dossier'] == d
    event, = [e for e in up.events() if e['kind'] == 'task-ended']
    assert event['failure'] == 'failed'


def test_long_lines_are_cut(up):
    up.apply({'long': {'command': 'head -c 100000 /dev/zero | tr "\\0" x >&2; printf "\\nthe end" >&2; exit 70', **ONCE}})
    failed(up, 'long')
    d, = dossiers(up, 'long.0')
    assert d['stderr'] == 'the end' and 'EX_SOFTWARE' in d['meaning'] and d['stdout'] is None


def test_a_program_that_cannot_begin(up):
    up.apply({'none': {'command': ['/no/such/program'], **ONCE}})
    failed(up, 'none')
    d, = dossiers(up, 'none.0')
    assert d['lasted'] is None and '/no/such/program' in d['how']
    assert 'could not begin' in up.cli('why', 'none.0').stdout


def test_core_is_found(up, tmp_path):
    with open('/proc/sys/kernel/core_pattern') as f:
        pattern = f.read().strip()
    tmp_path.chmod(0o777)
    up.apply({'abort': {'command': ['sh', '-c', 'kill -ABRT $$'], 'directory': str(tmp_path),
                        'limits': {'core': 'unlimited'}, **ONCE}})
    failed(up, 'abort')
    d, = dossiers(up, 'abort.0')
    assert d['signal'] == 'ABRT' and 'ended itself' in d['meaning']
    if not d['core_dumped']:
        pytest.skip('this machine dumps no cores')
    if pattern.startswith('|'):
        assert d['core_handler'].startswith('the kernel gave it to ' + pattern[1:])
    elif d['core'] is None:
        assert 'there is no file' in d['core_handler']
    else:
        assert os.path.getsize(d['core']) > 0
        assert f'Its core is in {d["core"]}' in up.cli('why', 'abort.0').stdout.replace('\n', ' ') or len(d['core']) > 60
    if '/' not in pattern and not pattern.startswith('|'):
        assert d['core'].startswith(str(tmp_path))


def test_out_of_memory_names_who_died(up):
    if 'memory' not in cgroups.enforced(up):
        pytest.skip('this machine has no writable cgroup controller for memory')
    up.apply({'fat': {'command': [program('eater'), str(200 << 20)], 'limits': {'memory': '32MiB', 'swap': 0}, **ONCE}})
    failed(up, 'fat')
    d, = dossiers(up, 'fat.0')
    assert re.search(r'out of memory: eater \(pid \d+\) was killed|out of memory: 1 of its', d['detail']), d
    assert d['memory_peak'] > 16 << 20
    assert 'oom' in [e['failure'] for e in up.events()]


def test_what_changed_since_the_last_good_run(up):
    spec = {'command': ['sleep', '100000'], **ONCE}
    up.apply({'web': spec})
    up.wait_running('web', 1)
    up.apply({'web': {**spec, 'command': ['false'], 'env': {'SECRET': 'x'}}})
    failed(up, 'web')
    d, = dossiers(up, 'web.0')
    assert (d['good_run'], d['good_version'], d['run'], d['version']) == (1, 1, 2, 2)
    assert sorted(d['changed'].split(', ')) == ['command', 'env']
    said = ' '.join(up.cli('why', 'web.0').stdout.split())
    assert 'The last good run was 1' in said and 'version 2 of the job replaced version 1' in said


def test_the_newest_are_kept(up):
    up.apply({'storm': {'command': 'echo $REEVE_RUN; exit 3', 'restart': {'delay': 0, 'burst': 9}}})
    assert failed(up, 'storm')['runs'] == 9
    assert [(d['run'], d['stdout']) for d in dossiers(up, 'storm.0')] == [(n, f'{n}\n') for n in (9, 8, 7, 6, 5)]
    assert 'parked' in dossiers(up, 'storm.0')[0]['next']


def test_none_is_lost_or_doubled_by_kills(up):
    """Agent, server and both are killed while tasks fail; in the end each failed run has one dossier."""
    rng = random.Random(7)
    count = 20
    up.apply({'bad': {'count': count, 'command': 'echo run $REEVE_RUN; sleep 0.$REEVE_TASK_INDEX; exit 9',
                      'restart': {'delay': '10ms', 'max_delay': '200ms', 'burst': 5, 'window': '10m'}}})
    for _ in range(12):
        for part in rng.choice([('agent',), ('agent',), ('server', 'agent')]):
            up.kill(part)
        up.wait_ready()
    tasks = up.wait_tasks('bad', state='ended')
    assert all(t['runs'] == 5 for t in tasks)
    for t in tasks:
        list_ = dossiers(up, t['id'])
        assert [d['run'] for d in list_] == [5, 4, 3, 2, 1], t['id']
        for d in list_:
            assert (d['exit_code'], d['stdout']) == (9, f'run {d["run"]}\n'), d


def test_the_node_is_away(up):
    """Whoever asks while the agent is away hears that, and `reeve why` answers without."""
    up.apply({'bad': {'command': 'exit 1', **ONCE}})
    failed(up, 'bad')
    agent = up.pid('agent')
    os.kill(agent, signal.SIGSTOP)
    try:
        with pytest.raises(harness.ApiError) as e:
            up.api('GET', '/v1/tasks/bad.0/dossiers')
        assert e.value.status == 503
        assert 'bad.0 failed' in up.cli('why', 'bad.0').stdout
    finally:
        os.kill(agent, signal.SIGCONT)
    up.wait_for(lambda: len(dossiers(up, 'bad.0')) == 1, 'the agent answers again')
