# SPDX-License-Identifier: BSD-3-Clause
"""Alerts: somebody is told of a failure, whoever is killed or does not answer meanwhile."""
import http.server
import json
import os
import socket
import stat
import threading

import pytest

import reeve as harness

BAD = {'command': 'echo it broke >&2; exit 3', 'restart': {'delay': 0, 'burst': 3}}
ONCE = {'command': 'echo it broke >&2; exit 3', 'restart': {'policy': 'never'}}


class Receiver:
    """Takes POSTs; the first @refused of them get status 500."""

    def __init__(self, refused=0):
        self.got, self.refused, self.paths = [], refused, []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers['Content-Length']))
                receiver.paths.append(self.path)
                if receiver.refused > 0:
                    receiver.refused -= 1
                    self.send_response(500)
                else:
                    receiver.got.append(json.loads(body))
                    self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f'http://127.0.0.1:{self.server.server_port}/hook?key=s3cret'

    def about(self, job):
        return sorted(g['event']['failure'] for g in self.got if g['event']['job'] == job)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver():
    r = Receiver()
    yield r
    r.close()


def recorder(tmp_path, name):
    """A program that appends what it is given to a file."""
    path, out = tmp_path / name, tmp_path / (name + '.out')
    path.write_text(f'#!/bin/sh\n{{ echo "== $* $REEVE_FAILURE $REEVE_TASK $REEVE_RUN"; cat; echo; }} >>{out}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path), out


def text(path):
    return path.read_text() if path.exists() else ''


def test_webhook_tells_once_per_kind(reeve, receiver):
    """Three failed runs and the parking: one alert of each kind, with event and dossier."""
    reeve.up('--alert-webhook', receiver.url)
    reeve.apply({'bad': BAD})
    reeve.wait_for(lambda: receiver.about('bad') == ['failed', 'parked'], 'both are told')
    first = next(g for g in receiver.got if g['event']['failure'] == 'failed')
    assert receiver.paths[0] == '/hook?key=s3cret'
    assert first['event']['task'] == 'bad.0' and first['event']['run'] == 1
    assert first['dossier']['stderr'] == 'it broke\n' and first['dossier']['exit_code'] == 3
    assert 'it broke' in first['text'] and 'exit code 3' in first['text']
    assert 's3cret' not in json.dumps(reeve.events()) and 's3cret' not in reeve.log()
    reeve.apply({'good': {'command': ['true'], 'restart': {'policy': 'never'}}, 'bad2': ONCE})
    reeve.wait_for(lambda: receiver.about('bad2') == ['failed'], 'the next is told')
    reeve.cli('restart', 'bad')
    reeve.apply({'bad3': ONCE})
    reeve.wait_for(lambda: receiver.about('bad3') == ['failed'], 'the one after that is told')
    assert receiver.about('bad') == ['failed', 'parked'] and receiver.about('good') == []


def test_a_job_tells_its_own_people(reeve, receiver, tmp_path):
    sendmail, mails = recorder(tmp_path, 'sendmail')
    command, calls = recorder(tmp_path, 'command')
    reeve.up('--sendmail', sendmail, '--alert-command', command, '--alert-on', 'parked')
    reeve.apply({'bad': {**BAD, 'alerts': {'on': ['failed'], 'webhook': receiver.url, 'mail': 'ops@example.org',
                                           'repeat': 0}}})
    reeve.wait_for(lambda: receiver.about('bad') == ['failed'] * 3, 'each failed run is told')
    reeve.wait_for(lambda: text(mails).count('== -t -i failed bad.0') == 3, 'mails are sent')
    reeve.wait_for(lambda: text(calls).endswith('}\n'), 'the command is run')
    assert 'To: ops@example.org\nSubject: [reeve] bad.0 failed: run 1 ended: exit code 3' in text(mails)
    reeve.wait_for(lambda: text(mails).count('Its last lines on stderr:\n  it broke') == 3, 'the mails are whole')
    line, rest = text(calls).split('\n', 1)
    assert line == '==  parked bad.0 3'
    assert json.loads(rest)['event']['kind'] == 'task-parked'


def test_a_receiver_that_fails_first_over_kills_of_the_server(reeve, receiver):
    """It answers 500 for a while, and the server is killed again and again: each alert comes all the same."""
    receiver.refused = 6
    reeve.up('--alert-webhook', receiver.url)
    jobs = {f'bad{i}': ONCE for i in range(5)}
    for i, (name, job) in enumerate(jobs.items()):
        reeve.apply({name: job})
        reeve.wait_tasks(name, state='ended')
        reeve.kill('server')
        if i % 2:
            reeve.kill('agent')
        reeve.wait_ready()
    for name in jobs:
        reeve.wait_for(lambda: receiver.about(name), f'the failure of {name} is told')
    reeve.wait_for(lambda: not rows(reeve), 'nothing is left to be told')


def rows(reeve):
    """The deliveries that wait, as the store has them."""
    snapshot = reeve.api('GET', '/v1/snapshot')
    return [line for line in (snapshot if isinstance(snapshot, str) else json.dumps(snapshot)).splitlines()
            if 'alert/due/' in line]


def test_a_dead_receiver_holds_nobody_up(reeve, receiver):
    """One accepts connections and never answers; who listens to other jobs hears of them at once."""
    with socket.create_server(('127.0.0.1', 0), backlog=100) as dead:
        reeve.up()
        url = f'http://127.0.0.1:{dead.getsockname()[1]}/'
        reeve.apply({'many': {**ONCE, 'count': 5, 'alerts': {'webhook': url}},
                     'other': {**ONCE, 'alerts': {'webhook': receiver.url}}})
        reeve.wait_for(lambda: receiver.about('other') == ['failed'], 'the other is told')
        reeve.wait_for(lambda: len(rows(reeve)) == 5, 'what is not told yet is stored')
        reeve.apply({'web': {'command': ['sleep', '100000']}})
        reeve.wait_running('web', 1)


def test_what_is_wrong_is_named(reeve):
    reeve.up()
    for alerts, message in (({'webhook': 'ftp://a/'}, 'jobs.web.alerts.webhook: expected a URL such as'),
                            ({'mail': 'a@b\nBcc: c'}, 'jobs.web.alerts.mail: expected one address'),
                            ({'on': ['parkd']}, 'jobs.web.alerts.on: there is no failure "parkd"; did you mean "parked"?'),
                            ({'command': ['sh']}, 'jobs.web.alerts.command: unknown field')):
        with pytest.raises(harness.ApiError) as e:
            reeve.api('POST', '/v1/jobs', {'jobs': {'web': {'command': ['true'], 'alerts': alerts}}})
        assert message in json.dumps(e.value.problem, ensure_ascii=False).replace('\\"', '"')
    done = reeve.cli('up', '--alert-command', 'sh', check=False)
    assert done.returncode == 2 and '--alert-command' in done.stderr


def test_example(reeve, receiver, tmp_path):
    """examples/alerts.yaml: the job parks, and each of its people hears of that."""
    sendmail, mails = recorder(tmp_path, 'sendmail')
    reeve.up('--sendmail', sendmail)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../examples/alerts.yaml')
    with open(path) as f:
        example = f.read()
    assert 'http://127.0.0.1:9999/hook' in example
    mine = tmp_path / 'alerts.yaml'
    mine.write_text(example.replace('http://127.0.0.1:9999/hook', receiver.url))
    reeve.cli('apply', str(mine))
    reeve.wait_for(lambda: 'parked' in receiver.about('fragile'), 'the webhook hears of it')
    reeve.wait_for(lambda: 'fragile.0 parked' in text(mails), 'the mail is written')
    assert 'cannot read its configuration' in receiver.got[0]['dossier']['stderr']
