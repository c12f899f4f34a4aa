# SPDX-License-Identifier: BSD-3-Clause
"""The load under which Reeve is killed, upgraded and starved, and the books that are balanced afterwards.

What Reeve says (events, log files, states) is compared with what the task programs noted themselves:

- `steady`: tasks that run from the first to the last moment: one process each, the same one;
- `bulk`:   tasks that write numbered lines in bursts to both streams and never end;
- `relay`:  the same, ending after a second or so and begun again at once: lines over run boundaries;
- `exit`:   tasks that end all the time, with codes and signals that are known, and are begun again.
"""
import os
import platform
import re
import struct
import subprocess

import reeve as harness

ALWAYS = {'policy': 'always', 'delay': 0, 'max_delay': 0, 'burst': 0}
LOGS = {'size': '2MiB', 'files': 1000}

KERNEL = tuple(int(n) for n in re.match(r'(\d+)\.(\d+)', platform.release()).groups())
KERNEL_TELLS_EXITS = KERNEL >= (6, 15)  # PIDFD_INFO_EXIT


class Workload:
    def __init__(self, reeve, seed, steady=6, bulk=2, relay=2, exits=8):
        self.reeve = reeve
        self.seed = seed
        self.counts = {'steady': steady, 'bulk': bulk, 'relay': relay, 'exit': exits}
        self.pids = {}
        self.unknown = []  # runs whose end Reeve admits not to know
        self.runs = 0
        self.lines = 0

    def specs(self):
        p, notes = harness.program, self.reeve.notes
        jobs = {
            'steady': {'command': [p('starts'), notes]},
            'bulk': {'command': [p('writer'), notes, '262144', '40000', '0'], 'logs': LOGS},
            'relay': {'command': [p('writer'), notes, '16384', '5000', '30000'], 'logs': LOGS, 'restart': ALWAYS},
            'exit': {'command': [p('exiter'), notes, '400', str(self.seed)],
                     'restart': dict(ALWAYS, delay='20ms', max_delay='20ms')},
        }
        return {name: dict(spec, count=self.counts[name]) for name, spec in jobs.items() if self.counts[name]}

    def start(self):
        self.reeve.apply(self.specs())
        for job in ('steady', 'bulk'):
            if self.counts[job]:
                for task in self.reeve.wait_running(job, self.counts[job]):
                    self.pids[task['id']] = task['pid']

    # ---- while it runs

    def is_settled(self):
        """All parts work together, and the server holds the streams of all lasting tasks as their witness."""
        r = self.reeve
        if not r.is_ready():
            return False
        server = r.pid('server')
        held = set()
        try:
            for fd in os.listdir(f'/proc/{server}/fd'):
                try:
                    held.add(os.readlink(f'/proc/{server}/fd/{fd}'))
                except OSError:
                    pass
        except OSError:
            return False
        return all(os.path.realpath(os.path.join(r.data, 'node/fifos', t + '.stderr')) in held for t in self.pids)

    def wait_settled(self):
        self.reeve.wait_for(self.is_settled, 'all parts work together again')

    def check_running(self):
        """Every lasting task runs, exactly once, in the process it began in."""
        seen = {t['id']: t for t in self.reeve.ps() if t['id'] in self.pids}
        for task, pid in self.pids.items():
            t = seen.get(task)
            assert t, f'{task} is gone'
            assert (t['state'], t['pid'], t['runs']) == ('running', pid, 1), f'{task} was process {pid}: {t}'
        self.check_processes()

    def check_processes(self):
        """The same, by the processes and the tasks' own notes alone."""
        for task, pid in self.pids.items():
            assert harness.cmdline(pid)[1:2] == [self.reeve.notes], f'process {pid} of {task} is gone'
        assert not self.reeve.note_runs(r'double\.\d+'), 'a run began twice'
        assert not self.reeve.note_runs(r'overlap\.\d+'), 'two processes of a task at the same time'
        below = [harness.cmdline(p)[:1] for p in self.reeve.nest.descendants()]
        assert below.count([harness.program('starts')]) == self.counts['steady']
        writers = below.count([harness.program('writer')])
        assert self.counts['bulk'] <= writers <= self.counts['bulk'] + self.counts['relay']

    def wait_for_more_ends(self, more):
        """Tasks go on ending by themselves and being begun again."""
        def ends():
            return sum(len(runs) for task, runs in self.reeve.note_runs('end').items())
        before = ends()
        self.reeve.wait_for(lambda: ends() >= before + more, f'{more} more runs end')

    def written(self, task='bulk.0'):
        """Lines that the writer got rid of, on both streams."""
        with open(os.path.join(self.reeve.notes, f'{task}.1.written'), 'rb') as f:
            return sum(struct.unpack('QQ', f.read(16)))

    # ---- the end

    def finish(self, excuses=lambda task, run, what: False):
        """Stops everything and balances the books. @excuses(task, run, what): whether Reeve may have missed that run's
        'end', or its last 'lines'."""
        self.check_running()
        for job in self.specs():
            self.reeve.ask('POST', f'/v1/jobs/{job}/stop')
        for job in self.specs():
            self.reeve.wait_tasks(job, state='ended', result='stopped')
        below = {p: harness.cmdline(p) for p in self.reeve.nest.descendants()}
        left = [(p, w) for p, w in below.items()
                if w and os.path.dirname(w[0]) == os.path.dirname(harness.program('starts'))]
        assert not left, f'still there: {left}'
        self.check_events(excuses)
        self.check_logs(excuses)
        assert not self.reeve.note_runs('stdout-broke') and not self.reeve.note_runs('stderr-broke')
        return f'{self.runs} runs, {len(self.unknown)} ends unknown, {self.lines} lines'

    def check_events(self, excuses):
        """Each run has begun once and ended once, in the way that it noted itself."""
        begun, ended = {}, {}
        for e in self.reeve.events():
            if e['kind'] == 'task-started':
                assert e['run'] not in begun.setdefault(e['task'], {}), f'told twice: {e}'
                begun[e['task']][e['run']] = e['message']
            if e['kind'] == 'task-ended':
                assert e['run'] not in ended.setdefault(e['task'], {}), f'told twice: {e}'
                ended[e['task']][e['run']] = e['message']
        starts, ends = self.reeve.note_runs('start'), self.reeve.note_runs('end')
        for task in (t for t in self.reeve.ps() if t['job'] in self.counts):
            t, n = task['id'], task['runs']
            assert sorted(begun.get(t, {})) == list(range(1, n + 1)), f'{t}: begun of {n}: {sorted(begun.get(t, {}))}'
            assert sorted(ended.get(t, {})) == list(range(1, n + 1)), f'{t}: ended of {n}: {sorted(ended.get(t, {}))}'
            assert set(starts.get(t, {})) <= set(begun[t]), f'{t}: runs that nobody knows of'
            for run in range(1, n + 1):
                self.check_end(t, run, run == n, starts.get(t, {}).get(run), ends.get(t, {}).get(run), begun[t][run],
                               ended[t][run], excuses)

    def check_end(self, task, run, last, start, end, begun, ended, excuses):
        self.runs += 1
        told = f'{task}: "{begun}", "{ended}"; it noted {start}, {end}'
        if start is not None:
            assert f'run {run} started, pid {start},' in begun, told
        else:
            assert last and f'run {run} ended: killed by TERM' in ended, told
        if 'unknown' in ended:
            assert excuses(task, run, 'end'), told
            self.unknown.append((task, run))
        elif task.startswith(('exit.', 'steady.')):
            stopped = last and f'run {run} ended: killed by TERM' in ended  # maybe between its note and its end
            assert stopped or (end is not None and re.match(rf'run {run} ended: {end}( |$)', ended)), told
        elif start is not None:
            assert f'run {run} ended: exit code 0 ' in ended, told

    def check_logs(self, excuses):
        """Each line that was written is in the files: once, in order, every byte of it, but for the last ones of a run
        whose pipes nobody held (even if a zombie that was reaped late still told how it ended)."""
        counts = {}
        for task, runs in self.reeve.note_runs('start').items():
            if not task.startswith(('bulk.', 'relay.')):
                continue
            for run in runs:
                with open(os.path.join(self.reeve.notes, f'{task}.{run}.written'), 'rb') as f:
                    counts.setdefault(task, {})[run] = struct.unpack('QQ', f.read(16))
        for task, runs in counts.items():
            for i, stream in enumerate(('stdout', 'stderr')):
                wanted = {run: n[i] for run, n in sorted(runs.items()) if n[i]}
                done = subprocess.run([harness.program('lines'), stream[3], *self.reeve.log_files(task, stream)],
                                      capture_output=True, text=True)
                assert done.returncode == 0, f'{task} {stream}: {done.stdout[-2000:]}{done.stderr}'
                found = {int(r): int(n) for r, n in (line.split() for line in done.stdout.splitlines())}
                for run in [n for n in wanted if found.get(n, 0) < wanted[n] and excuses(task, n, 'lines')]:
                    wanted[run] = found.setdefault(run, 0)
                assert found == wanted, f'{task} {stream}: written {wanted}, in the files {found}'
                self.lines += sum(found.values())
