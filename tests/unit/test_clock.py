"""Time: how it is read, written and told."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.clock import SystemClock, age_of, rfc3339, span
from worker.testing import ManualClock


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1767989700.123, "2026-01-09T20:15:00.123Z"),
        (-1.0, "1969-12-31T23:59:59.000Z"),
        (None, None),
    ],
)
def test_rfc3339_writes_utc_with_milliseconds(moment: float | None, text: str | None) -> None:
    """The one form in which times leave the program; None stays None."""
    assert rfc3339(moment) == text


@given(st.floats(allow_nan=False))
def test_rfc3339_writes_any_moment(moment: float) -> None:
    """A provider may name a Retry-After of three thousand years: that must not break `worker status`."""
    assert (rfc3339(moment) or "").endswith("Z")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45.4, "45 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (12000, "3 h 20 min"),
        (172_800, "2 d"),
        (187_200, "2 d 4 h"),
        (-45, "45 s"),
    ],
)
def test_span_reads_like_people_speak(seconds: float, text: str) -> None:
    """Two units at most."""
    assert span(seconds) == text


def test_system_clock_tells_the_wall_time() -> None:
    """Between two looks at the real one."""
    before = time.time()
    assert before <= SystemClock().now() <= time.time()


def test_system_clock_counts_time_asleep() -> None:
    """CLOCK_BOOTTIME, not CLOCK_MONOTONIC: after a suspend a token has aged."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= SystemClock().monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)


# ---- ages


YEAR = 365 * 86400.0


def test_steady_clock_says_what_the_wall_clock_says_until_somebody_sets_it():
    """Within what a reading takes."""
    clock = SystemClock()
    assert abs(clock.steady() - clock.now()) < 5.0


@pytest.mark.parametrize("jump", [-YEAR, -3600.0, 0.0, 3600.0, YEAR])
def test_age_of_what_was_recorded_before_the_clock_was_set_is_not_moved_by_it(clock, jump):
    """Ten minutes old, whatever was done to the clock."""
    moment = clock.now()
    clock.advance(600)
    clock.set_wall(clock.now() + jump)
    assert age_of(moment, clock) == pytest.approx(600)


@pytest.mark.parametrize("jump", [-YEAR, -3600.0, 3600.0, YEAR])
def test_age_of_what_was_recorded_after_the_clock_was_set_counts_from_there(clock, jump):
    """Recorded by the new time."""
    clock.set_wall(clock.now() + jump)
    moment = clock.now()
    clock.advance(600)
    assert age_of(moment, clock) == pytest.approx(600)


def test_age_of_what_has_yet_to_come_is_unknown(clock):
    """Recorded by a process whose clock was ahead."""
    assert age_of(clock.now() + 60, clock) is None


@given(jumps=st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e8, 1e8)), max_size=6))
def test_age_is_never_more_than_the_wall_clock_says(jumps):
    """A wrong clock may make something look younger, and older only as far as both readings agree."""
    clock = ManualClock()
    moment = clock.now()
    for passed, jump in jumps:
        clock.advance(passed)
        clock.set_wall(clock.now() + jump)
    found = age_of(moment, clock)
    assert found is None or 0 <= found <= max(clock.now() - moment, sum(passed for passed, _ in jumps) + 0.01)
