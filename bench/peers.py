# SPDX-License-Identifier: BSD-3-Clause
"""The supervisors that are compared, each behind the same few methods.

Each is set up as its manual says, with what costs it least: no shell before the task, no logger
where logs are not measured, restarts without delay as far as it can. All of them run in a
directory of the round's own and are asked to stop with the commands that their users have.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import machine


class Peer:
    """One supervisor, for one run of one measurement."""

    name = ""
    kills = 200  # how often the restart measurement kills; fewer where each takes a second
    programs = ()  # what must be installed
    roles = None  # how its processes are told apart, if there are several that matter

    def __init__(self, tools, directory):
        self.tools = tools  # child, lines, limit, reeve: paths
        self.directory = pathlib.Path(directory)
        self.process = None
        self.environment = dict(os.environ)

    @classmethod
    def missing(cls, _tools):
        """Why it cannot be measured here; None if it can."""
        absent = [program for program in cls.programs if shutil.which(program) is None]
        return f"{', '.join(absent)} not installed" if absent else None

    @classmethod
    def version(cls, _tools):
        return ""

    def prepare(self, count, reports):
        """Writes down @count tasks of bench-child, which report to the FIFO @reports."""
        raise NotImplementedError

    def prepare_log(self, command, file_bytes, files):
        """Writes down one task whose output is kept in @files files of @file_bytes."""
        raise NotImplementedError

    def wait_before_launch(self):
        """Lets time pass that is owed to the preparation, not to the launch."""

    def launch(self):
        raise NotImplementedError

    def stop_tasks(self):
        """Tells all tasks to stop; returns when the command does, before or after they end."""
        raise NotImplementedError

    def log_files(self):
        """The files of the log, oldest first."""
        raise NotImplementedError

    def role(self, _pid):
        """What a process of the supervisor is called in the tables."""
        return self.name

    def start(self, *command):
        with open(self.directory / "output", "ab") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                env=self.environment,
                start_new_session=True,
            )

    def run(self, *command, stdin=None):
        with open(self.directory / "output", "ab") as output:
            subprocess.run(
                [str(word) for word in command],
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                env=self.environment,
                check=True,
                timeout=120,
            )

    def output(self):
        """The end of what it printed, for a message about its failure."""
        try:
            return (self.directory / "output").read_text(errors="replace")[-400:].strip()
        except OSError:
            return ""


def numbered(directory, pattern=r"stdout\.(\d+)$"):
    """Files with a number, by number."""
    found = []
    for path in directory.iterdir():
        match = re.match(pattern, path.name)
        if match:
            found.append((int(match[1]), path))
    return [path for _, path in sorted(found)]


class Limit(Peer):
    """Only the system calls; see bench/limit.c."""

    name = "limit"
    pipe_bytes = 65536

    @classmethod
    def missing(cls, tools):
        return None if tools.limit.exists() else f"{tools.limit} is not built"

    def prepare(self, count, reports):
        self.command = [self.tools.limit, "keep", count, self.tools.child, reports]

    def prepare_log(self, command, file_bytes, files):
        logs = self.directory / "log"
        logs.mkdir()
        self.command = [self.tools.limit, "log", logs, self.pipe_bytes, file_bytes, *command]

    def launch(self):
        self.start(*self.command)

    def stop_tasks(self):
        self.process.send_signal(signal.SIGUSR1)

    def log_files(self):
        logs = self.directory / "log"
        return numbered(logs) + [logs / "stdout"]


class LimitLargePipe(Limit):
    """The same with the largest pipe that everyone may have; differs for logs only."""

    name = "limit, 1 MB pipe"
    pipe_bytes = 1 << 20


class Reeve(Peer):
    """Keeper, agent and server as `reeve up` starts them."""

    name = "reeve"
    roles = ("keeper", "agent", "server")

    @classmethod
    def missing(cls, tools):
        return None if tools.reeve.exists() else f"{tools.reeve} is not built"

    @classmethod
    def version(cls, tools):
        answer = subprocess.run(
            [tools.reeve, "version"], capture_output=True, text=True, timeout=10, check=False
        )
        return (answer.stdout.split("\n")[0] or "version unknown").strip()

    def __init__(self, tools, directory):
        super().__init__(tools, directory)
        self.data = self.directory / "data"
        self.socket = self.directory / "sock"
        self.more = []  # arguments of `reeve up`
        self.environment["REEVE_ADDR"] = f"unix:{self.socket}"

    def job_file(self, name, jobs):
        path = self.directory / name
        path.write_text(json.dumps({"jobs": jobs}))
        return path

    def job(self, command, count=1, **more):
        return {
            "kind": "service",
            "count": count,
            "command": [str(word) for word in command],
            "restart": {"policy": "always", "delay": "0s"},
            **more,
        }

    def prepare(self, count, reports):
        job = self.job([self.tools.child, reports], count)
        self.jobs = self.job_file("jobs.json", {"bench": job} if count > 0 else {})

    def prepare_health(self, count, reports, url):
        checks = [{"http": url, "interval": "5s"}]
        job = self.job([self.tools.child, reports], count, health=checks)
        self.jobs = self.job_file("jobs.json", {"bench": job})

    def prepare_everything(self, count, reports, url):
        job = self.job(
            [self.tools.child, reports], count,
            limits={"memory": "64MiB", "pids": 16, "cpu": 1.5, "files": 256},
            max_run_time="10d",
            ready={"http": url, "interval": "5s"},
            health=[{"http": url, "interval": "5s"}],
            logs={"age": "7d", "forward": "syslog"},
            env={"NAME": "${task.id}"},
            update={"order": "start-first", "healthy": "5s"},
        )
        self.jobs = self.job_file("jobs.json", {"bench": job})

    def prepare_held(self, reports, address, order):
        job = self.job(
            [self.tools.held, reports, 9], sockets={"http": {"listen": address}},
            ready={"fd": 9}, update={"order": order},
        )
        self.jobs = self.job_file("jobs.json", {"bench": job})

    def restart_job(self):
        """Returns when the restart is through, and nobody stands in any more."""
        before = self.tasks()[0]["runs"]
        self.run(self.tools.reeve, "restart", "bench")
        deadline = time.monotonic() + 60
        while True:
            tasks = self.tasks()
            if len(tasks) == 1 and tasks[0]["ready"] and tasks[0]["runs"] > before:
                return
            if time.monotonic() > deadline:
                raise TimeoutError("a restart was not through within 60 s")
            time.sleep(0.02)

    def tasks(self):
        answer = subprocess.run(
            [self.tools.reeve, "ps", "--json"], env=self.environment, capture_output=True,
            timeout=10, check=True,
        )
        return json.loads(answer.stdout)

    def prepare_log(self, command, file_bytes, files):
        logs = {"size": f"{file_bytes}B", "files": files}
        self.jobs = self.job_file("jobs.json", {"bench": self.job(command, logs=logs)})

    def launch(self):
        self.start(
            self.tools.reeve, "up", "--data", self.data, "--socket", self.socket,
            "--jobs", self.jobs, *self.more,
        )

    def stop_tasks(self):
        self.run(self.tools.reeve, "stop", "bench")

    def apply(self, path):
        self.run(self.tools.reeve, "apply", path)

    def log_files(self):
        current = list(self.data.glob("node/tasks/*/stdout"))
        if not current:
            return []
        return list(reversed(numbered(current[0].parent))) + current

    def role(self, pid):
        words = machine.read_proc(pid, "cmdline").split("\0")
        if "keeper" in os.path.basename(words[0]):
            return "keeper"
        return next((role for role in self.roles if role in words[1:]), "reeve")


class Directories(Peer):
    """What runit and s6 share: a directory for each service, with a program `run` in it."""

    logger = ""

    def service(self, name):
        path = self.directory / "services" / name
        path.mkdir(parents=True)
        return path

    def prepare(self, count, reports):
        self.environment["REEVE_BENCH_UP"] = str(reports)
        (self.directory / "services").mkdir()
        for i in range(count):
            (self.service(f"bench{i}") / "run").symlink_to(self.tools.child)

    def script(self, path, *command):
        words = " ".join(f"'{word}'" for word in command)
        path.write_text(f"#!/bin/sh\nexec {words}\n")
        path.chmod(0o755)

    def prepare_log(self, command, file_bytes, files):
        service = self.service("bench")
        self.script(service / "run", *command)
        (service / "log").mkdir()
        (self.directory / "log").mkdir()
        self.script(service / "log" / "run", *self.log_command(file_bytes, files))

    def log_command(self, file_bytes, files):
        raise NotImplementedError

    def services(self):
        """All but what the supervisor keeps for itself (.s6-svscan)."""
        return sorted((self.directory / "services").glob("[!.]*"))

    def log_files(self):
        logs = self.directory / "log"
        return sorted(logs.glob("@*")) + [logs / "current"]


class Runit(Directories):
    name = "runit"
    programs = ("runsvdir", "runsv", "sv", "svlogd")

    @classmethod
    def version(cls, _tools):
        return package_version("runit")

    def launch(self):
        self.start("runsvdir", self.directory / "services")

    def wait_before_launch(self):
        """runsvdir does not look at a directory that was changed in the current second."""
        changed = int((self.directory / "services").stat().st_mtime)
        while time.time() < changed + 1:
            time.sleep(0.01)

    def stop_tasks(self):
        self.run("sv", "down", *self.services())

    def log_command(self, file_bytes, files):
        logs = self.directory / "log"
        (logs / "config").write_text(f"s{file_bytes}\nn{files}\n")
        return ["svlogd", logs]


class S6(Directories):
    name = "s6"
    kills = 20
    programs = ("s6-svscan", "s6-supervise", "s6-svc", "s6-log")

    @classmethod
    def version(cls, _tools):
        return package_version("s6")

    def launch(self):
        self.start("s6-svscan", "-c", 2000, self.directory / "services")

    def stop_tasks(self):
        """s6-svc takes one service at a time."""
        names = "".join(f"{service}\n" for service in self.services())
        self.run("xargs", "-n", 1, "s6-svc", "-d", stdin=names.encode())

    def log_command(self, file_bytes, files):
        return ["s6-log", f"s{file_bytes}", f"n{files}", self.directory / "log"]


class Supervisord(Peer):
    name = "supervisord"
    kills = 20
    programs = ("supervisord", "supervisorctl")

    CONFIG = """\
