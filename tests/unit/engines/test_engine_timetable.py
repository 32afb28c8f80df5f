"""When a job is due: phases, "next after now", cron in zones, and the days on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import mean
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.config.cron import parse_cron
from worker.engines.timetable import Timetable, phase

HOUR, DAY = 3600.0, 86400.0
BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
ACCOUNT = "books/acme"

moments = st.floats(min_value=0, max_value=4e9)
intervals = st.floats(min_value=1, max_value=30 * DAY)
labels = st.text(min_size=1, max_size=20)
#: Lines as people write them; all come at least once a year.
crons = st.sampled_from(
    [
        "*/15 * * * *",
        "0 * * * *",
        "7,37 */3 * * *",
        "30 2 * * *",
        "0 6 * * mon-fri",
        "15 1-3 * * *",
        "*/10 0-4 * * sun",
        "0 0 1 * *",
        "0 12 1 1 *",
        "30 1 15 * fri",
        "59 23 31 12 *",
    ]
)
zones = st.sampled_from(["UTC", BERLIN, NEW_YORK, LORD_HOWE, "Asia/Kathmandu", "America/Sao_Paulo"])


def at(text: str) -> float:
    """A moment, written as ISO 8601 with its offset."""
    return datetime.fromisoformat(text).timestamp()


def firings(timetable: Timetable, start: str, end: str) -> list[str]:
    """All firings between two moments, as UTC wall times."""
    found = []
    moment, last = at(start) - 1, at(end)
    while (following := timetable.after(ACCOUNT, moment)) is not None and following < last:
        found.append(datetime.fromtimestamp(following, UTC).strftime("%d %H:%M"))
        moment = following
    return found


# ---- intervals


@given(every=intervals, account=labels, now=moments)
def test_interval_firing_lies_after_now(job_config, every, account, now):
    """What comes next is later than now, however the division rounds."""
    assert Timetable(job_config(every=every)).after(account, now) > now


@given(every=intervals, account=labels, now=moments)
def test_interval_firing_is_at_most_one_interval_away(job_config, every, account, now):
    """No firing is passed over, however long nobody looked."""
    assert Timetable(job_config(every=every)).after(account, now) <= now + every * (1 + 1e-6)


@given(every=intervals, account=labels, now=moments)
def test_interval_firings_follow_each_other_by_one_interval(job_config, every, account, now):
    """The period is the interval: nothing accumulates."""
    timetable = Timetable(job_config(every=every))
    first = timetable.after(account, now)
    assert timetable.after(account, first) - first == pytest.approx(every, rel=1e-6, abs=1e-5)


@given(every=intervals, account=labels, now=moments, part=st.floats(min_value=0, max_value=0.999))
def test_interval_firing_stays_until_it_comes(job_config, every, account, now, part):
    """Asked again before it is due, the answer is the same to the bit: a restart moves nothing."""
    timetable = Timetable(job_config(every=every))
    due = timetable.after(account, now)
    asked_again = min(now + (due - now) * part, due - 1e-6)
    assert Timetable(job_config(every=every)).after(account, max(asked_again, now)) == due


@given(every=intervals, account=labels, earlier=moments, later=moments)
def test_interval_firings_are_monotone(job_config, every, account, earlier, later):
    """Asking later never gives an earlier answer."""
    earlier, later = sorted((earlier, later))
    timetable = Timetable(job_config(every=every))
    assert timetable.after(account, earlier) <= timetable.after(account, later)


def test_interval_after_a_night_asleep_is_one_step(job_config):
    """Eight hours of a one second interval are one firing, the next one, and not 28,800."""
    timetable = Timetable(job_config(every=1.0))
    woken = 1_767_225_600.25 + 8 * HOUR
    assert 0 < timetable.after(ACCOUNT, woken) - woken <= 1.0


def test_interval_survives_a_clock_that_jumped_to_2200(job_config):
    """A jump of two centuries takes no longer than any other answer."""
    assert Timetable(job_config(every=60.0)).after(ACCOUNT, at("2200-01-01T00:00:00+00:00")) is not None


def test_interval_phases_spread_the_accounts_evenly(job_config):
    """A thousand accounts on a quarter-hour: no minute of it sees more than twice its share."""
    timetable = Timetable(job_config(every=900.0))
    start = 1_767_225_600.0
    minutes = [int((timetable.after(f"books/{number}", start) - start) // 60) for number in range(1000)]
    assert max(minutes.count(minute) for minute in range(15)) < 2 * 1000 / 15


def test_interval_phases_spread_the_jobs_of_one_account(job_config):
    """Jobs on the same interval do not all start at the same second for an account."""
    start = 1_767_225_600.0
    due = {Timetable(job_config(name=f"job-{number}", every=900.0)).after(ACCOUNT, start) for number in range(20)}
    assert len(due) == 20


def test_phase_is_what_it_was_in_the_first_release():
    """The hash is part of the record: another one would move every account's runs at an upgrade."""
    assert phase("invoices", "books/acme") == pytest.approx(PHASE)


