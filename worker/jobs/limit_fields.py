"""What an answer says about the limits that it was counted against.

There is no finished standard, only habits: `RateLimit: "default";r=50;t=30` (draft-ietf-httpapi-ratelimit-headers from
its 8th version on), `RateLimit: limit=100, remaining=50, reset=30` (its 7th), `RateLimit-Remaining` and `-Reset` (those
before) and the same with `X-` in front. A reset is a number of seconds to some, a moment to others, and says not which.

Nothing here raises, whatever the fields hold: what makes no sense says nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Seconds, three centuries: what is longer is nonsense and would overflow the clocks that it is added to.
LONGEST_WAIT = 9_999_999_999
#: Numbers from here on are moments, seconds since the epoch, and from there on milliseconds: no window has 31 years.
_MOMENT, _MILLISECONDS = 1e9, 1e12
#: Quotas taken from one answer, and characters of a field that are looked at: real ones have a few, and hundreds.
_MOST, _LONGEST_FIELD = 8, 2000
_PREFIXES = ("RateLimit-", "X-RateLimit-", "X-Rate-Limit-")
_NUMBER = re.compile(r"\d{1,15}(\.\d{1,9})?", re.ASCII)
#: What stands up to a separator, quoted text taken as a whole (RFC 9651 section 3). The alternatives begin with
#: different letters, so no text has it try twice.
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_MEMBER = re.compile(rf'((?:{_QUOTED}|[^",])+)(?:,|$)')
_PART = re.compile(rf'((?:{_QUOTED}|[^";])+)(?:;|$)')


@dataclass(frozen=True)
class Quota:
    """What is left of one limit until it is renewed."""

    #: The server's name of it, empty where it has only one.
    name: str
    #: Requests that may still be sent.
    remaining: int
    #: Seconds.
    renewed_in: float


def read_quotas(fields: Mapping[str, str], now: float) -> list[Quota]:
    """The quotas that an answer's header fields tell of. `fields` is looked up in any case, as `requests` does.

    `now` is a wall time in seconds; the answer's own Date wins, so that a clock that is off here does no harm.
    """
    if not any("rate" in name.lower() for name in fields):
        return []  # nearly every answer
    sent = read_date(fields.get("Date", ""))
    now = now if sent is None else sent
    found = [*_standard(fields), *_habitual(fields, now)]
    return [quota for quota in found if quota.renewed_in <= LONGEST_WAIT][:_MOST]


def exhausted_for(quotas: list[Quota]) -> float | None:
    """Seconds until something is left of every quota; None when something is, or nothing is known."""
    return max((quota.renewed_in for quota in quotas if not quota.remaining), default=None)


def read_date(text: str) -> float | None:
    """An HTTP date (RFC 9110 section 5.6.7) as seconds since the epoch; None when it is none."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _standard(fields: Mapping[str, str]) -> Iterator[Quota]:
    """The field of the draft, as a list from its 8th version on and as a dictionary in its 7th."""
    windows = {name: parameters.get("w") for name, _, parameters in _members(fields, "RateLimit-Policy")}
    alone: dict[str, str] = {}
    for name, value, parameters in _members(fields, "RateLimit"):
        alone[name] = value
        # Where it does not say when, a whole window is what it can be at most.
        yield from _quota(name, parameters.get("r"), _number(parameters.get("t") or windows.get(name)))
    yield from _quota("", alone.get("remaining"), _number(alone.get("reset")))


def _habitual(fields: Mapping[str, str], now: float) -> Iterator[Quota]:
    """The fields of the drafts before, and of everybody who did without a draft."""
    for prefix in _PREFIXES:
        name = fields.get(f"{prefix}Resource", "")[:_LONGEST_FIELD]
        renewed_in = _number(fields.get(f"{prefix}Reset-After"))
        if renewed_in is None:
            renewed_in = _left(fields.get(f"{prefix}Reset", ""), now)
        yield from _quota(name, fields.get(f"{prefix}Remaining"), renewed_in)


def _quota(name: str, remaining: str | None, renewed_in: float | None) -> Iterator[Quota]:
    number = _number(remaining)
    if number is not None and renewed_in is not None:
        yield Quota(name, int(number), renewed_in)


def _left(text: str, now: float) -> float | None:
    """Seconds until a reset that is a number of seconds, or a moment in any spelling."""
    number = _number(text)
    if number is None:
        moment = read_date(text) or _rfc3339(text)
    elif number < _MOMENT:
        return number
    else:
        moment = number if number < _MILLISECONDS else number / 1000
    return None if moment is None else max(0.0, moment - now)


def _rfc3339(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    stripped = (text or "").strip().strip('"')
    return float(stripped) if _NUMBER.fullmatch(stripped) else None


def _members(fields: Mapping[str, str], field: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Name, value and parameters of the members of a list or dictionary, up to the first fault."""
    for member in _pieces(_MEMBER, fields.get(field, "")[:_LONGEST_FIELD]):
        (name, value), *parameters = [_named(part) for part in _pieces(_PART, member)] or [("", "")]
        yield name, value, dict(parameters)


def _pieces(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    place = 0
    while place < len(text) and (found := pattern.match(text, place)) is not None:
        place = found.end()
        yield found[1].strip()


def _named(part: str) -> tuple[str, str]:
    """`name=value`, or a name alone, which may be quoted."""
    if part.startswith('"'):
        return part.strip('"'), ""
    name, _, value = part.partition("=")
    return name.strip().lower(), value.strip()
