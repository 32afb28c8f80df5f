"""Time, as an argument: whoever needs it is handed a Clock, so that tests can move it and pure code never reads it.

Wall time is a float of seconds since the epoch, UTC. Waiting and elapsed time use `monotonic`, which here includes
time asleep (CLOCK_BOOTTIME): after a suspend a token has aged by the hours the machine slept.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

#: What datetime can write: the years 1 to 9999.
_EARLIEST = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


class Clock(Protocol):
    """A source of time."""

    def now(self) -> float:
        """Seconds since the epoch, UTC; may jump when somebody sets the clock."""

    def monotonic(self) -> float:
        """Seconds since an unnamed moment; never goes back, goes on while the machine sleeps."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """See Clock."""
        return time.time()

    def monotonic(self) -> float:
        """See Clock."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


def rfc3339(moment: float | None) -> str | None:
    """A wall time as RFC 3339 in UTC with milliseconds (`2026-01-09T20:15:00.123Z`); None stays None."""
    if moment is None:
        return None
    # A provider may well name the year 30000; datetime ends with 9999.
    return (
        datetime.fromtimestamp(min(max(moment, _EARLIEST), _LATEST), UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def span(seconds: float) -> str:
    """A length of time for people: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    whole = round(abs(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:  # noqa: PLR2004 - below two minutes seconds read better
        return f"{whole} s"
    if hours < 2:  # noqa: PLR2004 - likewise minutes below two hours
        return f"{minutes} min"
    if days < 2:  # noqa: PLR2004 - likewise hours below two days
        rest = minutes % 60
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    rest = hours % 24
    return f"{days} d {rest} h" if rest else f"{days} d"