[unix_http_server]
file={directory}/sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{directory}/sock
[supervisord]
logfile={directory}/supervisord.log
pidfile={directory}/pid
childlogdir={directory}
loglevel=warn
minfds=8192
nodaemon=true
"""
    PROGRAM = """\
[program:bench]
command={command}
process_name=bench%(process_num)d
numprocs={count}
startsecs=0
autorestart=true
stdout_logfile={log}
stdout_logfile_maxbytes={file_bytes}
stdout_logfile_backups={files}
stderr_logfile=NONE
"""

    @classmethod
    def version(cls, _tools):
        return package_version("supervisor")

    def write(self, command, count, log="NONE", file_bytes=0, files=0):
        text = self.CONFIG.format(directory=self.directory)
        if count > 0:
            text += self.PROGRAM.format(
                command=" ".join(str(word) for word in command), count=count, log=log,
                file_bytes=file_bytes, files=files,
            )
        self.config = self.directory / "supervisord.conf"
        self.config.write_text(text)

    def prepare(self, count, reports):
        self.write([self.tools.child, reports], count)

    def prepare_log(self, command, file_bytes, files):
        (self.directory / "log").mkdir()
        self.write(command, 1, self.directory / "log" / "stdout", file_bytes, files)

    def launch(self):
        self.start("supervisord", "-c", self.config)

    def stop_tasks(self):
        self.run("supervisorctl", "-c", self.config, "stop", "bench:*")

    def log_files(self):
        logs = self.directory / "log"
        return list(reversed(numbered(logs))) + [logs / "stdout"]


def package_version(name):
    """The version of Debian's package."""
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or "version unknown"


ALL = {peer.name: peer for peer in (Limit, Reeve, Runit, S6, Supervisord)}


def temporary_directory(parent):
    return pathlib.Path(tempfile.mkdtemp(prefix="reeve-bench.", dir=parent))