#: SHA-256 of "invoices\0books/acme", first eight bytes over 2**64.
PHASE = 0xD64E02E83D5A58F7 / 2**64


def test_phase_does_not_confuse_job_and_account():
    """`a` + `bc` and `ab` + `c` are different rows."""
    assert phase("a", "bc") != phase("ab", "c")


def test_interval_first_run_is_at_once(job_config):
    """A new account sees rows now, not in a quarter of an hour."""
    assert Timetable(job_config(every=900.0)).first(ACCOUNT, 1000.0) == 1000.0


def test_interval_is_unmoved_by_daylight_saving(job_config):
    """Intervals count seconds: the night of the change has 23 or 25 hourly firings, all an hour apart."""
    timetable = Timetable(job_config(every=HOUR, timezone=BERLIN))
    first = timetable.after(ACCOUNT, at("2026-10-25T00:00:00+02:00"))
    second = timetable.after(ACCOUNT, first)
    assert second - first == pytest.approx(HOUR)


# ---- cron


@settings(deadline=None)
@given(cron=crons, zone=zones, now=moments, jitter=st.sampled_from([0.0, 30.0, 599.5]))
def test_cron_firing_lies_after_now(job_config, cron, zone, now, jitter):
    """What comes next is later than now."""
    assert Timetable(job_config(cron=cron, timezone=zone, jitter=jitter)).after(ACCOUNT, now) > now


@settings(deadline=None)
@given(cron=crons, zone=zones, now=moments, jitter=st.sampled_from([0.0, 30.0, 599.5]))
@example(cron="7,37 */3 * * *", zone="UTC", now=0.0, jitter=599.5)
def test_cron_firing_is_strictly_after_the_one_before(job_config, cron, zone, now, jitter):
    """From one firing the next is found, and never the same one."""
    timetable = Timetable(job_config(cron=cron, timezone=zone, jitter=jitter))
    due = timetable.after(ACCOUNT, now)
    assert timetable.after(ACCOUNT, due) > due


@settings(deadline=None)
@given(cron=crons, zone=zones, earlier=moments, ahead=st.floats(min_value=0, max_value=3 * DAY))
def test_cron_firings_are_monotone(job_config, cron, zone, earlier, ahead):
    """Asking later never gives an earlier answer."""
    timetable = Timetable(job_config(cron=cron, timezone=zone))
    assert timetable.after(ACCOUNT, earlier) <= timetable.after(ACCOUNT, earlier + ahead)


def by_brute_force(cron: str, zone: str, start: datetime, minutes: int) -> list[float]:
    """Every minute of a stretch without a change of the clocks, tried against the line as crontab(5) reads it."""
    fields = parse_cron(cron)
    found = []
    for minute in range(minutes):
        moment = start + timedelta(minutes=minute)
        wall = moment.astimezone(ZoneInfo(zone))
        weekday = wall.isoweekday() % 7
        day = (
            (wall.day in fields.days or weekday in fields.weekdays)
            if fields.either_day
            else (wall.day in fields.days and weekday in fields.weekdays)
        )
        if wall.minute in fields.minutes and wall.hour in fields.hours and wall.month in fields.months and day:
            found.append(moment.timestamp())
    return found


@settings(deadline=None, max_examples=60)
@given(cron=crons, zone=zones, day=st.integers(min_value=0, max_value=20))
def test_cron_skips_no_firing_in_normal_times(job_config, cron, zone, day):
    """Two days in June, when no clock changes: exactly the minutes that the line names."""
    start = datetime(2026, 6, 2 + day, tzinfo=UTC)
    timetable = Timetable(job_config(cron=cron, timezone=zone))
    found, moment = [], start.timestamp() - 1
    while (moment := timetable.after(ACCOUNT, moment)) < (start + timedelta(days=2)).timestamp():
        found.append(moment)
    assert found == by_brute_force(cron, zone, start, 2 * 24 * 60)


