# SPDX-License-Identifier: BSD-3-Clause
"""Cgroups as the kernel shows them, of either version: where a process is, and what stands in the files there."""
import os

CONTROLLERS = {'memory': 'memory', 'cpu': 'cpu', 'pids': 'pids', 'io': 'blkio'}  # by our word: that of version 1


def mounts():
    """{controller of version 1, or '' for version 2: mount point}"""
    found = {}
    with open('/proc/self/mountinfo') as f:
        for line in f:
            head, tail = line.split(' - ')
            kind, _, options = tail.split()[:3]
            if kind == 'cgroup2':
                found[''] = head.split()[4]
            elif kind == 'cgroup':
                found.update({name: head.split()[4] for name in options.split(',')})
    return found


def of(pid):
    """{controller of version 1, or '': directory of the group that the process is in}"""
    where, found = mounts(), {}
    with open(f'/proc/{pid}/cgroup') as f:
        for line in f:
            _, names, path = line.rstrip('\n').split(':', 2)
            for name in names.split(','):
                if name in where:
                    found[name] = where[name] + path
    return found


def value(pid, word, v2, v1):
    """What stands in the file @v2 or, where version 2 does not have what @word names, @v1 of the group of @pid."""
    groups = of(pid)
    for path in (os.path.join(groups.get('', '/none'), v2), os.path.join(groups.get(CONTROLLERS[word], '/none'), v1)):
        if os.path.exists(path):
            with open(path) as f:
                return f.read().strip()
    return None


def enforced(reeve):
    """The words of the node's attribute `limits`."""
    return set(reeve.api('GET', '/v1/nodes')[0]['attributes']['limits'].split()) - {'none'}


def groups_of(reeve, task_id):
    """The directories that are there now for a task."""
    with open(os.path.join(reeve.data, 'node/cgroups')) as f:
        roots = f.read().split()
    return [path for root in roots for path in (f'{root}/{task_id}', f'{root}/tasks/{task_id}',
                                                f'{root}/limits/{task_id}') if os.path.isdir(path)]


def remove(data):
    """Takes away what a Reeve that was killed left: groups are no files, and stay."""
    try:
        with open(os.path.join(data, 'node/cgroups')) as f:
            roots = f.read().split()
    except FileNotFoundError:
        return
    for root in roots:
        for path, _, _ in os.walk(root, topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                pass  # a process that was just killed is in it still: the machine's next start takes it away
