# SPDX-License-Identifier: BSD-3-Clause
"""Timetables as people see them."""
import datetime
import zoneinfo

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
    reeve.up()
    reeve.apply({'nightly': dict(CRON, schedule={'cron': '@daily', 'zone': 'Europe/Atlantis'})})
    refused = reeve.cli('cron', 'nightly', check=False)
    assert refused.returncode == 3 and 'no time zone "Europe/Atlantis"' in refused.stderr
