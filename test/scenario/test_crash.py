# SPDX-License-Identifier: BSD-3-Clause
"""The promise: kill -9 any part of Reeve at any instant: no process dies, none runs twice, no exit status and no log
byte is lost.

REEVE_SEED repeats a run as far as the timing of a machine can be repeated; REEVE_KILLS is the number of kills (of one
part, or of two or three at the same time) in all tests of this file together.
"""
import os
import random
import threading
import time

import pytest

from reeve import PARTS, SCALE, ApiError, Unanswered
from workload import KERNEL_TELLS_EXITS, Workload

SEED = int(os.environ.get('REEVE_SEED') or random.SystemRandom().randrange(1 << 32))
KILLS = int(os.environ.get('REEVE_KILLS') or 240)
MATRIX_TESTS = 4
SETS = [('agent',), ('server',), ('keeper',), ('agent', 'server'), ('agent', 'keeper'), ('server', 'keeper')]


def say(text):
    print(text, flush=True)


class Killer:
    """Kills parts at random instants and keeps the book of it."""

    def __init__(self, reeve, load, seed):
        self.reeve, self.load = reeve, load
        self.random = random.Random(seed)
        self.fallen = set()  # parts killed since all was settled
        self.book = []  # [time of the first kill, parts in order, when all was settled again]
        self.kills = 0
        self.ups = 0

    def strike(self, parts):
        """Kills the parts, up to 20 ms apart, in any order."""
        parts = list(parts)
        self.random.shuffle(parts)
        now = time.time()
        if not self.fallen:
            self.book.append([now, [], None])
        for i, part in enumerate(parts):
            if i > 0 and self.random.random() < 0.5:
                time.sleep(self.random.uniform(0, 0.02))
            self.reeve.kill(part)  # if there is one; else it is dead at this moment, or just being replaced
            self.fallen.add(part)
            self.book[-1][1].append(part)
        self.kills += 1

    def pause(self, longest=0.3):
        time.sleep(self.random.uniform(0, longest))

    def up_if_dead(self):
        """When nobody is left to start the others, a person, or systemd, does."""
        if self.reeve.parts_gone():
            self.reeve.start_up()
            self.ups += 1

    def settle(self):
        def settled():
            self.up_if_dead()
            return self.load.is_settled()
        self.reeve.wait_for(settled, f'all parts work together again after {sorted(self.fallen)} were killed', 90)
        self.fallen.clear()
        if self.book:
            self.book[-1][2] = time.time()
        self.load.check_running()

    def noted_at(self, task, run, what):
        try:
            return os.stat(os.path.join(self.reeve.notes, f'{task}.{run}.{what}')).st_mtime
        except FileNotFoundError:
            return None

    def excuses(self, task, run, what, always=False):
        """Whether @what ('end' or 'lines') of a run may be lost, because all who could have held on to its process or
        pipes were dead when it ended: keeper and agent (or one keeper after the other, the second before its agent had
        heard of the task), and the server, which holds both. @always: whenever keeper and agent were dead. A kernel
        without PIDFD_INFO_EXIT tells nobody how the orphan of a killed keeper ended."""
        began, ended = self.noted_at(task, run, 'start'), self.noted_at(task, run, 'end')
        if ended is None and not KERNEL_TELLS_EXITS:
            ended = time.time()
        if began is None or ended is None:
            return False
        for first, parts, settled in self.book:
            last = (settled or time.time()) + 0.1
            orphaned = what == 'end' and not KERNEL_TELLS_EXITS and 'keeper' in parts and began <= last and ended >= first - 0.1
            unheld = {'agent', 'keeper'} <= set(parts) or parts.count('keeper') > 1
            if orphaned or (unheld and first - 0.1 <= ended <= last and (always or 'server' in parts)):
                say(f'{task} run {run}: its {what} may be lost; begun {first - began:.3f} s before the first kill of '
                    f'{parts}, ended {ended - first:.3f} s after it')
                return True
        say(f'{task} run {run} from {began:.3f} to {ended:.3f}; kills: ' + '; '.join(
            f'{first:.3f} to {settled or 0:.3f} {parts}' for first, parts, settled in self.book))
        return False

    def excuses_more(self, task, run, what):
        return self.excuses(task, run, what, always=True)


@pytest.mark.parametrize('part', range(MATRIX_TESTS))
def test_one_or_two_are_killed(up, part):
    """Each part and each pair is killed at random instants, often again before the last kill is healed: lasting tasks
    keep their process, every run begins and ends once and as it noted itself, every line is in the logs once and in
    order. (Keeper and agent fall together only while the server is their witness; else see the next test.)"""
    seed = SEED + part
    say(f'\nREEVE_SEED={SEED}, seed {seed}')
    load = Workload(up, seed)
    load.start()
    killer = Killer(up, load, seed)
    killer.settle()
    queue = []
    while killer.kills < KILLS * 3 // 4 // MATRIX_TESTS:
        if not queue:
            queue = killer.random.sample(SETS, len(SETS))
        chosen = queue.pop()
        both = {'agent', 'keeper'}
        if killer.fallen and both <= killer.fallen | set(chosen):
            killer.settle()
        killer.pause()
        killer.strike(chosen)
        if killer.random.random() < 0.5:
            killer.settle()
    killer.settle()
    say(f'{killer.kills} kills; ' + load.finish(killer.excuses))