def test_cron_is_read_in_its_zone(job_config):
    """06:00 in Berlin is 05:00 UTC in winter and 04:00 in summer."""
    timetable = Timetable(job_config(cron="0 6 * * *", timezone=BERLIN))
    winter = firings(timetable, "2026-01-10T00:00:00+00:00", "2026-01-11T00:00:00+00:00")
    summer = firings(timetable, "2026-07-10T00:00:00+00:00", "2026-07-11T00:00:00+00:00")
    assert (winter, summer) == (["10 05:00"], ["10 04:00"])


def test_cron_on_a_leap_day_waits_for_the_next_one(job_config):
    """29 February comes every four years."""
    due = Timetable(job_config(cron="0 0 29 2 *")).after(ACCOUNT, at("2026-03-01T00:00:00+00:00"))
    assert due == at("2028-02-29T00:00:00+00:00")


def test_cron_on_a_leap_day_passes_the_century_over(job_config):
    """2100 is no leap year."""
    due = Timetable(job_config(cron="0 0 29 2 *")).after(ACCOUNT, at("2096-03-01T00:00:00+00:00"))
    assert due == at("2104-02-29T00:00:00+00:00")


def test_cron_on_either_day_takes_both(job_config):
    """The 15th, and every Friday, as crontab reads it: 2026-05-15 is both and comes once."""
    timetable = Timetable(job_config(cron="0 0 15 * fri"))
    found = firings(timetable, "2026-05-08T00:00:00+00:00", "2026-06-20T00:00:00+00:00")
    assert [text[:2] for text in found] == ["08", "15", "22", "29", "05", "12", "15", "19"]


# ---- the clocks go back: fixed hours once, open hours in both passes


@pytest.mark.parametrize(
    ("zone", "cron", "start", "end", "expected"),
    [
        (BERLIN, "30 2 * * *", "2026-10-24T22:00:00+00:00", "2026-10-25T22:00:00+00:00", ["25 00:30"]),
        (NEW_YORK, "30 1 * * *", "2026-11-01T04:00:00+00:00", "2026-11-02T04:00:00+00:00", ["01 05:30"]),
        (LORD_HOWE, "45 1 * * *", "2026-04-04T13:00:00+00:00", "2026-04-05T13:00:00+00:00", ["04 14:45"]),
    ],
)
def test_cron_with_a_fixed_hour_runs_once_when_the_clocks_go_back(job_config, zone, cron, start, end, expected):
    """The wall time comes twice; the line names its hour, so the first time counts."""
    assert firings(Timetable(job_config(cron=cron, timezone=zone)), start, end) == expected


@pytest.mark.parametrize(
    ("zone", "start", "end", "expected"),
    [
        (
            BERLIN,
            "2026-10-25T00:00:00+00:00",
            "2026-10-25T02:00:00+00:00",
            ["25 00:00", "25 00:30", "25 01:00", "25 01:30"],
        ),
        (
            NEW_YORK,
            "2026-11-01T05:00:00+00:00",
            "2026-11-01T07:00:00+00:00",
            ["01 05:00", "01 05:30", "01 06:00", "01 06:30"],
        ),
        (LORD_HOWE, "2026-04-04T14:30:00+00:00", "2026-04-04T15:30:00+00:00", ["04 14:30", "04 15:00"]),
    ],
)
def test_cron_with_open_hours_runs_in_both_passes(job_config, zone, start, end, expected):
    """Every half hour stays every half hour through the hour that comes twice."""
    assert firings(Timetable(job_config(cron="*/30 * * * *", timezone=zone)), start, end) == expected


def test_cron_with_many_minutes_of_a_fixed_hour_passes_the_second_pass_over(job_config):
    """All sixty minutes of hour 2 in the first pass, none in the second."""
    timetable = Timetable(job_config(cron="* 2 * * *", timezone=BERLIN))
    found = firings(timetable, "2026-10-24T23:00:00+00:00", "2026-10-25T12:00:00+00:00")
    assert (len(found), found[-1]) == (60, "25 00:59")


# ---- the clocks go forward: a time that does not exist runs once the gap has passed


