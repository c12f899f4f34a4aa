# SPDX-License-Identifier: BSD-3-Clause
"""A cluster for the scenarios: one server and several agents, each a machine of the fabric's with a state directory and
a keeper of its own. Tasks run in the namespace of their machine, as they would on it."""
import os

import fabric
import reeve as harness


class Machine(harness.Reeve):
    """A Reeve that runs on a machine of the fabric."""

    def __init__(self, binaries, cables, name):
        super().__init__(binaries)
        self.cables = cables
        self.node = name
        self.address = cables.add(name)

    def start(self, *words):
        return self.nest.start(self.log_path, self.cables.prefix_of(self.node) + [self.reeve, *words])

    def run(self, *words):
        """A command of the system's, on the machine."""
        return fabric.run(*self.cables.prefix_of(self.node), *words)


class Server(Machine):
    def begin(self, *arguments):
        self.up_pid = self.start('server', '--data', self.data, '--socket', self.socket, '--listen',
                                 f'{self.address}:7433', '--advertise', self.address, *arguments)
        self.wait_for(lambda: self.api('GET', '/v1/nodes') is not None, 'the server answers')


class Agent(Machine):
    def begin(self, *arguments, join=None):
        words = ['agent', '--data', self.data, '--name', self.node, '--server', f'https://{self.server.address}:7433']
        if join:
            words += ['--join', join]
        self.up_pid = self.start(*words, *arguments)

    def processes(self, name):
        """Pids of task programs of this name on the machine."""
        return [p for p in self.nest.descendants() if os.path.basename((harness.cmdline(p) or [''])[0]) == name]


class Cluster:
    """cluster.server, cluster.agents by name; its methods are those that a test needs of all of them."""

    def __init__(self, binaries, made):
        self.binaries = binaries
        self.made = made
        self.cables = fabric.Fabric()
        self.agents = {}
        self.server = self._machine(Server, 'server')

    def _machine(self, kind, name):
        machine = kind(self.binaries, self.cables, name)
        self.made.append(machine)
        return machine

    def begin(self, names, server=(), **each):
        """Starts the server and agents of these names; @each: arguments by name."""
        self.server.begin(*server)
        for name in names:
            self.join(name, *each.get(name, ()))
        self.wait_nodes(names)

    def token(self):
        return self.server.cli('token', 'create', '--join').stdout.strip()

    def join(self, name, *arguments):
        agent = self.agents[name] = self._machine(Agent, name)
        agent.server = self.server
        agent.begin(*arguments, join=self.token())
        return agent

    def nodes(self):
        return {n['name']: n for n in self.server.ask('GET', '/v1/nodes')}

    def wait_nodes(self, names, state='ready', deadline=60):
        return self.server.wait_for(
            lambda: all(self.nodes().get(n, {}).get('state') == state for n in names),
            f'nodes {", ".join(names)} are {state}', deadline)

    def wait_node(self, name, deadline=60, **fields):
        return self.server.wait_for(
            lambda: all(self.nodes()[name][k] == v for k, v in fields.items()), f'node {name}: {fields}', deadline)

    def where(self, job):
        """Task to node."""
        return {t['id']: t['node'] for t in self.server.ps(job)}

    def processes(self, name):
        """Node to pids of task programs of this name."""
        return {node: agent.processes(name) for node, agent in self.agents.items()}

    def close(self):
        self.cables.close()