def test_any_are_killed_also_in_recovery(up):
    """Any set of parts, all three included, is killed, also while they recover. When nobody is left, the next
    `reeve up` takes everything over. Only the end of a run that ended while keeper and agent were dead may be unknown."""
    seed = SEED + 100
    say(f'\nREEVE_SEED={SEED}, seed {seed}')
    load = Workload(up, seed, relay=0)
    load.start()
    killer = Killer(up, load, seed)
    killer.settle()
    while killer.kills < KILLS // 6:
        killer.pause(0.3 if killer.random.random() < 0.7 else 0.05)
        killer.up_if_dead()
        killer.strike(killer.random.choice(SETS + [PARTS, PARTS]))
        if killer.random.random() < 0.4:
            killer.settle()
    killer.settle()
    say(f'{killer.kills} kills, {killer.ups} times up; ' + load.finish(killer.excuses_more))


def test_all_are_killed(up):
    """All three are killed at the same time and stay dead: the tasks run on and write as far as their pipes take it;
    the next `reeve up` on the directory takes everything over."""
    seed = SEED + 200
    say(f'\nREEVE_SEED={SEED}, seed {seed}')
    load = Workload(up, seed, relay=0)
    load.start()
    killer = Killer(up, load, seed)
    killer.settle()
    for _ in range(max(1, KILLS // 24)):
        killer.pause()
        killer.strike(PARTS)
        up.kill_all_parts()
        killer.settle()
    assert killer.ups >= killer.kills
    say(f'{killer.kills} kills; ' + load.finish(killer.excuses_more))


class Applier(threading.Thread):
    """Applies job after job, two at a time, and keeps book of the answers."""

    def __init__(self, reeve):
        super().__init__(daemon=True)
        self.reeve = reeve
        self.answered, self.open = [], []
        self.failure = None
        self.end = threading.Event()

    def run(self):
        n = 0
        try:
            while not self.end.is_set():
                names = (f'j{n}-a', f'j{n}-b')
                jobs = {name: {'kind': 'batch', 'command': ['/bin/true'], 'env': {'N': str(n)}} for name in names}
                n += 1
                try:
                    self.reeve.api('POST', '/v1/jobs', {'jobs': jobs})
                    self.answered.append(names)
                except Unanswered:
                    self.open.append(names)
                self.end.wait(0.01)
        except (ApiError, AssertionError) as e:
            self.failure = e


def test_killed_while_jobs_are_applied(up):
    """Whatever was answered is there afterwards; what was not answered is there whole or not at all; each batch that
    is there runs exactly once."""
    seed = SEED + 300
    say(f'\nREEVE_SEED={SEED}, seed {seed}')
    load = Workload(up, seed, bulk=0, relay=0, exits=0)
    load.start()
    killer = Killer(up, load, seed)
    killer.settle()
    sets = [('server',), ('server',), ('server', 'agent')]
    if KERNEL_TELLS_EXITS:  # else the end of a batch may be unknown, and it is run again
        sets.append(('server', 'keeper'))
    applier = Applier(up)
    applier.start()
    while killer.kills < KILLS // 12 and applier.is_alive():
        killer.pause()
        killer.strike(killer.random.choice(sets))
        if killer.random.random() < 0.7:
            killer.settle()
    killer.settle()
    applier.end.set()
    applier.join(60 * SCALE)
    assert applier.failure is None, applier.failure
    jobs = up.jobs()
    for a, b in applier.answered:
        assert a in jobs and b in jobs, f'{a} and {b} were answered and are not there'
    for a, b in applier.open:
        assert (a in jobs) == (b in jobs), f'of {a} and {b} one is there'
    names = [n for n in jobs if n != 'steady']

    def all_done():
        return all(j['state'] == 'succeeded' for n, j in up.jobs().items() if n != 'steady')
    up.wait_for(all_done, 'all batches have succeeded', 120)
    again = [t for t in up.ps() if t['job'] != 'steady' and t['runs'] != 1]
    assert not again, again
    ends = [e['task'] for e in up.events() if e['kind'] == 'task-ended']
    assert sorted(ends) == sorted(f'{n}.0' for n in names), 'each batch ends once'
    say(f'{killer.kills} kills, {len(applier.answered)} answered, {len(applier.open)} not; ' + load.finish(killer.excuses))
