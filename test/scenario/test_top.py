# SPDX-License-Identifier: BSD-3-Clause
"""`reeve top`: its screen, as a person at a terminal of 80 columns sees it, and its table without one."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from reeve import seconds

JOBS = {
    'burn': {'command': 'while :; do :; done'},
    'fat': {'command': ['python3', '-c', 'import time; b = bytearray(60 << 20); time.sleep(1000)']},
    'idle': {'count': 2, 'command': 'echo one; echo "two \033[31mred\033[0m"; exec sleep 1000'},
}


class Screen:
    """A terminal: as much of a VT52 as ncurses uses (terminfo: vt52)."""

    def __init__(self, reeve, *arguments, rows=24, columns=80, env=None):
        self.rows, self.columns, self.y, self.x = rows, columns, 0, 0
        self.cells = [[' '] * columns for _ in range(rows)]
        self.pending, self.reeve = b'', reeve
        self.master, slave = pty.openpty()
        self.size(rows, columns)
        self.process = subprocess.Popen(
            [reeve.reeve, 'top', '--interval', '500ms', *arguments], stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, env={**os.environ, 'REEVE_ADDR': f'unix:{reeve.socket}', 'TERM': 'vt52', **(env or {})})
        os.close(slave)

    def size(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.cells = [[' '] * columns for _ in range(rows)]
        self.size(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def _escape(self, rest):
        """One sequence behind ESC; how long it is, 0 if some is missing."""
        code = rest[:1]
        if code == 'Y':
            if len(rest) < 3:
                return 0
            self.y, self.x = ord(rest[1]) - 32, ord(rest[2]) - 32
            return 3
        if code == 'H':
            self.y = self.x = 0
        elif code in 'ABCD' and code:
            self.y += {'A': -1, 'B': 1}.get(code, 0)
            self.x += {'C': 1, 'D': -1}.get(code, 0)
        elif code in ('K', 'J'):
            self.cells[self.y][self.x:] = [' '] * (self.columns - self.x)
            for y in range(self.y + 1, self.rows if code == 'J' else 0):
                self.cells[y] = [' '] * self.columns
        elif code == 'I':
            if self.y > 0:
                self.y -= 1
            else:
                self.cells = [[' '] * self.columns] + self.cells[:-1]
        return 1 if code else 0

    def _feed(self, text):
        i = 0
        while i < len(text):
            c = text[i]
            if c == '\033':
                n = self._escape(text[i + 1:])
                if n == 0:
                    break
                i += n
            elif c == '\r':
                self.x = 0
            elif c == '\b':
                self.x = max(self.x - 1, 0)
            elif c == '\n':
                if self.y + 1 < self.rows:
                    self.y += 1
                else:
                    self.cells = self.cells[1:] + [[' '] * self.columns]
            elif c >= ' ' and self.y < self.rows:
                if self.x < self.columns:
                    self.cells[self.y][self.x] = c
                self.x = min(self.x + 1, self.columns - 1)
            i += 1
        return text[i:]

    def look(self):
        """The lines of the screen, after what has come."""
        while select.select([self.master], [], [], 0.01)[0]:
            try:
                piece = os.read(self.master, 65536)
            except OSError:
                break
            if not piece:
                break
            self.pending = self._feed((self.pending + piece).decode(errors='replace')).encode()
        return [''.join(line).rstrip() for line in self.cells]

    def type(self, keys):
        os.write(self.master, keys.encode())

    def wait(self, condition, what, deadline=30):
        end = time.monotonic() + seconds(deadline)
        while True:
            lines = self.look()
            value = condition(lines)
            if value:
                return value
            assert time.monotonic() < end and self.process.poll() is None, \
                f'the screen never shows {what}:\n' + '\n'.join(lines)
            time.sleep(0.02)

    def wait_text(self, pattern, deadline=30):
        return self.wait(lambda lines: re.search(pattern, '\n'.join(lines), re.M), pattern, deadline)

    def wait_ids(self, *ids, deadline=30):
        """The tasks in this order, and no others."""
        self.wait(lambda lines: [line.split()[0] for line in lines[4:-1] if line] == list(ids), f'the tasks {ids}', deadline)

    def end(self):
        """Waits for the end of it; returns the status."""
        end = time.monotonic() + seconds(20)
        while self.process.poll() is None:
            self.look()
            assert time.monotonic() < end, 'it does not end'
            time.sleep(0.01)
        self.look()
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


def burns(line):
    words = line.split()
    return words[:1] == ['burn.0'] and words[2] != '-' and float(words[2]) > 20


@pytest.fixture
def screen(reeve):
    reeve.up()
    reeve.apply(JOBS)
    for job in JOBS:
        reeve.wait_running(job, JOBS[job].get('count', 1))
    reeve.wait_for(lambda: reeve.task('idle.0')['since'] and 'red' in reeve.log_text('idle.0') and 'red' in
                   reeve.log_text('idle.1'), 'the logs are written')
    screen = Screen(reeve)
    yield screen
    screen.close()


def test_sort_and_filter(reeve, screen):
    screen.wait(lambda lines: burns(lines[4]), 'that burn.0 burns')
    lines = screen.look()
    assert re.fullmatch(r'here: \d+ cores  CPU \[[| ]+\] +\d+%  mem \[[| ]+\] .*GiB.*', lines[0]), lines[0]
    assert lines[1] == 'tasks: 4 running  sorted by cpu'
    assert lines[3].split() == ['TASK', 'STATE', 'CPU%', 'MEMORY', 'RUNS', 'AGE', 'REASON']
    assert all(len(line) <= 80 for line in lines)
    screen.type('m')
    screen.wait(lambda lines: lines[4].startswith('fat.0') and re.search(r' (6|7|8)\d(\.\d+)?MiB ', lines[4]), 'the fat one first')
    screen.type('n')
    screen.wait_ids('burn.0', 'fat.0', 'idle.0', 'idle.1')
    screen.type('n')
    screen.wait_ids('idle.1', 'idle.0', 'fat.0', 'burn.0')
    assert 'sorted by name, backwards' in screen.look()[1]
    screen.type('/idlx')
    screen.wait_text('^filter: idlx_$')
    screen.type('\x7fe')
    screen.wait_ids('idle.1', 'idle.0')
    screen.type('\r')
    screen.wait_text('with "idle": 2')
    screen.type('/\r')
    screen.wait_ids('idle.1', 'idle.0', 'fat.0', 'burn.0')
    screen.type('/nothing\033')
    screen.wait_ids('idle.1', 'idle.0', 'fat.0', 'burn.0')
    screen.type('q')
    assert screen.end() == 0


def test_restart_and_stop(reeve, screen):
    screen.type('/idle.1\r')
    screen.wait_ids('idle.1')
    screen.type('r')
    screen.wait_text(r'^idle\.1: is being restarted$')
    screen.wait_text(r'^idle\.1 +running .* 2 ')
    assert reeve.task('idle.1')['runs'] == 2 and reeve.task('idle.0')['runs'] == 1
    screen.type('s')
    screen.wait_text(r'^stop idle\.1\? \(y/n\)$')
    screen.type('n')
    screen.wait_text('^Enter why')
    assert reeve.task('idle.1')['state'] == 'running'
    screen.type('sy')
    screen.wait_text(r'^idle\.1 +ended ')
    assert reeve.task('idle.1')['state'] == 'ended' and reeve.task('idle.0')['state'] == 'running'
    screen.wait_text('^tasks: 3 running, 1 ended')


def test_why_and_log(reeve, screen):
    screen.type('/idle.0\r')
    screen.wait_ids('idle.0')
    screen.type('\r')
    screen.wait_text(r'idle\.0 runs on node here')
    screen.wait_text('run 1 started, pid')
    screen.type('q')
    screen.wait_ids('idle.0')
    screen.type('l')
    screen.wait_text('^log of idle.0\none\ntwo red$')
    reeve.apply({**JOBS, 'idle': dict(JOBS['idle'], command='echo three; exec sleep 1000')})
    screen.wait_text('^two red\nthree$')
    screen.type('q?')
    screen.wait_text('the same again: backwards')
    screen.type('qq')
    assert screen.end() == 0


def test_parts_are_killed_meanwhile(reeve, screen):
    screen.wait_text(r'^burn\.0 +running ')
    for part in ('agent', 'server', 'keeper'):
        reeve.kill(part)
        reeve.wait_ready()
        screen.wait(lambda lines: burns(lines[4]) and lines[2] == '', f'how it is after the {part} was killed')
    reeve.apply({'new': {'command': ['sleep', '1000']}})
    screen.wait_text(r'^new\.0 +running ')
    screen.type('q')
    assert screen.end() == 0


def test_another_size_and_a_signal(reeve, screen):
    screen.wait_text(r'^burn\.0 +running ')
    screen.resize(10, 40)
    screen.wait(lambda lines: len(lines) == 10 and lines[3].startswith('TASK') and lines[9].startswith('Enter why') and
                all(len(line) <= 40 for line in lines), 'a smaller screen')
    screen.resize(30, 120)
    screen.wait_text(r'(?m)^burn\.0 .* was asked to run$')
    screen.process.send_signal(signal.SIGTERM)
    assert screen.end() == 0


def test_without_a_screen(reeve):
    reeve.up()
    reeve.apply(JOBS)
    for job in JOBS:
        reeve.wait_running(job, JOBS[job].get('count', 1))

    def one_burns():
        all = json.loads(reeve.cli('top', '--json', '--interval', '200ms').stdout)
        return all['tasks'][0]['id'] == 'burn.0' and (all['tasks'][0]['cpu'] or 0) > 200 and all
    all = reeve.wait_for(one_burns, 'it burns')
    assert [n['node'] for n in all['nodes']] == ['here'] and len(all['tasks']) == 4
    text = reeve.cli('top', '--sort', 'memory').stdout
    assert re.search(r'\Ahere: \d+ cores, CPU [\d.]+%, memory .*\ntasks: 4 running\n\nTASK +STATE +CPU% .*\nfat\.0 +running ', text)
    assert re.search(r'(?m)^TASK .*\nidle\.0 .*\nidle\.1 .*\n\Z', reeve.cli('top', '--filter', 'idle', '-s', 'name').stdout)
    assert re.search(r'(?m)^TASK .*\nfat\.0 .*\n\Z', reeve.cli('top', '--job', 'fat', '--node', 'here').stdout)
    for arguments, status, words in ((['--sort', 'colour'], 2, '--sort: expected cpu, memory'),
                                     (['--interval', '1ms'], 2, '--interval: expected 200ms to 1h'),
                                     (['--node', 'there'], 3, 'no node "there"')):
        done = reeve.cli('top', *arguments, check=False)
        assert done.returncode == status and words in done.stderr
    done = reeve.cli('top', check=False, env={'REEVE_ADDR': 'unix:/nowhere/s'})
    assert done.returncode == 6 and 'no server at' in done.stderr
