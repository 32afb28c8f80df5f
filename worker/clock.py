"""Time, as an argument: whoever needs it is handed a Clock, so that tests can move it and pure code never reads it.

Wall time is a float of seconds since the epoch, UTC. Waiting and elapsed time use `monotonic`, which here includes
time asleep (CLOCK_BOOTTIME): after a suspend a token has aged by the hours the machine slept.

Only wall time survives a restart, and only wall time can be set. So what was recorded earlier is compared with two
readings (`age_of`): the wall clock, and `steady`, which is what it would say if nobody had set it since the process
began.
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

    def steady(self) -> float:
        """The wall time of this process's start, and the seconds since then: moved by nobody who sets the clock."""


#: CLOCK_MONOTONIC stands still on Linux while the machine sleeps; where BOOTTIME is missing it is all there is.
_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._start = self.now() - self.monotonic()

    def now(self) -> float:
        """See Clock."""
        return time.time()

    def monotonic(self) -> float:
        """See Clock."""
        return time.clock_gettime(_ELAPSED)

    def steady(self) -> float:
        """See Clock."""
        return self._start + self.monotonic()


def age_of(moment: float, clock: Clock) -> float | None:
    """Seconds since a recorded wall time, the least that is plausible; None when it has yet to come by both readings.

    A clock that was set ahead makes everything look old by one reading, one that was set back makes it look as if it
    had not happened yet. The younger age costs a rejected request at worst; the older one would have every account
    refreshed because of one wrong clock.
    """
    return min((reading - moment for reading in (clock.now(), clock.steady()) if reading >= moment), default=None)


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
