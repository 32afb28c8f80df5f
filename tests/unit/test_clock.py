"""Time: how it is read, written and told."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.clock import SystemClock, rfc3339, span


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
