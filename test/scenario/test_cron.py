# SPDX-License-Identifier: BSD-3-Clause
"""Timetables as people see them."""
import datetime
import zoneinfo

import pytest

from reeve import ApiError

CRON = {'kind': 'cron', 'command': ['true'], 'schedule': {'cron': '30 2 * * *', 'zone': 'Europe/Paris'}}


def test_next_times(reeve):
    """Against Python's own idea of the zone; 02:30 is not asked of it on the days on which clocks are set."""
    reeve.up()
    reeve.apply({'nightly': CRON, 'web': {'command': ['sleep', '100000']}})
    answer = reeve.cli_json('cron', 'nightly', '--count', '400')
    assert (answer['cron'], answer['zone'], len(answer['next'])) == ('30 2 * * *', 'Europe/Paris', 400)
    paris, days, odd = zoneinfo.ZoneInfo('Europe/Paris'), set(), 0
    for due in answer['next']:
        local = datetime.datetime.fromisoformat(due['local'])
        at = datetime.datetime.fromisoformat(due['time'].replace('Z', '+00:00'))
        assert local == at and at.astimezone(paris).isoformat() == due['local']
        odd += (local.hour, local.minute) != (2, 30)
        days.add(local.date())
    assert odd in (1, 2), 'in March it comes after the gap'
    assert len(days) == 400 and (max(days) - min(days)).days == 399, 'each day once'

    text = reeve.cli('cron', 'nightly', '-n', '3').stdout.splitlines()
    assert text[0].split() == ['LOCAL', 'UTC', 'IN'] and len(text) == 4

    refused = reeve.cli('cron', 'web', check=False)
    assert refused.returncode == 4 and 'it is no cron job' in refused.stderr
    refused = reeve.cli('cron', 'nightl', check=False)
    assert refused.returncode == 3 and 'did you mean "nightly"?' in refused.stderr


def test_a_zone_that_is_not_there(reeve):
    """Told when the job is applied, not at the first slot."""
    reeve.up()
    job = dict(CRON, schedule={'cron': '@daily', 'zone': 'Europe/Atlantis'})
    with pytest.raises(ApiError) as refused:
        reeve.api('POST', '/v1/jobs', {'jobs': {'nightly': job}})
    assert refused.value.status == 422 or refused.value.status == 400
    assert 'no time zone "Europe/Atlantis"' in refused.value.problem['detail']
    assert reeve.jobs() == {}


def test_between_slots(reeve):
    """Nothing runs before the first slot; a person can begin it; how it went is told, also after a restart."""
    reeve.up()
    reeve.apply({'nightly': CRON})
    job = reeve.jobs()['nightly']
    assert job['state'] == 'scheduled' and 'nothing has run yet; next slot' in job['reason']
    assert reeve.ps('nightly') == []

    reeve.cli('restart', 'nightly')
    reeve.wait_tasks('nightly', state='ended', result='succeeded', runs=1)
    reeve.kill('server')
    reeve.wait_ready()
    job = reeve.jobs()['nightly']
    assert job['state'] == 'scheduled' and '02:30 Europe/Paris' in job['reason']
    reeve.cli('restart', 'nightly')
    reeve.wait_tasks('nightly', state='ended', result='succeeded', runs=2)
