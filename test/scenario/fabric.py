# SPDX-License-Identifier: BSD-3-Clause
"""A network for the scenarios: namespaces joined by a switch, whose cables can be cut, made deaf or slow for real.

Every machine has a network namespace of its own with one interface, `eth0`; the other end of its cable is in the
switch's namespace, on a bridge. Addresses are of 10.77.0.0/24, which no two fabrics share, since nothing leads out of
the switch. Names carry the pid of the test, so that tests run side by side. All is gone with close(), also what an
earlier run with the same pid left behind.
"""
import os
import shutil
import subprocess


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f'{" ".join(words)}: {done.stderr.strip()}'
    return done.stdout


def usable():
    """Why there can be no fabric here, or None."""
    if os.geteuid() != 0:
        return 'network namespaces need root'
    if shutil.which('ip') is None:
        return 'ip (iproute2) is not installed'
    name = f'rv{os.getpid()}-try'
    if subprocess.run(['ip', 'netns', 'add', name], capture_output=True).returncode != 0:
        return 'network namespaces cannot be made here'
    subprocess.run(['ip', 'netns', 'del', name], check=True)
    return None


class Fabric:
    made = 0

    def __init__(self):
        Fabric.made += 1
        self.prefix = f'rv{os.getpid()}x{Fabric.made}-'
        self.machines = {}
        self.switch = self._namespace('switch')
        self._in_switch('ip', 'link', 'add', 'br0', 'type', 'bridge')
        self._in_switch('ip', 'link', 'set', 'br0', 'up')

    def _namespace(self, name):
        name = self.prefix + name
        subprocess.run(['ip', 'netns', 'del', name], capture_output=True)
        run('ip', 'netns', 'add', name)
        return name

    def _in_switch(self, *words):
        return run('ip', 'netns', 'exec', self.switch, *words)

    def add(self, name):
        """A machine; returns its address."""
        namespace, number = self._namespace(name), len(self.machines) + 1
        address, port = f'10.77.0.{number}', f'p{number}'
        run('ip', '-n', self.switch, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)
        self._in_switch('ip', 'link', 'set', port, 'master', 'br0', 'up')
        for words in (['addr', 'add', f'{address}/24', 'dev', 'eth0'], ['link', 'set', 'eth0', 'up'],
                      ['link', 'set', 'lo', 'up']):
            run('ip', '-n', namespace, *words)
        self.machines[name] = (namespace, address, port)
        return address

    def address(self, name):
        return self.machines[name][1]

    def prefix_of(self, name):
        """What stands before a command that runs on the machine."""
        return [shutil.which('ip'), 'netns', 'exec', self.machines[name][0]]

    def deafen(self, name):
        """Nothing gets through any more, and nobody is told: what a firewall or a dying switch does."""
        self._in_switch('ip', 'link', 'set', self.machines[name][2], 'nomaster')

    def unplug(self, name):
        """The machine's own interface is down: it can tell."""
        run('ip', '-n', self.machines[name][0], 'link', 'set', 'eth0', 'down')

    def heal(self, name):
        namespace, address, port = self.machines[name]
        run('ip', '-n', namespace, 'link', 'set', 'eth0', 'up')
        self._in_switch('ip', 'link', 'set', port, 'master', 'br0')

    def slow(self, name, rate):
        """To and from the machine no more than @rate ("256kbit")."""
        namespace, _, port = self.machines[name]
        shape = ['root', 'tbf', 'rate', rate, 'burst', '8kb', 'latency', '500ms']
        self._in_switch('tc', 'qdisc', 'replace', 'dev', port, *shape)
        run('ip', 'netns', 'exec', namespace, 'tc', 'qdisc', 'replace', 'dev', 'eth0', *shape)

    def close(self):
        for namespace, _, _ in self.machines.values():
            subprocess.run(['ip', 'netns', 'del', namespace], capture_output=True)
        subprocess.run(['ip', 'netns', 'del', self.switch], capture_output=True)
