# SPDX-License-Identifier: BSD-3-Clause
"""The measurements: each runs one peer once and returns numbers by name.

Every run has a directory and a FIFO of its own and ends with nothing left: whatever descends from
the driver is ended, whatever was written is removed.
"""

import concurrent.futures
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import machine
import peers


class Failed(Exception):
    """A run that gave no number, and why."""


class Run:
    """One peer, set up in a directory of its own."""

    def __init__(self, kind, tools, parent):
        self.directory = peers.temporary_directory(parent)
        self.reports = machine.Reports(self.directory / "up")
        self.own_programs = {str(tools.child), str(tools.lines)}
        self.peer = kind(tools, self.directory)

    def is_task(self, pid):
        return machine.exe(pid) in self.own_programs

    def supervisors(self):
        return [pid for pid in machine.descendants() if not self.is_task(pid)]

    def by_role(self, value):
        """The sum of value(pid) for each role of the supervisor's processes."""
        sums = {role: 0 for role in self.peer.roles or [self.peer.name]}
        for pid in self.supervisors():
            role = self.peer.role(pid)
            sums[role] = sums.get(role, 0) + value(pid)
        return sums

    def launch(self, count, timeout=60):
        """Starts the supervisor; returns the seconds until the last task was up, and the records."""
        self.peer.wait_before_launch()
        begin = time.monotonic_ns()
        self.peer.launch()
        records = self.reports.wait(count, timeout)
        if len({pid for pid, _ in records}) != count:
            raise Failed(f"{len(records)} starts for {count} tasks")
        return (max((ns for _, ns in records), default=begin) - begin) / 1e9, records

    def close(self):
        machine.end_all(self.is_task)
        self.reports.close()
        shutil.rmtree(self.directory)


@contextlib.contextmanager
def running(kind, tools, parent):
    """A run that is cleaned up whatever happens, and whose failure says what the peer said."""
    run = Run(kind, tools, parent)
    try:
        yield run
    except (OSError, TimeoutError, subprocess.SubprocessError) as error:
        raise Failed(f"{error} {run.peer.output()}".strip()) from error
    finally:
        run.close()


def memory_at_rest(kind, tools, parent):
    """PSS by role of a supervisor without tasks."""
    with running(kind, tools, parent) as run:
        run.peer.prepare(0, run.reports.path)
        run.launch(0)
        time.sleep(0.2)  # not even its first process may be there yet, and then all is quiet
        machine.settle(run.supervisors())
        return run.by_role(machine.pss_kib)


def idle(run, seconds):
    """Context switches and CPU milliseconds by role over a time in which nothing happens."""
    pids = {pid: machine.usage(pid) for pid in run.supervisors()}
    time.sleep(seconds)
    result = {}
    for name, index, unit in (("switches", 0, 1), ("cpu_ms", 1, 1e6)):
        sums = run.by_role(lambda p: machine.usage(p)[index] - pids.get(p, (0, 0))[index])
        result[name] = {role: value / unit for role, value in sums.items()}
    return result


def stop(run, pids):
    """Seconds from the command to the end of the last task; the command may take longer."""
    gone = machine.Gone(pids)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        begin = time.monotonic_ns()
        command = pool.submit(run.peer.stop_tasks)
        end = gone.wait(60)
        command.result()
    gone.close()
    return (end - begin) / 1e9


def tasks(kind, tools, parent, options, wanted):
    """Start, memory, idle and stop of many tasks: one life of the supervisor."""
    at_rest = memory_at_rest(kind, tools, parent) if "memory" in wanted else {}
    with running(kind, tools, parent) as run:
        run.peer.prepare(options.tasks, run.reports.path)
        kernel = machine.kernel_kib()
        result = {}
        result["start"], records = run.launch(options.tasks)
        machine.settle(run.supervisors())
        if "memory" in wanted:
            result["kernel"] = (machine.kernel_kib() - kernel) / options.tasks
            full = run.by_role(machine.pss_kib)
            result["memory"] = {
                role: (full[role] - at_rest.get(role, 0)) / options.tasks for role in full
            }
            result["memory_total"] = full
        if "idle" in wanted:
            result["idle"] = idle(run, options.idle)
        if "stop" in wanted:
            result["stop"] = stop(run, [pid for pid, _ in records])
        return result


def kill_and_wait(run, pid, timeout=8):
    """Kills a task; returns the milliseconds until it is up again and its record, or None."""
    if not run.is_task(pid):
        raise Failed(f"process {pid} is not the task it was")
    begin = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    record = run.reports.wait_one(timeout)
    return ((record[1] - begin) / 1e6, record) if record else (None, None)


