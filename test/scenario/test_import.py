# SPDX-License-Identifier: BSD-3-Clause
"""`reeve import`: files of other supervisors as job files, and that these run."""
import re
import subprocess

import pytest

SUPERVISORD = r"""
[unix_http_server]
file=/var/run/supervisor.sock   ; the socket

[supervisord]
logfile=/var/log/supervisord.log

[program:web.app]
command=/bin/sh -c "echo 'a b' $X; exec sleep 100000" ; comment
directory=/usr
numprocs=2
process_name=%(program_name)s_%(process_num)02d
autorestart=true
startsecs=3
startretries=5
exitcodes=0,2
stopsignal=INT
stopwaitsecs=7
user=root
environment=COLOUR="light, blue",N="%(process_num)d"
stdout_logfile=/var/log/web.log
stdout_logfile_maxbytes=1MB
stdout_logfile_backups=3
redirect_stderr=true
priority=999
serverurl=AUTO

[program:once]
command=echo "${not.ours}"
  and more
autorestart=false
autostart=false
umask=022

[eventlistener:mem]
command=memmon

[include]
files = conf.d/*.conf
"""

INCLUDED = '[program:late]\ncommand=sleep 100000\n[include]\nfiles=*.conf\n'

SYSTEMD = r"""
# a comment
[Unit]
Description=Example web server
After=network.target

[Service]
Type=simple
User=root
WorkingDirectory=/usr
Environment="COLOUR=light blue" N=1
Environment=HOME=/%n
ExecStart=/bin/sleep \
  100000
Restart=on-failure
RestartSec=1min 30s
RestartPreventExitStatus=78 SIGKILL
StartLimitBurst=3
TimeoutStopSec=5
SuccessExitStatus=3 SIGHUP
KillSignal=SIGINT
LimitNOFILE=4096
MemoryMax=512M
CPUQuota=150%
ProtectHome=yes

[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def made(up, tmp_path):
    """Imports texts as files and applies the result; what was printed, and a function for one job's spec."""
    def make(kind, files, jobs):
        paths = []
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            paths.append(str(path))
        text = up.cli('import', kind, paths[0]).stdout
        (tmp_path / 'jobs.yaml').write_text(text)
        up.cli('apply', str(tmp_path / 'jobs.yaml'))
        for job, count in jobs.items():
            if count:
                up.wait_running(job, count)
        return text, lambda job: up.api('GET', f'/v1/jobs/{job}')['spec']
    return make


def test_supervisord(up, made):
    text, spec = made('supervisord', {'supervisord.conf': SUPERVISORD, 'conf.d/late.conf': INCLUDED},
                      {'web-app': 2, 'late': 1})
    web = spec('web-app')
    assert web['command'] == ['/bin/sh', '-c', "echo 'a b' $X; exec sleep 100000"]
    assert (web['count'], web['directory'], web['user']) == (2, '/usr', 'root')
    assert web['env'] == {'COLOUR': 'light, blue', 'N': '${task.index}'}
    assert web['success_codes'] == [0, 2]
    assert (web['stop']['signal'], web['stop']['grace']) == ('INT', '7s')
    assert (web['restart']['policy'], web['restart']['healthy'], web['restart']['burst']) == ('always', '3s', 6)
    assert (web['logs']['size'], web['logs']['files']) == ('1MiB', 3)
    assert re.search(r'# its name was "web.app"', text)
    assert re.search(r'# stdout_logfile=/var/log/web.log: Reeve keeps both streams: `reeve logs web-app`', text)
    assert re.search(r'# serverurl=AUTO: no equivalent', text)
    assert re.search(r'\[eventlistener:mem\]: no equivalent', text) and 'memmon' not in text
    once = spec('once')
    assert once['command'] == ['echo', '$${not.ours}', 'and', 'more'] and once['restart']['policy'] == 'never'
    assert once['umask'] == '022'
    up.wait_for(lambda: '${not.ours} and more' in up.log_text('once.0'), 'it was run')
    assert re.search(r'# autostart=false: apply it, then `reeve stop once`', text)
    up.wait_for(lambda: 'a b' in up.log_text('web-app.1'), 'the shell has run')


