"""When a success is overdue, from the job's schedule."""

from __future__ import annotations

import pytest

from worker.config.model import JobConfig
from worker.engines.freshness import late_after

#: A Thursday, 2026-01-01T00:00:00Z.
NOW = 1_767_225_600.0
HOUR, DAY = 3600.0, 86400.0


def job(**options):
    """A job of one hour's timeout with these options."""
    settings = {"every": None, "cron": None, "timezone": "UTC", "jitter": 0.0, "timeout": HOUR, "retries": 3}
    rest = {"accounts": None, "sink": None, "params": {}, "catch_up": True}
    return JobConfig(name="sync", uses="a.b", integration="arlo", **{**settings, **rest, **options})


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"every": 900.0}, 3 * 900 + HOUR),
        ({"cron": "0 6 * * *"}, 3 * DAY + HOUR),
        ({"cron": "0 6 * * mon-fri"}, 9 * DAY + HOUR),
        ({"every": 900.0, "late_after": 60.0}, 60.0),
        ({"every": 900.0, "late_after": 0.0}, None),
        ({}, None),
    ],
)
def test_late_after_is_three_pauses_and_the_timeout(options, seconds):
    """Of a cron line the longest pause: a weekend is none."""
    assert late_after(job(**options), NOW) == seconds