def restart(kind, tools, parent, options):
    """Kills tasks in turn, each older than 1.2 s; milliseconds until each is up again."""
    kills = min(kind.kills, options.kills)
    with running(kind, tools, parent) as run:
        run.peer.prepare(min(kills, 100), run.reports.path)
        _, alive = run.launch(min(kills, 100))
        alive.sort(key=lambda record: record[1])
        times = []
        for _ in range(kills):
            pid, since = alive.pop(0)
            time.sleep(max(0.0, 1.2 - (time.monotonic_ns() - since) / 1e9))
            took, record = kill_and_wait(run, pid)
            if record is None:
                raise Failed("a killed task did not come back within 8 s")
            times.append(took)
            alive.append(record)
        return {"restart": times}


def log_size(peer):
    """Bytes in the files of the log; files that are being renamed are counted the next time."""
    total = 0
    for path in peer.log_files():
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def wait_for_log(peer, expected, stall=20):
    """Waits until all is written; returns when that was, in monotonic nanoseconds."""
    last, since = -1, time.monotonic()
    while True:
        try:
            size = log_size(peer)
        except FileNotFoundError:
            continue  # renamed between listing and looking
        now = time.monotonic()
        if size >= expected:
            return int(now * 1e9)
        if size != last:
            last, since = size, now
        elif now - since > stall:
            raise Failed(f"only {size} of {expected} bytes were logged")
        time.sleep(0.004)


def log(kind, tools, parent, options, megabytes, chunk):
    """Captures lines that are written as fast as they are taken; MB/s, CPU, and all is there."""
    expected = megabytes * 1_000_000
    with running(kind, tools, parent) as run:
        command = [tools.lines, "write", run.reports.path, expected, chunk]
        run.peer.prepare_log([str(word) for word in command], options.log_file, 100)
        _, records = run.launch(1)
        cpu = run.by_role(lambda pid: machine.usage(pid)[1])
        end = wait_for_log(run.peer, expected)
        after = run.by_role(lambda pid: machine.usage(pid)[1])
        files = [path for path in run.peer.log_files() if path.exists()]
        check = subprocess.run(
            [tools.lines, "check", *files], capture_output=True, text=True, check=False
        )
        lines = check.stdout.strip()
        if check.returncode != 0 or int(lines) != expected // 100:
            raise Failed(f"the log is wrong: {lines} {check.stderr.strip()}")
        seconds = (end - records[0][1]) / 1e9
        used = (sum(after.values()) - sum(cpu.values())) / 1e9
        return {
            "rate": megabytes / seconds,
            "cpu": used * 1000 / megabytes,
            "files": len(files),
        }


def everything(kind, tools, parent, options):
    """Memory per task with limits, checks and all else that one machine has to offer."""
    without = memory_at_rest(kind, tools, parent)
    with contextlib.closing(Answers()) as answers, running(kind, tools, parent) as run:
        run.peer.prepare_everything(options.tasks, run.reports.path, answers.url)
        run.launch(options.tasks)
        deadline = time.monotonic() + 60
        while answers.asked < 3 * options.tasks:  # ready, and two checks of each
            if time.monotonic() > deadline:
                raise Failed(f"{answers.asked} checks of {options.tasks} tasks within 60 s")
            time.sleep(0.1)
        machine.settle(run.supervisors())
        full = run.by_role(machine.pss_kib)
        return {role: (full[role] - without.get(role, 0)) / options.tasks for role in full}


def lines_and_seconds(command, environment=None):
    """How many lines a command prints, and how long it takes."""
    begin = time.monotonic()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as printer:
        count = subprocess.run(
            ["wc", "-l"], stdin=printer.stdout, capture_output=True, text=True, check=True
        )
    if printer.returncode > 1:
        raise Failed(f"{command[0]} ended with {printer.returncode}")
    return int(count.stdout), time.monotonic() - begin


def grep(kind, tools, parent, options):
    """Looks for lines in a kept log, by Reeve and by grep(1) over its files, one after the other."""
    expected = options.grep_size * 1_000_000
    result = {}
    with running(kind, tools, parent) as run:
        command = [tools.lines, "write", run.reports.path, expected, 4000]
        run.peer.prepare_log([str(word) for word in command], 256_000_000, 1000)
        run.launch(1)
        wait_for_log(run.peer, expected, 60)
        files = [str(path) for path in run.peer.log_files()]
        for name, expression in options.expressions.items():
            found, seconds = lines_and_seconds(
                [tools.reeve, "logs", "bench", "--grep", expression], run.peer.environment
            )
            peer_found, peer_seconds = lines_and_seconds(
                ["grep", "-haE", expression, *files], {**run.peer.environment, "LC_ALL": "C.UTF-8"}
            )
            if found != peer_found:
                raise Failed(f"{found} lines match {expression}, and {peer_found} for grep")
            result[name] = {"lines": found, "reeve": seconds, "grep": peer_seconds}
    return result