def test_systemd(up, made):
    text, spec = made('systemd', {'web.service': SYSTEMD}, {'web': 1})
    web = spec('web')
    assert web['command'] == ['/bin/sleep', '100000']
    assert web['env'] == {'COLOUR': 'light blue', 'N': '1', 'HOME': '/${job.name}'}
    assert web['restart']['policy'] == 'on-failure' and web['restart']['delay'] == '90s'
    assert web['restart']['rules'] == [{'exit': [78], 'then': 'end'}]
    assert web['success_codes'] == [0, 3]
    assert web['limits']['memory'] == '512MiB' and web['limits']['cpu'] == '1.5' and web['limits']['files'] == 4096
    for told in ('# Example web server', 'After=network.target: no equivalent', 'SIGKILL is no exit code',
                 'SIGHUP is no exit code', 'ProtectHome=yes: no equivalent'):
        assert told in text
    assert 'WantedBy' not in text


def test_systemd_of_other_types(up, made):
    text, spec = made('systemd', {'set up@.service': '[Service]\nType=oneshot\nExecStart=/bin/echo one\n'
                                  'ExecStart=-/bin/echo $HOME ${HOME}\nEnvironment=HOME=/x\nExecStop=/bin/true\n'}, {})
    job = spec('set-up-')
    assert job['kind'] == 'batch' and job['command'] == '/bin/echo one && /bin/echo $HOME ${HOME}'
    assert 'the prefix "-" has no equivalent' in text and 'ExecStop=/bin/true: no equivalent' in text
    up.wait_for(lambda: up.log_text('set-up-.0') == 'one\n/x /x\n', 'it was run')


def test_systemd_daemon(up, made, tmp_path):
    """PIDFile and EnvironmentFile have equivalents, which do the same."""
    (tmp_path / 'default').write_text('# what it says\nSPAN="100000"\n')
    (tmp_path / 'd.sh').write_text(f'sleep $SPAN & echo $! > {tmp_path}/d.pid')
    unit = f"""[Service]
Type=forking
PIDFile={tmp_path}/d.pid
EnvironmentFile={tmp_path}/default
EnvironmentFile=-{tmp_path}/missing
ExecStart=/bin/sh {tmp_path}/d.sh
"""
    _, spec = made('systemd', {'d.service': unit}, {'d': 1})
    assert spec('d')['env_files'] == [f'{tmp_path}/default', f'-{tmp_path}/missing']
    assert spec('d')['daemon']['pid_file'] == f'{tmp_path}/d.pid'
    up.wait_for(lambda: up.task('d.0')['ready'], 'it is found')
    assert int((tmp_path / 'd.pid').read_text()) == up.task('d.0')['pid']


def test_procfile(up, made, tmp_path):
    text, spec = made('procfile', {'Procfile': '# x\nweb: echo port $PORT; exec sleep 100000\n\nworker-1: sleep 100000\n'},
                      {'web': 1, 'worker-1': 1})
    assert spec('web')['command'] == 'echo port $PORT; exec sleep 100000'
    assert spec('worker-1')['directory'] == str(tmp_path.resolve())
    up.wait_for(lambda: re.fullmatch(r'port \d+\n', up.log_text('web.0')), 'it has its port')


@pytest.mark.parametrize('kind, text, told', [
    ('supervisord', 'x=1\n', r'f:1: expected "key = value" below a \[section\]'),
    ('supervisord', '[program:x]\ncommand\n', r'f:2: expected "key = value", got "command"'),
    ('supervisord', '[supervisord]\nx=1\n', r'job file of f: nothing in it is started'),
    ('supervisord', '[program:x]\ncommand=x\nstopsignal=NONE\n', r'what was made of it is refused: .*stop.signal'),
    ('systemd', '[Service]\nType=simple\n', r'f: no ExecStart'),
    ('procfile', 'web sleep\n', r'f:1: expected "name: command", got "web sleep"'),
    ('runit', '', r'"runit" is none of the kinds that can be imported: supervisord, systemd, procfile'),
])
def test_mistakes_are_told(binaries, tmp_path, kind, text, told):
    (tmp_path / 'f').write_text(text)
    done = subprocess.run([binaries[0], 'import', kind, 'f'], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == '' and re.search(told, done.stderr), done
