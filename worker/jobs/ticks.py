"""Times finer than `datetime` holds, counted in ticks of 100 ns since 1970: a cursor that drops the seventh digit of a
time has skipped or repeated whatever lies between.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

SECOND, MILLISECOND = 10_000_000, 10_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?", re.ASCII)


def read_ticks(text: str) -> tuple[int, str] | None:
    """Ticks in UTC and the offset as it was written (`Z`, `+13:00`, or empty: then UTC is meant); None for no time."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    zone = found[3] or ""
    try:
        moment = datetime.fromisoformat(found[1] + (zone if zone not in {"", "Z"} else "+00:00"))
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):  # month 13, hour 25; the first hours of the calendar, east of Greenwich
        return None
    return (moment - EPOCH) // timedelta(seconds=1) * SECOND + int((found[2] or "0").ljust(7, "0")[:7]), zone


def utc_text(ticks: int, digits: int = 7) -> str:
    """A moment as RFC 3339 in UTC, always with as many digits, so that text sorts as time does."""
    seconds, rest = divmod(ticks, SECOND)
    whole = (EPOCH + timedelta(seconds=seconds)).isoformat().removesuffix("+00:00")
    return f"{whole}.{f'{rest:07d}'[:digits]}Z"


def to_millisecond(ticks: int) -> int:
    """The first tick of the moment's millisecond."""
    return ticks - ticks % MILLISECOND
