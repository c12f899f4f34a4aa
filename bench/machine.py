# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel says about processes and the machine, read from /proc.

The driver is a subreaper, so that whatever a supervisor starts, and whoever loses its parent, is a
descendant of the driver: `descendants()` is everything there is to measure and to end, found by
parentage and never by name.
"""

import ctypes
import datetime
import os
import pathlib
import resource
import select
import signal
import struct
import time

PR_SET_CHILD_SUBREAPER = 36


def become_driver():
    """Adopts orphans and allows as many descriptors as the machine does."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def read_proc(pid, name):
    """The text of /proc/PID/NAME; empty when the process is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def exe(pid):
    """The program that a process runs; empty for zombies."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def descendants():
    """All processes below this one that have not ended."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        fields = read_proc(name, "stat").rpartition(")")[2].split()
        if fields and fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def reap():
    """Collects those that ended, so that none stays as a zombie."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def end_all(is_task=lambda pid: False, timeout=20.0):
    """Ends every descendant, supervisors before their tasks so that none is started again."""
    deadline = time.monotonic() + timeout
    while pids := descendants():
        for pid in [p for p in pids if not is_task(p)] or pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes do not end: {pids}")
        time.sleep(0.005)
    reap()


def pss_kib(pid):
    """Proportional share of memory, in KiB."""
    for line in read_proc(pid, "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def kernel_kib():
    """What the kernel itself holds: slabs, page tables, stacks."""
    wanted = ("Slab:", "PageTables:", "KernelStack:")
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(wanted))


def usage(pid):
    """Context switches and nanoseconds of CPU so far, over all threads."""
    switches = cpu = 0
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0, 0
    for thread in threads:
        for line in read_proc(pid, f"task/{thread}/status").splitlines():
            if "ctxt_switches" in line:
                switches += int(line.split()[1])
        cpu += int((read_proc(pid, f"task/{thread}/schedstat").split() or ["0"])[0])
    return switches, cpu


def settle(pids, quiet=0.3, timeout=10.0):
    """Waits until these processes have used no CPU worth speaking of for a while."""
    deadline = time.monotonic() + timeout
    before = sum(usage(pid)[1] for pid in pids)
    while time.monotonic() < deadline:
        time.sleep(quiet)
        now = sum(usage(pid)[1] for pid in pids)
        if now - before < quiet * 1e9 * 0.02:
            return
        before = now


class Reports:
    """The FIFO to which tasks write (process number, monotonic nanoseconds) when they are up."""

    RECORD = struct.Struct("qq")

    def __init__(self, path):
        self.path = str(path)
        os.mkfifo(self.path)
        self.reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.writer = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)  # no end of file

    def close(self):
        os.close(self.reader)
        os.close(self.writer)
        os.unlink(self.path)

    def read(self):
        """The records that are there now."""
        try:
            return list(self.RECORD.iter_unpack(os.read(self.reader, self.RECORD.size * 4096)))
        except BlockingIOError:
            return []

    def wait(self, count, timeout):
        """Records until there are @count. The times are in them, so looking seldom costs nothing."""
        deadline = time.monotonic() + timeout
        records = []
        while len(records) < count:
            records += self.read()
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {len(records)} of {count} tasks came up in {timeout:g} s")
            if len(records) < count:
                time.sleep(0.002)
        return records

    def wait_one(self, timeout):
        """The next record, or None."""
        if not select.select([self.reader], [], [], timeout)[0]:
            return None
        return self.RECORD.unpack(os.read(self.reader, self.RECORD.size))


class Gone:
    """Waits for the end of processes, by their pidfds."""

    def __init__(self, pids):
        self.poll = select.epoll()
        self.open = {}
        for pid in pids:
            fd = os.pidfd_open(pid)
            self.open[fd] = pid
            self.poll.register(fd, select.EPOLLIN)

    def wait(self, timeout):
        """Returns the monotonic nanoseconds at which all had ended, to the millisecond."""
        deadline = time.monotonic() + timeout
        while self.open:
            for fd, _ in self.poll.poll(0, len(self.open)):
                self.poll.unregister(fd)
                os.close(fd)
                del self.open[fd]
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.open)} tasks have not ended in {timeout:g} s")
            if self.open:
                time.sleep(0.001)
        return time.monotonic_ns()

    def close(self):
        for fd in self.open:
            os.close(fd)
        self.poll.close()


def describe():
    """The machine in one line."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((l.split(":", 1)[1].strip() for l in text.splitlines() if "model name" in l), "?")
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) / (1 << 20)
    system = dict(
        line.split("=", 1)
        for line in pathlib.Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    kernel = os.uname()
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, "
        f"{system.get('PRETTY_NAME', '?').strip(chr(34))}, {kernel.sysname} {kernel.release} "
        f"{kernel.machine}, {datetime.date.today().isoformat()}"
    )