@pytest.mark.parametrize(
    ("zone", "cron", "start", "end", "expected"),
    [
        (BERLIN, "30 2 * * *", "2026-03-28T22:00:00+00:00", "2026-03-29T22:00:00+00:00", ["29 01:30"]),
        (NEW_YORK, "30 2 * * *", "2026-03-08T05:00:00+00:00", "2026-03-09T04:00:00+00:00", ["08 07:30"]),
        (LORD_HOWE, "15 2 * * *", "2026-10-03T13:30:00+00:00", "2026-10-04T13:00:00+00:00", ["03 15:45"]),
    ],
)
def test_cron_in_the_gap_runs_after_it(job_config, zone, cron, start, end, expected):
    """The day's run is not lost because its minute does not exist; and there is one, not two."""
    assert firings(Timetable(job_config(cron=cron, timezone=zone)), start, end) == expected


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        (BERLIN, "2026-03-29T00:00:00+00:00", "2026-03-29T03:00:00+00:00"),
        (NEW_YORK, "2026-03-08T06:00:00+00:00", "2026-03-08T09:00:00+00:00"),
        (LORD_HOWE, "2026-10-03T14:30:00+00:00", "2026-10-03T17:30:00+00:00"),
    ],
)
def test_cron_with_open_hours_goes_through_the_gap(job_config, zone, start, end):
    """Every half hour of elapsed time, the change notwithstanding."""
    assert len(firings(Timetable(job_config(cron="*/30 * * * *", timezone=zone)), start, end)) == 6


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE, "UTC"])
@pytest.mark.parametrize("cron", ["30 2 * * *", "15 2 * * *", "0 1 * * *", "45 1 * * *", "59 23 * * *"])
def test_cron_daily_runs_once_on_every_day_of_the_year(job_config, cron, zone):
    """365 days, 365 runs, whatever the clocks do."""
    timetable = Timetable(job_config(cron=cron, timezone=zone))
    wall = ZoneInfo(zone)
    moment = datetime(2026, 1, 1, tzinfo=wall).timestamp() - 1
    days = []
    while (moment := timetable.after(ACCOUNT, moment)) < datetime(2027, 1, 1, tzinfo=wall).timestamp():
        days.append(datetime.fromtimestamp(moment, wall).date())
    assert (len(days), len(set(days))) == (365, 365)


# ---- jitter


def test_jitter_is_the_same_every_day(job_config):
    """An account's run starts late by its own constant: the mean period is a day, not a day and a bit."""
    timetable = Timetable(job_config(cron="0 6 * * *", jitter=600.0))
    moment = at("2026-06-01T00:00:00+00:00")
    gaps = []
    for _ in range(30):
        following = timetable.after(ACCOUNT, moment)
        gaps.append(following - moment)
        moment = following
    assert mean(gaps[1:]) == pytest.approx(DAY, abs=1e-6)


def test_jitter_spreads_the_accounts(job_config):
    """A hundred accounts at six o'clock start at a hundred moments within ten minutes."""
    timetable = Timetable(job_config(cron="0 6 * * *", jitter=600.0))
    six = at("2026-06-01T06:00:00+00:00")
    starts = {timetable.after(f"books/{number}", six - HOUR) - six for number in range(100)}
    assert len(starts) == 100
    assert all(0 <= start < 600 for start in starts)


def test_jitter_loses_no_firing_that_is_still_to_come(job_config):
    """Between the line's minute and the account's own moment the firing is still ahead."""
    timetable = Timetable(job_config(cron="0 6 * * *", jitter=600.0))
    six = at("2026-06-01T06:00:00+00:00")
    assert timetable.after(ACCOUNT, six + 0.001) == timetable.after(ACCOUNT, six - HOUR)


# ---- neither


def test_job_without_a_schedule_is_never_due(job_config):
    """It runs by hand."""
    timetable = Timetable(job_config())
    assert (timetable.scheduled, timetable.after(ACCOUNT, 0.0), timetable.first(ACCOUNT, 0.0)) == (False, None, None)


def test_cron_first_run_waits_for_its_time(job_config):
    """A nightly job does not run at noon because an account was enrolled then."""
    timetable = Timetable(job_config(cron="0 2 * * *"))
    assert timetable.first(ACCOUNT, at("2026-06-01T12:00:00+00:00")) == at("2026-06-02T02:00:00+00:00")
