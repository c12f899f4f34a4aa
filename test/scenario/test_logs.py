# SPDX-License-Identifier: BSD-3-Clause
"""What `reeve logs` shows: by time, run and expression, with times, of several tasks; real programs write."""
import datetime
import json
import os
import re
import socket
import subprocess
import threading

import pytest

from reeve import ApiError, seconds


def shell(script):
    return {'command': ['/bin/sh', '-c', script]}


def logs(reeve, *arguments, **more):
    return reeve.cli('logs', *arguments, **more).stdout


def lines_of(reeve, *arguments):
    return [json.loads(line) for line in logs(reeve, *arguments, '--json').splitlines()]


def wall(text):
    return datetime.datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp()


def rfc3339(at):
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).isoformat(timespec='microseconds').replace('+00:00', 'Z')


class Follower:
    """`reeve logs -f`, whose lines are read as they come."""

    def __init__(self, reeve, *arguments):
        self.process = subprocess.Popen([reeve.reeve, 'logs', '-f', *arguments], stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, 'REEVE_ADDR': f'unix:{reeve.socket}'})
        self.lines = []
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip('\n'))

    def end(self):
        self.process.terminate()
        self.process.wait(seconds(30))
        self.thread.join(seconds(30))
        self.process.stdout.close()


@pytest.fixture
def follow(up):
    made = []

    def start(*arguments):
        made.append(Follower(up, *arguments))
        return made[-1]

    yield start
    for follower in made:
        follower.end()


# ---- expressions


def test_grep_shows_the_lines_that_match(up):
    """As grep: with words and with expressions, the last N of them, across rotated files, whatever bytes they have."""
    up.apply({'b': {'kind': 'batch', 'logs': {'size': '16KiB', 'files': 100},
                    **shell(r'i=0; while [ $i -lt 5000 ]; do echo "line $i of many"; i=$((i+1)); done; '
                            r'printf "odd \377\000 bytes\n"; printf "no line break"')}})
    up.wait_tasks('b', state='ended')
    assert len(up.log_files('b.0', 'stdout')) > 3
    wrote = up.log_text('b.0').splitlines()
    assert len(wrote) == 5002
    for expression in ('line 77', ' 4[0-9]7 of', '(line 12|no line)', '^line 10 ', 'break$', 'many|break', 'none of this'):
        expected = [line for line in wrote if re.search(expression, line)]
        assert logs(up, 'b.0', '--grep', expression, '-s', 'stdout').splitlines() == expected, expression
        assert [line['text'] for line in lines_of(up, 'b.0', '--grep', expression)] == expected, expression
        assert logs(up, 'b.0', '-g', expression, '-n', '3').splitlines() == expected[-3:], expression
    assert subprocess.run([up.reeve, 'logs', 'b.0', '-s', 'stdout', '-g', 'odd'], capture_output=True, check=True,
                          env={**os.environ, 'REEVE_ADDR': f'unix:{up.socket}'}).stdout == b'odd \xff\x00 bytes\n'
    offsets = [line['offset'] for line in lines_of(up, 'b.0', '--grep', 'line 4999')]
    assert offsets == [len(''.join(f'line {i} of many\n' for i in range(4999)))]


def test_grep_follows(up, follow):
    """Lines that match come as they are written, those that do not never do; a killed agent or server changes nothing."""
    up.apply({'web': {**shell('i=0; while :; do echo "$i"; i=$((i+1)); sleep 0.02; done')}})
    up.wait_running('web', 1)
    some = follow('web.0', '--grep', '[05]$')
    up.wait_for(lambda: len(some.lines) > 5, 'lines that match')
    up.kill('agent')
    before = len(some.lines)
    up.wait_for(lambda: len(some.lines) > before + 5, 'lines after the agent was killed')
    up.kill('server')
    before = len(some.lines)
    up.wait_for(lambda: len(some.lines) > before + 5, 'lines after the server was killed')
    numbers = [int(line) for line in some.lines]
    assert numbers == list(range(numbers[0], numbers[-1] + 1, 5)) and numbers[0] % 5 == 0


# ---- times and runs


