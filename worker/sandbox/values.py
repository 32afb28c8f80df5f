"""The kinds of value that the API shows, as Python types that compare and print as the API does.

Times are counted in ticks of 100 ns since 1970: the API shows up to seven fractional digits, one more than `datetime`
holds, and the difference between three and seven digits is the trap that an incremental sync falls into.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

Kind = Literal["number", "text", "instant", "local", "flag", "group"]

TICKS = 10_000_000
TICKS_PER_MS = 10_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,7}))?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)


class Instant(int):
    """A moment in UTC, in ticks."""

    __slots__ = ()

    def __str__(self) -> str:
        """RFC 3339 with Z; trailing zeros of the fraction are left out, and the point with them."""
        seconds, fraction = divmod(self, TICKS)
        text = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
        digits = f".{fraction:07d}".rstrip("0") if fraction else ""
        return f"{text}{digits}Z"


class Local(NamedTuple):
    """A moment with the offset of its place: ticks in UTC, offset in minutes. Compares by the moment."""

    ticks: int
    offset: int

    def __str__(self) -> str:
        there = EPOCH + timedelta(seconds=self.ticks // TICKS, minutes=self.offset)
        hours, minutes = divmod(abs(self.offset), 60)
        sign = "-" if self.offset < 0 else "+"
        return f"{there:%Y-%m-%dT%H:%M:%S}.{self.ticks % TICKS // TICKS_PER_MS:03d}{sign}{hours:02d}:{minutes:02d}"


class Group(dict[str, "int | str"]):
    """Elements in an element."""

    __slots__ = ()


Value = int | Decimal | str | bool | Instant | Local | Group


def shown(value: Value) -> str:
    """A value as the API writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def to_ticks(moment: datetime) -> int:
    """Ticks since 1970 of an aware datetime."""
    past = moment - EPOCH
    return (past.days * 86400 + past.seconds) * TICKS + past.microseconds * 10


def read_ticks(text: str, *, digits: int) -> tuple[int, bool] | None:
    """Ticks of an ISO time with at most that many fraction digits, and whether it is in UTC; None if it is none."""
    found = _TIME.fullmatch(text)
    if found is None or len(found[7] or "") > digits or not found[8]:
        return None
    try:
        year, month, day, hour, minute, second = (int(found[place] or 0) for place in range(1, 7))
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    offset = 0
    if found[8] != "Z":
        offset = (int(found[8][1:3]) * 60 + int(found[8][4:6])) * (-1 if found[8][0] == "-" else 1)
    ticks = to_ticks(moment) - offset * 60 * TICKS + int((found[7] or "").ljust(7, "0"))
    return ticks, found[8] == "Z"
