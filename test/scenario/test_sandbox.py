# SPDX-License-Identifier: BSD-3-Clause
"""What the processes of a task cannot see or do: programs that try what is forbidden, on real kernels. Every trial is
also made without the sandbox: what fails there anyway proves nothing."""
import json
import os
import re
import shutil
import tempfile

import pytest

import reeve as harness
from reeve import program

PROBER = program('prober')
ONCE = {'restart': {'policy': 'never'}}
ROOT = os.geteuid() == 0

needs_root = pytest.mark.skipif(not ROOT, reason='only root can give this')


@pytest.fixture
def place():
    """A folder that everybody can reach, below no other test's."""
    path = tempfile.mkdtemp(prefix='rvsand-', dir='/var/lib' if ROOT else None)
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def prober(place):
    """A copy that a private /tmp does not hide."""
    return shutil.copy(PROBER, os.path.join(place, 'prober'))


def status(pid):
    with open(f'/proc/{pid}/status') as f:
        return dict(line.rstrip('\n').split(':\t', 1) for line in f if ':\t' in line)


def probe(up, job, prober, trials, **fields):
    """Runs the trials as one run; what each came to."""
    up.apply({job: {'kind': 'batch', 'command': [prober, *trials], **ONCE, **fields}})
    task = up.wait_tasks(job, state='ended')[0]
    assert task['result'] == 'succeeded', task['reason']
    text = up.log_text(f'{job}.0')
    return dict(re.findall(r'^(\S+): ?(.*)$', text, re.M))


def reason(up, job, **fields):
    up.apply({job: {'command': ['true'], **ONCE, **fields}})
    return up.wait_tasks(job, state='ended')[0]['reason']


# ---- system calls


def test_dangerous_calls_are_denied(up, prober):
    """Those of the default groups, by every door that the processor has; the same calls work without the filter."""
    trials = ['mount', 'ptrace', 'keyctl', 'i386', 'x32']
    free = probe(up, 'free', prober, trials)
    assert free['mount'] != 'EPERM' or not ROOT
    assert free['ptrace'] == 'ok' and free['keyctl'] != 'EPERM'
    held = probe(up, 'held', prober, trials, sandbox={'seccomp': 'default'})
    assert {name: held[name] for name in ('mount', 'ptrace', 'keyctl')} == dict.fromkeys(('mount', 'ptrace', 'keyctl'), 'EPERM')
    assert held['i386'] == ('killed' if free['i386'] == 'killed' else 'EPERM'), free
    assert held['x32'] in ('EPERM', 'ENOSYS')


def test_groups_are_denied_by_name(up, prober):
    free = probe(up, 'free', prober, ['socket', 'clone', 'chown'])
    assert free['socket'] == 'ok'
    held = probe(up, 'held', prober, ['socket', 'clone', 'unshare', 'chown', 'ptrace'],
                 sandbox={'seccomp_deny': ['network', 'namespaces', 'owners']})
    assert held == {'socket': 'EPERM', 'clone': 'EPERM', 'unshare': 'EPERM', 'chown': 'EPERM', 'ptrace': 'ok'}


def test_a_filter_brings_no_new_privileges(up, prober):
    up.apply({'held': {'command': [prober, 'wait'], 'sandbox': {'seccomp': 'default'}}})
    fields = status(up.wait_running('held', 1)[0]['pid'])
    assert (fields['NoNewPrivs'], fields['Seccomp']) == ('1', '2')


# ---- rights


@needs_root
def test_set_user_id_does_nothing(up, prober, place):
    suid = shutil.copy(prober, os.path.join(place, 'suid'))
    os.chmod(suid, 0o4755)
    assert probe(up, 'free', prober, ['suid=' + suid], user='nobody')['euid'] == '0'
    held = probe(up, 'held', prober, ['suid=' + suid], user='nobody', sandbox={'no_new_privs': True})
    assert held['euid'] not in ('0', 'EPERM')