def apply(kind, tools, parent, options):
    """Applies jobs of one task, one after the other; milliseconds from the command to each up."""
    with running(kind, tools, parent) as run:
        run.peer.prepare(1, run.reports.path)
        run.launch(1)
        times = []
        for i in range(options.applies):
            job = run.peer.job([tools.child, run.reports.path])
            path = run.peer.job_file("apply.json", {f"job{i}": job})
            begin = time.monotonic_ns()
            run.peer.apply(path)
            record = run.reports.wait_one(10)
            if record is None:
                raise Failed(f"job{i} was applied and did not come up within 10 s")
            times.append((record[1] - begin) / 1e6)
        return {"apply": times}


class Answers:
    """Answers every HTTP request on a port of its own, and counts them."""

    def __init__(self):
        self.asked = 0
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.asked += 1

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


def vitals(kind, tools, parent, options, intervals):
    """The same, and the agent's memory, while the tasks are sampled so often."""
    result = {}
    for every in intervals:
        with running(kind, tools, parent) as run:
            run.peer.more = ["--vitals-every", every]
            run.peer.prepare(options.tasks, run.reports.path)
            run.launch(options.tasks)
            machine.settle(run.supervisors())
            one = result[every] = idle(run, options.idle)
            one["share"] = one["cpu_ms"]["agent"] / options.idle / 10
            one["pss"] = run.by_role(machine.pss_kib)["agent"]
    return result


def health(kind, tools, parent, options):
    """CPU and context switches while each task is asked over HTTP every 5 seconds."""
    with contextlib.closing(Answers()) as answers, running(kind, tools, parent) as run:
        run.peer.prepare_health(options.tasks, run.reports.path, answers.url)
        run.launch(options.tasks)
        deadline = time.monotonic() + 30
        while answers.asked < options.tasks:
            if time.monotonic() > deadline:
                raise Failed(f"{answers.asked} checks of {options.tasks} tasks within 30 s")
            time.sleep(0.1)
        before = answers.asked
        result = idle(run, options.idle)
        result["rate"] = (answers.asked - before) / options.idle
        return result


ORDERS = ("stop-first", "start-first")


def free_address():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def number_of(pattern, text, default=None):
    found = re.search(pattern, text)
    if found is None and default is None:
        raise Failed(f"wrk did not say {pattern}: {text}")
    return float(found.group(1)) if found else default


def milliseconds(text):
    """What wrk writes as 850.00us, 1.20ms or 2.00s."""
    value, unit = re.match(r"([0-9.]+)(us|ms|s|m)$", text).groups()
    return float(value) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}[unit]


def read_wrk(text):
    """Requests, rate, slowest answer, and how many failed, of whichever kind."""
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    slowest = re.search(r"Latency +\S+ +\S+ +(\S+)", text)
    if slowest is None:
        raise Failed(f"wrk did not tell the latency: {text}")
    return {
        "requests": number_of(r"(\d+) requests in", text),
        "rate": number_of(r"Requests/sec: +([0-9.]+)", text),
        "slowest_ms": milliseconds(slowest.group(1)),
        "failed": sum(int(n) for n in errors.groups()) if errors else 0
        + number_of(r"Non-2xx or 3xx responses: (\d+)", text, 0),
    }


def reload_in(order, kind, tools, parent, options):
    """Restarts a server on a held socket again and again while wrk asks it."""
    address = free_address()
    with running(kind, tools, parent) as run:
        run.peer.prepare_held(run.reports.path, address, order)
        run.launch(1)
        load = subprocess.Popen(
            ["wrk", "-t1", "-c32", f"-d{options.reload:g}s", "--timeout", "10s",
             f"http://{address}/"],
            stdout=subprocess.PIPE, text=True,
        )
        restarts = 0
        with load:
            time.sleep(0.3)  # the connections are there
            while load.poll() is None:
                run.peer.restart_job()
                restarts += 1
            result = read_wrk(load.stdout.read())
        return {"restarts": restarts, **result}


def reload(kind, tools, parent, options):
    if shutil.which("wrk") is None:
        raise Failed("wrk (package wrk) is not installed")
    return {order: reload_in(order, kind, tools, parent, options) for order in ORDERS}
