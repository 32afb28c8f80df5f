"""How long a token lives, as told by a token answer.

RFC 6749 section 5.1 knows `expires_in`, whole seconds. Seen as well: text, fractions, null, false, `soon`, 0 and -1
for "does not expire", other names, and absolute times as epoch seconds, epoch milliseconds or dates. A lifetime that
cannot be read is unknown; it never costs us the answer, which may hold the only copy of a rotated refresh token.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.oauth.dialect import ExpiryUnit

_UNITS: dict[ExpiryUnit, float] = {"seconds": 1.0, "milliseconds": 0.001, "minutes": 60.0}
#: Names as `plain` leaves them, so without case and separators.
_RELATIVE = ("expiresin", "expiresinseconds")
_RELATIVE_OR_ABSOLUTE = ("expires", "expirein", "expire", "expiry", "accesstokenexpiresin", "accesstokenexpirein")
_ABSOLUTE = (
    "expiresat", "expireson", "expiretime", "expirestime", "expiration", "expirationtime", "expirydate",
    "accesstokenexpiration", "accesstokenexpiresat",
)  # fmt: skip
_REFRESH_TOKEN = (
    "refreshtokenexpiresin", "refreshexpiresin", "xrefreshtokenexpiresin", "refreshtokenexpirein",
    "refreshtokenexpiration", "refreshtokenexpiresat",
)  # fmt: skip
#: From here on a number is a moment: 1e9 s after the epoch is 2001; as a lifetime it would be 31 years.
_EPOCH_SECONDS = 1e9
#: 1e11 s after the epoch is the year 5138, 1e11 ms is 1973.
_EPOCH_MILLISECONDS = 1e11
#: Three centuries. A longer lifetime or wait is nonsense, and would overflow the clocks that it is added to.
_LONGEST = 10_000_000_000
_NUMBER = re.compile(r"\+?\d{1,18}(?:\.\d{0,18})?")


def access_lifetime(members: Mapping[str, object], *, now: float, unit: ExpiryUnit = "seconds") -> int | None:
    """Seconds that the access token has left at `now`; None when unknown. `members` by their `plain` names."""
    for name in _RELATIVE:
        number = read_number(members.get(name))
        seconds = _sound(number * _UNITS[unit]) if number is not None else None
        if seconds is not None:
            return seconds
    return _first((members.get(name) for name in _RELATIVE_OR_ABSOLUTE), now) or _first(
        (members.get(name) for name in _ABSOLUTE), now, smallest=_EPOCH_SECONDS
    )


def refresh_lifetime(members: Mapping[str, object], *, now: float) -> int | None:
    """Seconds that the refresh token has left at `now`; None when unknown or without end."""
    return _first((members.get(name) for name in _REFRESH_TOKEN), now)


def read_number(value: object) -> float | None:
    """A finite number that was given as a number or as text. Truth values are no numbers."""
    if isinstance(value, str):
        text = value.strip()
        return float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if isfinite(value) else None
    except OverflowError:  # a whole number of hundreds of digits
        return None


def read_wait(value: object) -> float | None:
    """Seconds to wait; None for what is no number, and for centuries."""
    seconds = read_number(value)
    return seconds if seconds is not None and 0 <= seconds <= _LONGEST else None


def read_moment(text: str) -> float | None:
    """A date as seconds since the epoch: RFC 3339 and its relatives, or an HTTP date (RFC 9110 section 5.6.7)."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _first(values: Iterable[object], now: float, *, smallest: float = 0) -> int | None:
    return next((seconds for value in values if (seconds := _left(value, now, smallest)) is not None), None)


def _left(value: object, now: float, smallest: float) -> int | None:
    """Seconds left by a lifetime or a moment. Numbers below `smallest` mean nothing."""
    number = read_number(value)
    if number is None:
        moment = read_moment(value) if isinstance(value, str) else None
        return None if moment is None else _sound(moment - now)
    if number < smallest:
        return None
    if number < _EPOCH_SECONDS:
        return _sound(number)
    return _sound((number / 1000 if number >= _EPOCH_MILLISECONDS else number) - now)


def _sound(seconds: float) -> int | None:
    """Whole seconds; None for nothing, less than nothing, and for ever."""
    return int(seconds) if isfinite(seconds) and 1 <= seconds <= _LONGEST else None
