# SPDX-License-Identifier: BSD-3-Clause
"""Upgrades under load: keeper, agent and server are replaced, and the books balance as if nothing had been."""
import os
import random
import shutil
import signal
import time

import pytest

import reeve as harness
from workload import Workload

SEED = int(os.environ.get('REEVE_SEED') or random.SystemRandom().randrange(1 << 32))


def replace_programs(reeve):
    """Installs both programs anew, as a package manager does: other files under the same names."""
    for name in ('reeve', 'reeve-keeper'):
        path = os.path.join(reeve.bin, name)
        shutil.copy(path, path + '.new')
        os.rename(path + '.new', path)


def inode(pid):
    return os.stat(f'/proc/{pid}/exe').st_ino


def await_replaced(reeve, before):
    """All three execute the new files; the keeper is the same process."""
    def replaced():
        now = {part: reeve.pid(part) for part in harness.PARTS}
        if not all(now.values()) or now['agent'] == before['agent'] or now['server'] == before['server']:
            return False
        wanted = {p: os.stat(os.path.join(reeve.bin, 'reeve-keeper' if p == 'keeper' else 'reeve')).st_ino for p in now}
        return reeve.is_ready() and all(inode(now[p]) == wanted[p] for p in now)
    reeve.wait_for(replaced, f'{before} are replaced')
    assert reeve.pid('keeper') == before['keeper'], 'the keeper replaces itself, it is not started anew'


@pytest.mark.parametrize('way', ['command', 'hup'])
def test_upgrade_under_load(up, way):
    """`reeve upgrade`, or HUP to the keeper, again and again under load: every part executes the programs that are
    installed now; no process changes, no end, no line is lost; `reeve up`'s process stays the same."""
    print(f'\nREEVE_SEED={SEED}')
    load = Workload(up, SEED)
    load.start()
    dice = random.Random(SEED)
    for _ in range(8):
        load.wait_settled()
        time.sleep(dice.uniform(0, 0.4))  # at any instant of the load
        before = {part: up.pid(part) for part in harness.PARTS}
        replace_programs(up)
        if way == 'command':
            assert 'upgraded' in up.cli('upgrade').stdout
        else:
            assert up.kill('keeper', signal.SIGHUP)
        await_replaced(up, before)
        load.check_running()
    assert up.pid('keeper') == up.up_pid
    load.wait_settled()
    print(load.finish())
    up.down()
    assert up.await_up_end() == 0


def test_upgrade_to_another_path(up):
    """`reeve upgrade --keeper PATH` has the keeper go on as that program; a path that is none is refused, and nothing
    is disturbed."""
    load = Workload(up, SEED, relay=1, exits=2)
    load.start()
    done = up.cli('upgrade', '--keeper', f'{up.dir}/none', check=False)
    assert done.returncode == 3 and 'none' in done.stderr
    other = shutil.copy(os.path.join(up.bin, 'reeve-keeper'), os.path.join(up.bin, 'reeve-keeper-2'))
    keeper = up.pid('keeper')
    up.cli('upgrade', '--keeper', other)
    up.wait_ready()
    assert up.pid('keeper') == keeper and os.path.realpath(f'/proc/{keeper}/exe') == os.path.realpath(other)
    load.wait_settled()
    print(load.finish())


def test_upgrade_to_something_that_is_no_keeper(up):
    """A keeper that cannot be executed is reported; the old one, and everything else, goes on."""
    load = Workload(up, SEED, relay=1, exits=2)
    load.start()
    other = os.path.join(up.dir, 'text')
    with open(other, 'w') as f:
        f.write('this is no program\n')
    os.chmod(other, 0o755)
    keeper = up.pid('keeper')
    up.api('POST', '/v1/upgrade', {'keeper': other})
    up.wait_log(r'could not.*Exec format error|Exec format error')
    up.wait_ready()
    assert up.pid('keeper') == keeper
    assert os.path.realpath(f'/proc/{keeper}/exe') == os.path.realpath(os.path.join(up.bin, 'reeve-keeper'))
    load.wait_settled()
    print(load.finish())


def test_killed_during_upgrades(up):
    """Agent and server are killed while an upgrade is under way: the same checks."""
    load = Workload(up, SEED)
    load.start()
    dice = random.Random(SEED)
    for _ in range(8):
        load.wait_settled()
        up.kill('keeper', signal.SIGHUP)
        time.sleep(dice.uniform(0, 0.05))
        up.kill(dice.choice(['agent', 'server']))
        load.wait_settled()
        load.check_running()
    print(load.finish())