@needs_root
def test_capabilities_are_kept_by_name(up, prober):
    """All five sets; of a user who is not root, too."""
    names = ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')
    up.apply({'one': {'command': [prober, 'raw', 'port=7', 'wait'], 'user': 'nobody',
                      'sandbox': {'capabilities': ['net_bind_service']}},
              'none': {'command': [prober, 'raw', 'wait'], 'sandbox': {'capabilities': []}}})
    one = status(up.wait_running('one', 1)[0]['pid'])
    none = status(up.wait_running('none', 1)[0]['pid'])
    assert {one[n] for n in names} == {f'{1 << 10:016x}'}
    assert {none[n] for n in names} == {'0' * 16}
    up.wait_for(lambda: 'raw: EPERM' in up.log_text('one.0') and 'port=7: ' in up.log_text('one.0'), 'it tries')
    assert 'port=7: EACCES' not in up.log_text('one.0')
    up.wait_for(lambda: 'raw: EPERM' in up.log_text('none.0'), 'root without capabilities has none')


# ---- files


@needs_root
def test_files_are_read_only_but_those_that_are_named(up, prober, place):
    data = os.path.join(place, 'data')
    os.mkdir(data)
    trials = [f'write={place}/x', f'write={data}/x', 'write=/etc/rv-none', 'write=/tmp/rv-held', 'write=/dev/null']
    held = probe(up, 'held', prober, trials, sandbox={'read_only': True, 'writable': data, 'private_tmp': True})
    assert held == {f'write={place}/x': 'EROFS', f'write={data}/x': 'ok', 'write=/etc/rv-none': 'EROFS',
                    'write=/tmp/rv-held': 'ok', 'write=/dev/null': 'ok'}
    assert os.listdir(data) == ['x'] and not os.path.exists('/tmp/rv-held')
    free = probe(up, 'free', prober, [f'write={place}/x'])
    assert free[f'write={place}/x'] == 'ok'


@needs_root
def test_paths_are_hidden(up, prober, place):
    folder, file = os.path.join(place, 'secrets'), os.path.join(place, 'secret')
    os.mkdir(folder)
    for path in (file, os.path.join(folder, 'key')):
        with open(path, 'w') as f:
            f.write('secret\n')
    trials = [f'size={file}', f'entries={folder}', f'size={folder}/key', f'write={folder}/new']
    assert probe(up, 'free', prober, trials[:3]) == {trials[0]: '7', trials[1]: '1', trials[2]: '7'}
    held = probe(up, 'held', prober, trials, sandbox={'hide': [file, folder, '/no/such/path']})
    assert held == {trials[0]: '0', trials[1]: '0', trials[2]: '-1', trials[3]: 'EROFS'}


@needs_root
def test_tmp_is_its_own(up, prober):
    with tempfile.NamedTemporaryFile(dir='/tmp', prefix='rvtmp') as shared:
        trials = ['read=' + shared.name, 'write=/tmp/left', 'entries=/tmp']
        assert probe(up, 'free', prober, trials[:1])[trials[0]] == 'ok'
        held = probe(up, 'held', prober, trials, sandbox={'private_tmp': True})
        assert held == {trials[0]: 'ENOENT', trials[1]: 'ok', trials[2]: '1'}
    assert not os.path.exists('/tmp/left')


@needs_root
def test_a_root_of_its_own(up, prober, place):
    """Program, directory and paths are meant inside; what is outside is not there, and the socket for readiness is."""
    root = os.path.join(place, 'root')
    for name in ('bin', 'data', 'tmp'):
        os.makedirs(os.path.join(root, name))
    shutil.copy(prober, os.path.join(root, 'bin/prober'))
    os.symlink('/bin/prober', os.path.join(root, 'bin/link'))
    up.apply({'inside': {'command': ['link', 'entries=/', 'read=/etc/passwd', 'write=/data/x', 'write=/x', 'ready', 'wait'],
                         'env': {'PATH': '/bin'}, 'directory': '/data', 'ready': {'notify': True},
                         'sandbox': {'chroot': root, 'read_only': True, 'writable': '/data'}}})
    up.wait_tasks('inside', state='running', ready=True)
    found = dict(re.findall(r'^(\S+): ?(.*)$', up.log_text('inside.0'), re.M))
    assert found == {'entries=/': '4', 'read=/etc/passwd': 'ENOENT', 'write=/data/x': 'ok', 'write=/x': 'EROFS', 'ready': 'ok'}


