"""Cron lines against an oracle that walks through the wall clock minute by minute, changes of the clocks included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.config.cron import parse_cron
from worker.engines.timetable import Timetable

ACCOUNT = "books/acme"
#: A day and a half on either side is looked at.
AROUND = timedelta(hours=36)
#: Zones that change by an hour, by half an hour (Lord Howe), at midnight (Havana, Santiago, Beirut), back on a Sunday
#: in spring (Sydney); one that left a day out (Apia, 2011); and moments near each of their changes.
CHANGES = [
    ("Europe/Berlin", "2026-03-29T01:00"), ("Europe/Berlin", "2026-10-25T01:00"),
    ("Europe/London", "2026-03-29T01:00"), ("Europe/London", "2026-10-25T01:00"),
    ("America/New_York", "2026-03-08T07:00"), ("America/New_York", "2026-11-01T06:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"), ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("Australia/Sydney", "2026-04-04T16:00"), ("Australia/Sydney", "2026-10-03T16:00"),
    ("America/Havana", "2026-03-08T05:00"), ("America/Havana", "2026-11-01T05:00"),
    ("America/Santiago", "2026-04-05T03:00"), ("America/Santiago", "2026-09-06T04:00"),
    ("Asia/Beirut", "2025-03-29T22:00"), ("Asia/Beirut", "2025-10-25T21:00"),
    ("Africa/Casablanca", "2026-02-15T02:00"), ("Africa/Casablanca", "2026-03-22T02:00"),
    ("Pacific/Apia", "2011-12-30T10:00"),
    ("UTC", "2028-02-29T00:00"), ("UTC", "2026-12-31T23:59"), ("Asia/Kathmandu", "2026-12-31T23:59"),
    # The last leap second, which POSIX time does not count.
    ("UTC", "2016-12-31T23:59"),
]  # fmt: skip

minutes = st.sampled_from(["0", "30", "15,45", "*/20", "59", "*/7"])
hours = st.sampled_from(["*", "*/2", "0", "1", "2", "3", "0-3", "2,14", "23", "1-23/2"])
days = st.sampled_from(["* * *", "* * *", "29 * *", "* * sun", "1 * *", "29 2 *", "31 12 *"])
lines = st.builds("{} {} {}".format, minutes, hours, days)


def oracle(line: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[float]:
    """The rule as docs/architecture.md has it, applied to every minute that a wall clock can show."""
    cron, found = parse_cron(line), set()
    wall = (start - timedelta(days=2)).astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
    while wall < (end + timedelta(days=2)).astimezone(zone).replace(tzinfo=None):
        if _fits(cron, wall):
            # PEP 495: with fold=0, a time that does not exist is read by the offset before the gap, so it comes as long
            # after the gap as it was meant to come after its beginning; one that comes twice is the first one.
            found.add(wall.replace(tzinfo=zone).timestamp())
            again = wall.replace(tzinfo=zone, fold=1)
            exists = again.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall
            if exists and not cron.fixed_hour:
                found.add(again.timestamp())
        wall += timedelta(minutes=1)
    return sorted(moment for moment in found if start.timestamp() < moment <= end.timestamp())


def _fits(cron, wall: datetime) -> bool:
    weekday = wall.isoweekday() % 7
    day = (
        (wall.day in cron.days or weekday in cron.weekdays)
        if cron.either_day
        else (wall.day in cron.days and weekday in cron.weekdays)
    )
    return day and wall.minute in cron.minutes and wall.hour in cron.hours and wall.month in cron.months


def firings(job_config, line: str, name: str, start: datetime, end: datetime) -> list[float]:
    timetable, found, moment = Timetable(job_config(cron=line, timezone=name)), [], start.timestamp()
    while (moment := timetable.after(ACCOUNT, moment) or end.timestamp() + 1) <= end.timestamp():
        found.append(moment)
    return found


@settings(deadline=None, max_examples=200)
@given(line=lines, change=st.sampled_from(CHANGES), late=st.integers(0, 3600))
@example(line="30 2 * * *", change=("Europe/Berlin", "2026-03-29T01:00"), late=0)
@example(line="30 2,3 * * *", change=("Europe/Berlin", "2026-03-29T01:00"), late=0)
@example(line="*/20 * * * *", change=("Australia/Lord_Howe", "2026-10-03T15:30"), late=0)
@example(line="0 0 * * *", change=("America/Havana", "2026-03-08T05:00"), late=0)
@example(line="0 0 29 2 *", change=("UTC", "2028-02-29T00:00"), late=0)
def test_cron_misses_and_doubles_nothing_around_a_change_of_the_clocks(job_config, line, change, late):
    """Exactly what the rule says, for three days around it, wherever one begins to look."""
    name, at = change
    middle = datetime.fromisoformat(at).replace(tzinfo=UTC) + timedelta(seconds=late)
    start, end = middle - AROUND, middle + AROUND
    assert firings(job_config, line, name, start, end) == oracle(line, ZoneInfo(name), start, end)


@settings(deadline=None, max_examples=100)
@given(line=lines, change=st.sampled_from(CHANGES), offset=st.integers(-7200, 7200))
def test_cron_firing_does_not_depend_on_when_one_asks(job_config, line, change, offset):
    """Asked at any moment between two firings, the answer is the later one: a restart moves and doubles nothing."""
    name, at = change
    timetable = Timetable(job_config(cron=line, timezone=name))
    now = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() + offset
    following = timetable.after(ACCOUNT, now)
    if following is not None:
        assert timetable.after(ACCOUNT, (now + following) / 2) == following
        assert timetable.after(ACCOUNT, following - 0.001) == following
        assert (timetable.after(ACCOUNT, following) or following + 1) > following


@pytest.mark.parametrize("zone", sorted({name for name, _ in CHANGES}))
def test_interval_is_the_same_through_every_change(job_config, zone):
    """Intervals count seconds since the epoch: no zone moves them."""
    here, there = (Timetable(job_config(every=900.0, timezone=name)) for name in (zone, "UTC"))
    moments = [datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() for name, at in CHANGES if name == zone]
    assert [here.after(ACCOUNT, at) for at in moments] == [there.after(ACCOUNT, at) for at in moments]