def test_times_are_right(up):
    """The time of a line is when it was written, to a tenth of a second; --since and --until leave out nothing."""
    count = 60
    up.apply({'b': {'kind': 'batch', **shell(f'i=0; while [ $i -lt {count} ]; do date +"%s.%N $i, and some more words"; '
                                             'i=$((i+1)); sleep 0.05; done; echo end >&2')}})
    up.wait_tasks('b', state='ended')
    lines = lines_of(up, 'b.0', '-s', 'stdout')
    assert len(lines) == count and {line['run'] for line in lines} == {1}
    wrote = [float(line['text'].split()[0]) for line in lines]
    for line, at in zip(lines, wrote):
        assert -0.11 < wall(line['time']) - at < seconds(1), line
    late = max(0.1, max(wall(line['time']) - at for line, at in zip(lines, wrote)))
    for middle in (wrote[count // 3], wrote[count // 2] + 0.01):
        since = [float(line.split()[0]) for line in logs(up, 'b.0', '-s', 'stdout', '--since', rfc3339(middle)).splitlines()]
        assert since == wrote[count - len(since):], 'the last ones, in order'
        assert [at for at in wrote if at >= middle] == [at for at in since if at >= middle], 'none is left out'
        assert all(at > middle - 1.1 for at in since), 'and none is much too early'
        until = [float(line.split()[0]) for line in logs(up, 'b.0', '-s', 'stdout', '--until', rfc3339(middle)).splitlines()]
        assert until == wrote[:len(until)], 'the first ones, in order'
        assert [at for at in wrote if at < middle - late] == [at for at in until if at < middle - late]
        assert all(at < middle + 0.11 for at in until)
        last = logs(up, 'b.0', '-s', 'stdout', '--until', rfc3339(middle), '-n', '2').splitlines()
        assert [float(line.split()[0]) for line in last] == until[-2:]
    assert logs(up, 'b.0', '--since', rfc3339(wrote[-1] + seconds(100))) == ''
    assert logs(up, 'b.0', '--since', '1h') == logs(up, 'b.0')


def test_timestamps_stand_in_front(up):
    up.apply({'b': {'kind': 'batch', 'count': 2, **shell('echo one; echo two >&2')}})
    up.wait_tasks('b', state='ended')
    stamp = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z'
    assert re.fullmatch(rf'{stamp} one\n', logs(up, 'b.0', '--timestamps', '-s', 'stdout'))
    both = logs(up, 'b', '-t').splitlines()
    assert len(both) == 4
    for line in both:
        assert re.fullmatch(rf'b\.[01] \| {stamp} (one|two)', line), line


def test_one_run_alone(up):
    """Run N is what this run wrote, with all other options, and following it ends with it."""
    up.apply({'b': {'kind': 'batch', 'batch': {'retries': 3}, 'restart': {'delay': '10ms'},
                    **shell('echo "begin $REEVE_RUN"; echo "middle $REEVE_RUN"; printf "end $REEVE_RUN"; exit 1')}})
    up.wait_tasks('b', state='ended')
    runs = sorted({line['run'] for line in lines_of(up, 'b.0')})
    assert runs == [1, 2, 3, 4]
    for run in runs:
        assert [line['text'] for line in lines_of(up, 'b.0', '--run', str(run))] == [
            f'begin {run}', f'middle {run}', f'end {run}']
    assert logs(up, 'b.0', '--run', '2', '-n', '2').split('\n') == ['middle 2', 'end 2', '']
    assert logs(up, 'b.0', '--run', '2', '--grep', 'begin') == 'begin 2\n'
    assert logs(up, 'b.0', '--run', '9') == ''
    assert logs(up, 'b.0', '-s', 'stdout', '-f', '--run', '2') == 'begin 2\nmiddle 2\nend 2\n'


# ---- several streams


def check_merged(reeve, job, tasks, count):
    """What tasks wrote with its time comes in the order of time, right to a tenth of a second, and whole."""
    lines = lines_of(reeve, job)
    assert len(lines) == tasks * count * 2
    for task in range(tasks):
        for stream in ('stdout', 'stderr'):
            own = [line['text'].split()[1] for line in lines if (line['task'], line['stream']) == (f'{job}.{task}', stream)]
            assert own == [str(i) for i in range(count)], 'the lines of one stream keep their order'
    order = [wall(line['time']) for line in lines]
    assert order == sorted(order)
    assert [line.split(' | ')[1] for line in logs(reeve, job).splitlines()] == [line['text'] for line in lines]
    turns = sum(a['task'] != b['task'] for a, b in zip(lines, lines[1:]))
    assert turns > count / 2, 'not one task after the other'


def times(count):
    return shell(f'i=0; while [ $i -lt {count} ]; do echo "$(date +%s.%N) $i out"; echo "$(date +%s.%N) $i err" >&2; '
                 'i=$((i+1)); sleep 0.15; done')


def test_tasks_and_streams_are_merged_by_time(up):
    up.apply({'b': {'kind': 'batch', 'count': 3, **times(12)}})
    up.wait_tasks('b', state='ended')
    check_merged(up, 'b', 3, 12)
    one = lines_of(up, 'b.1')
    assert {line['stream'] for line in one} == {'stdout', 'stderr'} and len(one) == 24
    assert [line['stream'] for line in one] != sorted((line['stream'] for line in one), reverse=True)
    last = lines_of(up, 'b', '-n', '2', '-s', 'stdout')
    assert sorted(line['text'].split()[1] for line in last) == ['10'] * 3 + ['11'] * 3, 'the last ones of each stream'


def test_tasks_of_several_nodes_are_merged(cluster):
    cluster.begin(['a', 'b'])
    cluster.server.apply({'b': {'kind': 'batch', 'count': 2, 'place': {'spread': 'node'}, **times(10)}})
    cluster.server.wait_tasks('b', state='ended')
    assert set(cluster.where('b').values()) == {'a', 'b'}
    check_merged(cluster.server, 'b', 2, 10)


def test_much_is_merged_in_bounded_memory(up):
    """More than may wait in the server, of streams that do not begin at the same time."""
    up.apply({'b': {'kind': 'batch', 'count': 4, 'logs': {'size': '100MiB'},
                    **shell('sleep 0.$((REEVE_TASK_INDEX * 3)); i=0; while [ $i -lt 40000 ]; do '
                            'echo "$i and words that make the line longer than it would be without them"; i=$((i+1)); done')}})
    up.wait_tasks('b', state='ended')
    lines = [line.split(' | ', 1) for line in logs(up, 'b').splitlines()]
    for task in range(4):
        own = [text.split()[0] for name, text in lines if name == f'b.{task}']
        assert own == [str(i) for i in range(40000)]


# ---- how long logs stay


def test_old_files_go(up):
    """`age` removes rotated files that nothing was written to for so long; the current one and others' stay."""
    many = shell('i=0; while [ $i -lt 2000 ]; do echo "line $i of many"; i=$((i+1)); done; exec sleep 100000')
    up.apply({'short': {**many, 'logs': {'size': '4KiB', 'files': 50, 'age': '2s'}},
              'long': {**many, 'logs': {'size': '4KiB', 'files': 50, 'age': '1h'}}})
    for job in ('short', 'long'):
        up.wait_for(lambda: up.log_text(f'{job}.0').endswith('line 1999 of many\n'), 'all is written')
    before = up.log_text('long.0')
    up.wait_for(lambda: len(up.log_files('short.0', 'stdout')) == 1, 'only the current file is left')
    assert up.log_text('long.0') == before and len(up.log_files('long.0', 'stdout')) > 3
    first, *lines = lines_of(up, 'short.0')
    assert first['gap'] and first['why'] == 'rotated' and first['bytes'] == first['offset'] == before.index(lines[0]['text'])
    assert lines[-1]['text'] == 'line 1999 of many'


def test_logs_of_removed_tasks_stay_as_long_as_asked(up):
    """`keep` is counted from when a task was removed, by an agent that does not know its job any more."""
    folder = {name: f'{up.data}/node/tasks/{name}.0' for name in ('now', 'soon', 'day', 'other')}
    script = shell('echo written; exec sleep 100000')
    up.apply({'now': {**script, 'logs': {'keep': 0}}, 'soon': {**script, 'logs': {'keep': '4s'}}, 'day': script,
              'other': {**script, 'logs': {'keep': '1h'}}})
    for job in folder:
        up.wait_for(lambda: up.log_text(f'{job}.0') == 'written\n', 'it has written')
    for job in folder:
        up.cli('remove', job)
    up.wait_for(lambda: up.ps() == [], 'all are gone')
    up.kill('agent')
    up.wait_for(lambda: not os.path.exists(folder['now']), 'the logs that are not kept are gone')
    up.wait_for(lambda: not os.path.exists(folder['soon']), 'those kept for 4 s are gone')
    for job in ('day', 'other'):
        assert os.path.exists(f'{folder[job]}/stdout'), job


def log_bytes(up):
    """What all files of logs take, and how many of them are rotated ones."""
    files = [os.path.join(d, n) for d, _, names in os.walk(os.path.join(up.data, 'node/tasks')) for n in names]
    return sum(os.path.getsize(f) for f in files), len([f for f in files if re.search(r'/std(out|err)\.\d+$', f)])


def test_all_logs_of_a_node_have_a_limit(reeve):
    """Above --logs-max the oldest rotated files go, of whichever task, also those of tasks that are gone; never the
    file that is being written, and what is shown afterwards is whole lines without a hole."""
    up = reeve
    up.up('--logs-max', '2MiB')
    small = {'size': '64KiB', 'files': 1000}
    up.apply({'gone': {'kind': 'batch', 'logs': dict(small, keep='1h'), **shell('seq -f "old %.0f" 60000')}})
    up.wait_tasks('gone', state='ended')
    assert log_bytes(up)[0] > 512 << 10
    up.cli('remove', 'gone')
    up.apply({'quiet': {**shell('echo first; exec sleep 1000')},
              'loud': {'kind': 'batch', 'count': 2, 'logs': small, **shell('seq -f "line %.0f" 400000')}})
    up.wait_tasks('loud', 2, state='ended')
    up.wait_for(lambda: log_bytes(up)[0] <= (2 << 20) + 4 * (64 << 10), 'the logs are within the limit')
    folder = os.path.join(up.data, 'node/tasks/gone.0')
    assert not [n for n in os.listdir(folder) if n.startswith('stdout') and not n.endswith('.index')], 'the oldest go first'
    assert logs(up, 'quiet') == 'first\n'
    for task in ('loud.0', 'loud.1'):
        shown = logs(up, task).splitlines()
        assert 0 < len(shown) < 400000
        assert shown == [f'line {n}' for n in range(400000 - len(shown) + 1, 400001)]


def test_a_wrong_limit_is_refused(reeve):
    done = reeve.cli('up', '--logs-max', 'much', check=False)
    assert done.returncode == 2 and '--logs-max much: expected a size, as 4GiB' in done.stderr


class Daemon:
    """A log daemon: keeps what comes to its socket."""

    def __init__(self, path):
        self.path, self.packets = path, []
        self.socket = None

    def listen(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(0.05)

    def receive(self):
        """All that has come until now."""
        try:
            while True:
                self.packets.append(self.socket.recv(1 << 20))
        except TimeoutError:
            return self.packets

    def close(self):
        if self.socket is not None:
            self.socket.close()
            os.unlink(self.path)
            self.socket = None


@pytest.fixture
def daemons(reeve):
    made = [Daemon(os.path.join(reeve.dir, name)) for name in ('syslog', 'journal')]
    yield made
    for daemon in made:
        daemon.close()


def journal_fields(packet):
    """systemd.io/JOURNAL_NATIVE_PROTOCOL"""
    fields = {}
    while packet:
        line, packet = packet.split(b'\n', 1)
        if b'=' in line:
            name, value = line.split(b'=', 1)
        else:
            name, length = line, int.from_bytes(packet[:8], 'little')
            value, packet = packet[8:8 + length], packet[8 + length + 1:]
        fields[name.decode()] = value
    return fields


def begin_with(reeve, daemons):
    reeve.up('--syslog-socket', daemons[0].path, '--journal-socket', daemons[1].path)


def test_lines_are_forwarded(reeve, daemons):
    """To syslog as RFC 3164 has it, to the journal in its own protocol; a last line without an end is one, too; long
    lines come in pieces; nobody else's lines come."""
    for daemon in daemons:
        daemon.listen()
    begin_with(reeve, daemons)
    text = r'echo first; echo wrong >&2; printf "odd \377\nno end"; exec 1>&-; exec sleep 1000'
    reeve.apply({'s': {'kind': 'batch', 'logs': {'forward': 'syslog'}, **shell('echo one; echo two >&2; printf three')},
                 'j': {'kind': 'batch', 'logs': {'forward': 'journal'}, **shell(text.replace('exec sleep 1000', 'true'))},
                 'long': {'kind': 'batch', 'logs': {'forward': 'syslog'}, **shell('seq -s, 1 4000')},
                 'other': {'kind': 'batch', **shell('echo not forwarded')}})
    reeve.wait_for(lambda: len(daemons[0].receive()) >= 6 and len(daemons[1].receive()) >= 4, 'all lines have come')
    texts = [p.decode() for p in daemons[0].packets]
    assert all(re.match(r'<(30|27)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (s|long)\.0: ', t) for t in texts), texts
    assert [t[t.index('s.0: '):] for t in texts if ' s.0: ' in t and t.startswith('<30>')] == ['s.0: one', 's.0: three']
    assert [t[t.index('s.0: '):] for t in texts if ' s.0: ' in t and t.startswith('<27>')] == ['s.0: two']
    pieces = [t.split('long.0: ')[1] for t in texts if 'long.0: ' in t]
    assert ''.join(pieces) == ','.join(str(n) for n in range(1, 4001)) and max(map(len, pieces)) == 8192
    fields = [journal_fields(p) for p in daemons[1].packets]
    assert {f['MESSAGE'] for f in fields} == {b'first', b'wrong', b'odd \377', b'no end'}
    assert all((f['REEVE_JOB'], f['REEVE_TASK'], f['REEVE_RUN'], f['SYSLOG_IDENTIFIER']) == (b'j', b'j.0', b'1', b'j.0')
               for f in fields)
    assert {(f['REEVE_STREAM'], f['PRIORITY']) for f in fields} == {(b'stdout', b'6'), (b'stderr', b'3')}


def test_each_line_is_forwarded_whoever_is_killed(reeve, daemons):
    """At least once and in order, over kill -9 of agent and keeper, and while the daemon is away."""
    syslog = daemons[0]
    syslog.listen()
    begin_with(reeve, daemons)
    reeve.apply({'f': {'kind': 'batch', 'logs': {'forward': 'syslog'},
                       **shell('for i in $(seq 1 3000); do echo line $i; [ $((i % 20)) = 0 ] && sleep 0.02; done; true')}})

    def numbers():
        return [int(p.rsplit(b' ', 1)[1]) for p in syslog.receive()]
    for part, after in (('agent', 300), ('keeper', 700), ('agent', 1000)):
        reeve.wait_for(lambda: numbers() and numbers()[-1] > after, f'line {after} is there')
        assert reeve.kill(part)
        reeve.wait_ready()
    syslog.receive()
    syslog.close()
    reeve.wait_tasks('f', state='ended')
    syslog.listen()
    reeve.wait_for(lambda: numbers()[-1:] == [3000], 'the last line has come')
    seen = numbers()
    once = sorted(set(seen))
    assert once == list(range(1, 3001))
    firsts = list(dict.fromkeys(seen))
    assert firsts == sorted(firsts), 'in order'
    assert 'logs are not forwarded' in reeve.log() and 'logs are forwarded again' in reeve.log()


def test_control_sequences_are_stripped(up):
    up.apply({'c': {'count': 2, 'kind': 'batch', **shell(r"printf '\033[31mred\033[0m \033]0;title\007text\n'")}})
    up.wait_tasks('c', 2, state='ended')
    assert logs(up, 'c.0') == '\033[31mred\033[0m \033]0;title\atext\n', 'as they were written, unless asked'
    assert logs(up, 'c.0', '--strip') == 'red text\n'
    assert sorted(logs(up, 'c', '--strip').splitlines()) == ['c.0 | red text', 'c.1 | red text']
    assert logs(up, 'c.0', '--strip', '--timestamps').endswith('Z red text\n')


def test_the_example(up):
    """examples/logs.yaml, with the commands that it names."""
    up.cli('apply', os.path.join(os.path.dirname(__file__), '../../examples/logs.yaml'))
    up.wait_for(lambda: logs(up, 'talker', '--grep', 'number [0-9]*7$').count('| number 7\n') == 2, 'both talkers talk')
    assert logs(up, 'talker', '--since', '10s', '--timestamps')
    up.wait_tasks('oops', state='ended')
    assert logs(up, 'oops', '--run', '2') == 'attempt 2\n'


# ---- what makes no sense


@pytest.mark.parametrize('arguments, message', [
    (['--grep', 'a('], r'grep.*"\)" is missing'),
    (['--since', 'yesterday'], r'--since: expected a time'),
    (['--since', '1m', '--until', '2m'], r'until: expected a time after'),
    (['-f', '--until', '1m'], r'--until and --follow'),
    (['--run', '0'], r'run.*1'),
])
def test_bad_options_are_refused(up, arguments, message):
    up.apply({'web': {'command': ['sleep', '100000']}})
    up.wait_running('web', 1)
    done = up.cli('logs', 'web.0', *arguments, check=False)
    assert done.returncode != 0 and re.search(message, done.stderr), done.stderr


def test_bad_queries_are_refused(up):
    up.apply({'web': {'command': ['sleep', '100000']}})
    for query in ('grep=%5B', 'since=x', 'run=0', 'run=-1', 'timestamps=maybe', 'follow=true&until=1m', 'grep=a%0Ab'):
        with pytest.raises(ApiError) as problem:
            up.api('GET', f'/v1/tasks/web.0/logs?{query}')
        assert problem.value.status == 400, query