@needs_root
@pytest.mark.parametrize('sandbox', [
    {'private_tmp': True}, {'hide': ['/tmp', '/var/tmp']}, {'network': 'none', 'private_tmp': True, 'read_only': True,
                                                            'pid_namespace': True, 'user_namespace': True}])
def test_readiness_is_heard(up, prober, sandbox):
    """The socket for readiness lies below a folder that is covered, and is reached all the same."""
    up.apply({'job': {'command': [prober, 'ready', 'wait'], 'ready': {'notify': True}, 'user': 'nobody', 'sandbox': sandbox}})
    up.wait_for(lambda: 'ready: ok' in up.log_text('job.0'), 'it says so')
    up.wait_tasks('job', state='running', ready=True)


# ---- processes, users, network


@needs_root
def test_it_sees_its_own_processes_only(up, prober):
    free = probe(up, 'free', prober, ['processes', 'pid'])
    assert int(free['processes']) > 2
    held = probe(up, 'held', prober, ['processes', 'pid'], sandbox={'pid_namespace': True})
    assert held == {'processes': '1', 'pid': '1'}


@needs_root
def test_process_one_ends_when_it_is_asked(up, prober):
    """A program without a handler would not hear TERM as the first process of a namespace."""
    up.apply({'first': {'command': [prober, 'wait'], 'stop': {'grace': '100s'}, 'sandbox': {'pid_namespace': True}},
              'trap': {'command': 'trap "echo heard; exit 3" TERM; echo set; while :; do sleep 0.1; done',
                       'stop': {'grace': '100s'}, 'sandbox': {'pid_namespace': True}}})
    up.wait_running('first', 1)
    up.wait_for(lambda: 'set' in up.log_text('trap.0'), 'the shell has its handler')
    up.cli('stop', 'first', 'trap')
    assert up.wait_tasks('first', state='ended', deadline=30)[0]['result'] == 'stopped'
    assert up.wait_tasks('trap', state='ended', deadline=30)[0]['exit_code'] == 3
    assert 'heard' in up.log_text('trap.0')


@needs_root
def test_a_killed_reeve_finds_it_again(up, prober):
    """By its number on the machine, which is not the one that it sees itself."""
    up.apply({'held': {'command': [prober, 'pid', 'wait'], 'dynamic_user': True,
                       'sandbox': {'pid_namespace': True, 'network': 'none'}}})
    before = up.wait_running('held', 1)[0]
    uid = status(before['pid'])['Uid'].split()[0]
    for parts in (['agent'], ['keeper'], ['agent', 'server']):
        for part in parts:
            up.kill(part)
        up.wait_ready()
        after = up.wait_running('held', 1)[0]
        assert (after['pid'], after['runs']) == (before['pid'], before['runs'])
    up.cli('restart', 'held')
    up.wait_for(lambda: up.task('held.0')['runs'] == 2 and up.task('held.0')['state'] == 'running', 'its second run')
    assert status(up.task('held.0')['pid'])['Uid'].split()[0] == uid


@needs_root
def test_users_of_its_own(up, prober):
    """Root in it is nobody's root; the maps name root and the task's user."""
    up.apply({'held': {'command': [prober, 'euid', 'raw', 'wait'], 'user': 'nobody', 'sandbox': {'user_namespace': True}},
              'root': {'command': [prober, 'raw', 'wait'], 'sandbox': {'user_namespace': True}}})
    pid = up.wait_running('held', 1)[0]['pid']
    with open(f'/proc/{pid}/uid_map') as f:
        assert [line.split() for line in f] == [['0', '0', '1'], ['65534', '65534', '1']]
    assert status(pid)['Uid'].split()[0] == '65534'
    assert os.readlink(f'/proc/{pid}/ns/user') != os.readlink('/proc/self/ns/user')
    up.wait_for(lambda: 'raw: EPERM' in up.log_text('root.0'), 'root there has no right to the machine\'s network')


