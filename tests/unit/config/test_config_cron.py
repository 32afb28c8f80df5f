from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.config.cron import CronFault, cron_trigger, has_fixed_hour, parse_cron

START = datetime(2026, 1, 1, tzinfo=UTC)


def firings(text: str, count: int = 3, zone: str = "UTC", start: datetime = START) -> list[str]:
    """The next times, as the engine would ask for them."""
    trigger = cron_trigger(text, ZoneInfo(zone))
    found, now = [], start
    for _ in range(count):
        fires = trigger.get_next_fire_time(None, now)
        found.append(fires.astimezone(ZoneInfo(zone)).strftime("%a %Y-%m-%d %H:%M"))
        now = fires + timedelta(seconds=1)
    return found


@pytest.mark.parametrize("text", ["0 6 * * 0", "0 6 * * 7", "0 6 * * sun", "0 6 * * SUN"])
def test_cron_counts_days_from_sunday(text):
    """0 and 7 are Sunday, as in crontab(5); APScheduler alone would say Monday."""
    assert firings(text, 2) == ["Sun 2026-01-04 06:00", "Sun 2026-01-11 06:00"]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-fri", {1, 2, 3, 4, 5}),
        ("1-5", {1, 2, 3, 4, 5}),
        ("5-7", {5, 6, 0}),
        ("fri-sun", {5, 6, 0}),
        ("sun-tue", {0, 1, 2}),
        ("*/2", {0, 2, 4, 6}),
        ("1-6/2,sun", {1, 3, 5, 0}),
        ("*", {0, 1, 2, 3, 4, 5, 6}),
        ("0-7", {0, 1, 2, 3, 4, 5, 6}),
    ],
)
def test_cron_reads_days_of_the_week(text, days):
    """Names, ranges, steps and lists."""
    assert parse_cron(f"0 0 * * {text}").weekdays == days


def test_cron_takes_a_day_that_fits_either_field():
    """The 13th, and every Friday; not only Fridays the 13th."""
    assert firings("0 0 13 * fri", 4) == [
        "Fri 2026-01-02 00:00", "Fri 2026-01-09 00:00", "Tue 2026-01-13 00:00", "Fri 2026-01-16 00:00",
    ]  # fmt: skip


def test_cron_wants_both_days_when_one_begins_with_a_star():
    """`*/2` is a star to cron, so it restricts instead of adding."""
    assert firings("0 0 */2 * mon", 2) == ["Mon 2026-01-05 00:00", "Mon 2026-01-19 00:00"]


def test_cron_reads_names_of_months():
    """Names stand for numbers, in ranges too."""
    assert parse_cron("0 0 1 jan-mar,DEC *").months == {1, 2, 3, 12}


@pytest.mark.parametrize(
    ("nickname", "line"), [("@daily", "0 0 * * *"), ("@Weekly", "0 0 * * 0"), ("@hourly", "0 * * * *")]
)
def test_cron_reads_nicknames(nickname, line):
    """The shorthands of crontab."""
    assert parse_cron(nickname) == parse_cron(line)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "0 fields, not five"),
        ("0 6 * *", "4 fields, not five"),
        ("0 0 6 * * *", "6 fields, not five (there is no field for seconds or years)"),
        ("@reboot", "no such shorthand; write one of @hourly"),
        ("60 * * * *", 'minute "60": 60 is outside 0-59'),
        ("* 24 * * *", "outside 0-23"),
        ("* * 0 * *", "outside 1-31"),
        ("* * * 13 *", "outside 1-12 or jan-dec"),
        ("* * * * 8", "outside 0-7 or sun-sat"),
        ("* * * foo *", '"foo" is not one of 1-12 or jan-dec'),
        ("* * * * monday", '"monday" is not one of'),
        ("*/0 * * * *", "must be a number from 1"),
        ("*/x * * * *", "must be a number from 1"),
        ("*/90 * * * *", "steps start anew"),
        ("5/15 * * * *", 'a step needs a range; write "5-59/15"'),
        ("* 22-2 * * *", 'runs backwards; write "22-23,0-2"'),
        ("1,,2 * * * *", '"" is not one of'),
        ("1- * * * *", '"" is not one of'),
        ("-1 * * * *", '"" is not one of'),
        ("? * * * *", '"?" is not one of'),
        ("* * L * *", '"L" is not one of'),
        ("* * * * 5#2", '"5#2" is not one of'),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("\u0663 * * * *", "is not one of"),
    ],
)
def test_cron_says_what_is_wrong(text, what):
    """Each fault names its field and what fits."""
    with pytest.raises(CronFault) as caught:
        parse_cron(text)
    assert what in str(caught.value)


def test_cron_reports_all_fields_at_once():
    """Two faulty fields, two sentences."""
    with pytest.raises(CronFault, match=r'minute "99".*hour "99"'):
        parse_cron("99 99 * * *")


def test_cron_waits_for_the_29th_of_february():
    """A rare day is no impossible one."""
    assert firings("0 0 29 2 *", 1) == ["Tue 2028-02-29 00:00"]


@pytest.mark.parametrize(
    ("text", "fixed"),
    [("30 2 * * *", True), ("*/5 2-4 * * *", True), ("@daily", True), ("*/5 * * * *", False), ("0 */2 * * *", False)],
)
def test_fixed_hours_are_told_from_open_ones(text, fixed):
    """Only named hours can be lost or doubled by a change of the clocks."""
    assert has_fixed_hour(text) is fixed


def test_cron_counts_in_its_time_zone():
    """06:00 stays 06:00 when summer time begins."""
    start = datetime(2026, 3, 27, 12, tzinfo=UTC)
    assert firings("0 6 * * *", 3, "Europe/Berlin", start) == [
        "Sat 2026-03-28 06:00", "Sun 2026-03-29 06:00", "Mon 2026-03-30 06:00",
    ]  # fmt: skip


def test_cron_trigger_takes_the_name_of_a_zone():
    """The engine may hand over text."""
    fires = cron_trigger("0 6 * * *", "Asia/Tokyo").get_next_fire_time(None, START)
    assert fires.astimezone(UTC).hour == 21


def _field(lowest: int, highest: int) -> st.SearchStrategy[str]:
    numbers = st.integers(lowest, highest)
    ranges = st.tuples(numbers, numbers).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    stepped = st.tuples(ranges, st.integers(1, highest - lowest)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    stars = st.integers(1, highest - lowest).map(lambda step: f"*/{step}")
    part = st.one_of(numbers.map(str), ranges, stepped)
    return st.one_of(st.just("*"), stars, st.lists(part, min_size=1, max_size=3).map(",".join))


LINES = st.tuples(_field(0, 59), _field(0, 23), _field(1, 28), _field(1, 12), _field(0, 7)).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(text=LINES, start=st.integers(0, 6 * 365 * 86400))
def test_trigger_fires_when_the_fields_say(text, start):
    """Against a second way of finding the time: walk the days, then the minutes of the first one that fits."""
    cron = parse_cron(text)
    now = START + timedelta(seconds=start)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    expected = None
    while expected is None:
        by_date, by_week = day.day in cron.days, (day.weekday() + 1) % 7 in cron.weekdays
        if day.month in cron.months and ((by_date or by_week) if cron.either_day else (by_date and by_week)):
            times = [day + timedelta(hours=hour, minutes=minute) for hour in cron.hours for minute in cron.minutes]
            expected = min((time for time in times if time >= now), default=None)
        day += timedelta(days=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cron_trigger(text, UTC).get_next_fire_time(None, now) == expected
