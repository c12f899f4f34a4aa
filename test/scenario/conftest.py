# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: Reeves that are certain to be gone after the test."""
import os
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import cluster as clusters  # noqa: E402
import fabric  # noqa: E402
import reeve as harness  # noqa: E402

# Whoever started the tests may ignore some (nohup does); the programs under test would inherit that.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope='session')
def binaries():
    """Copies: a build that goes on beside the tests shall not change what they test."""
    directory = tempfile.mkdtemp(prefix='rvbin-')
    yield [shutil.copy(path, directory) for path in harness.find_binaries()]
    shutil.rmtree(directory, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == 'call' and report.failed:
        for r in getattr(item, 'reeves', []):
            r.failed = True
            report.sections.append((f'Reeve in {r.dir}', r.describe()))


@pytest.fixture
def new_reeve(binaries, request):
    """Makes Reeves; they, and all their tasks, end with the test."""
    request.node.reeves = made = []

    def make():
        made.append(harness.Reeve(binaries))
        return made[-1]

    yield make
    complaints = [c for r in made for c in r.close()]
    assert not complaints, complaints


@pytest.fixture
def reeve(new_reeve):
    """One that is not up yet."""
    return new_reeve()


@pytest.fixture
def up(reeve):
    """One that is up."""
    reeve.up()
    return reeve


@pytest.fixture
def cluster(binaries, request):
    """A server and agents, each on a machine of its own, that have not begun yet."""
    why_not = fabric.usable()
    if why_not:
        pytest.skip(why_not)
    request.node.reeves = made = []
    whole = clusters.Cluster(binaries, made)
    yield whole
    complaints = [c for r in reversed(made) for c in r.close()]
    whole.close()
    assert not complaints, complaints