@needs_root
def test_without_network(up, prober):
    free = probe(up, 'free', prober, ['interfaces'])
    held = probe(up, 'held', prober, ['interfaces', 'loopback'], sandbox={'network': 'none'})
    assert held['interfaces'].split()[0] == 'lo' and held['loopback'] == 'ok'
    assert 'eth0' not in held['interfaces'], free


@needs_root
def test_every_task_is_a_user_of_its_own(up, prober):
    up.apply({'own': {'command': [prober, 'euid', 'write=/tmp/mine', 'wait'], 'count': 3, 'dynamic_user': True}})
    found = [status(task['pid']) for task in up.wait_running('own', 3)]
    uids = {s['Uid'].split()[0] for s in found}
    assert len(uids) == 3 and all(int(uid) >= 0x70000000 for uid in uids)
    assert [s['Gid'].split()[0] for s in found] == [s['Uid'].split()[0] for s in found]
    assert {s['NoNewPrivs'] for s in found} == {'1'} and {s['Groups'].strip() for s in found} == {''}
    for i in range(3):
        up.wait_for(lambda: 'write=/tmp/mine: ok' in up.log_text(f'own.{i}'), 'it has a /tmp')
    assert not os.path.exists('/tmp/mine')


@needs_root
def test_what_runs_beside_it_is_within(up, prober, place):
    """`reeve exec` and probes have the task's files, processes, user and rights."""
    secret = os.path.join(place, 'secret')
    os.mkdir(secret)
    sandbox = {'private_tmp': True, 'hide': [secret], 'pid_namespace': True, 'network': 'none', 'seccomp': 'default',
               'capabilities': []}
    up.apply({'held': {'command': [prober, 'write=/tmp/mine', 'wait'], 'dynamic_user': True, 'sandbox': sandbox,
                       'ready': {'command': ['test', '-e', '/tmp/mine'], 'interval': '100ms'}}})
    task = up.wait_tasks('held', state='running', ready=True)[0]
    up.wait_for(lambda: 'mine: ok' in up.log_text('held.0'), 'its file is there')
    out = up.cli('exec', 'held.0', '--', prober, 'euid', 'entries=/tmp', 'keyctl', 'processes', 'interfaces').stdout
    assert f"euid: {status(task['pid'])['Uid'].split()[0]}\n" in out
    assert 'entries=/tmp: 1\n' in out and 'keyctl: EPERM\n' in out and 'processes: 2\n' in out


# ---- what cannot be had


@needs_root
def test_what_fails_is_named(up, place):
    """A start that the kernel refuses says which field it was."""
    assert 'sandbox.writable: /no/such/folder: No such file' in reason(
        up, 'writable', sandbox={'read_only': True, 'writable': ['/no/such/folder']})
    assert 'sandbox.chroot: enter /no/such/root' in reason(up, 'root', sandbox={'chroot': '/no/such/root'})
    assert 'command: cannot execute' in reason(up, 'program', sandbox={'chroot': place})


# ---- without root


@pytest.fixture
def rootless(reeve):
    """A Reeve of a user without any rights."""
    if not ROOT:
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


@pytest.mark.parametrize('field, fields', [
    ('sandbox.private_tmp', {'sandbox': {'private_tmp': True}}), ('sandbox.network', {'sandbox': {'network': 'none'}}),
    ('sandbox.chroot', {'sandbox': {'chroot': '/srv'}}), ('sandbox.capabilities', {'sandbox': {'capabilities': []}}),
    ('sandbox.pid_namespace', {'sandbox': {'pid_namespace': True, 'seccomp': 'default'}}), ('dynamic_user', {'dynamic_user': True})])
def test_what_only_root_can_give_is_named(rootless, field, fields):
    """It does not start, rather than with less than it asked for."""
    assert field + ': ' in reason(rootless, 'job', **fields)


def test_what_everybody_can_have(rootless, prober, place):
    """The filter always; the rest where the kernel lets everybody make user namespaces. The kills find it again."""
    up = rootless
    held = probe(up, 'filter', prober, ['keyctl', 'mount'], sandbox={'seccomp': 'default'})
    assert held == {'keyctl': 'EPERM', 'mount': 'EPERM'}
    os.chmod(place, 0o777)
    hidden = os.path.join(place, 'hidden')
    os.mkdir(hidden)
    open(os.path.join(hidden, 'file'), 'w').close()
    sandbox = {'user_namespace': True, 'pid_namespace': True, 'network': 'none', 'private_tmp': True, 'read_only': True,
               'hide': [hidden], 'capabilities': [], 'seccomp': 'default'}
    up.apply({'all': {'command': [prober, 'processes', 'interfaces', 'write=/tmp/x', f'entries={hidden}', f'write={place}/x', 'ready', 'wait'],
                      'ready': {'notify': True}, 'sandbox': sandbox}})
    up.wait_for(lambda: up.task('all.0')['ready'] or up.task('all.0')['restarts'] > 0, 'it is there, or cannot be')
    task = up.task('all.0')
    if not task['ready'] and 'sandbox.user_namespace: the kernel makes no namespace' in task['reason']:
        pytest.skip('this kernel lets nobody but root make user namespaces')
    found = dict(re.findall(r'^(\S+): ?(.*)$', up.log_text('all.0'), re.M))
    assert found.pop('interfaces').split()[0] == 'lo'
    assert found == {'processes': '1', 'write=/tmp/x': 'ok', f'entries={hidden}': '-1', f'write={place}/x': 'EROFS', 'ready': 'ok'}
    fields = status(task['pid'])
    assert (fields['CapEff'], fields['CapBnd'], fields['NoNewPrivs']) == ('0' * 16, '0' * 16, '1')
    up.kill('agent')
    up.wait_ready()
    assert up.wait_running('all', 1)[0]['pid'] == task['pid']
    up.cli('stop', 'all')
    assert up.wait_tasks('all', state='ended', deadline=30)[0]['result'] == 'stopped'


# ---- around it


def test_the_score(up):
    """It tells what is open and what would close it, within 80 columns."""
    up.apply({'wide': {'command': ['sleep', '1000'], 'count': 0},
              'tight': {'command': ['sleep', '1000'], 'count': 0, 'dynamic_user': True,
                        'limits': {'memory': '64MiB', 'pids': 9},
                        'sandbox': {'capabilities': [], 'seccomp': 'default', 'read_only': True, 'network': 'none',
                                    'hide': ['/home', '/root'], 'pid_namespace': True, 'user_namespace': True}}})
    text = up.cli('job', 'wide', '--sandbox').stdout
    assert 'wide is wide open: 100 of 100 points' in text and 'sandbox.seccomp: default' in text
    assert max(map(len, text.splitlines())) <= 80
    tight = json.loads(up.cli('job', 'tight', '--sandbox', '--json').stdout)
    assert tight['word'] == 'tight' and tight['points'] <= 20 and len(tight['items']) == 12
    assert all((item['advice'] is None) == (item['points'] == 0) for item in tight['items'])


EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../examples/sandbox.yaml')


@needs_root
def test_the_example_runs(up):
    """examples/sandbox.yaml is taken as it is, and does what its comments say."""
    up.cli('apply', EXAMPLE)
    pid = up.wait_running('guest', 1)[0]['pid']
    fields = status(pid)
    assert fields['NoNewPrivs'] == '1' and fields['CapBnd'] == '0' * 16 and fields['Seccomp'] == '2'
    assert harness.cmdline(pid) == ['sleep', '100000']
    up.wait_tasks('look', state='ended', result='succeeded')
    assert up.log_text('look.0').split()[-1] == 'here' and int(up.log_text('look.0').split()[0]) <= 4
