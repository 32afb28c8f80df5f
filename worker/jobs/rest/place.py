"""How far a collection was read, and what the next run asks for.

A list whose order nobody vouches for says only at its end how far it reaches. And even then a row that changed behind
the reader's back is older than rows that were read after it; so for times the place is never later than the API's own
clock when the listing began. Times have to be compared as moments, not as text, and go back in the spelling they came
in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.jobs.rest.resource import Increment

_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?([.,](?P<fraction>\d+))?(?P<zone>Z|z|[+-]\d\d:?\d\d)?)?")
_NUMBER = re.compile(r"-?\d+")
#: Digits of a second that a datetime holds.
_MICROSECONDS = 6


@dataclass(frozen=True)
class Mark:
    """A value of an incremental field, in the order that it counts in."""

    value: str | int | float
    #: A moment (naive times count as UTC), or a number.
    rank: datetime | int | float

    def after(self, other: Mark, name: str) -> bool:
        """Whether it is later. Raises WorkerError for a time against a number."""
        ours, theirs = self.rank, other.rank
        if isinstance(ours, datetime) and isinstance(theirs, datetime):
            return ours > theirs
        if isinstance(ours, datetime) or isinstance(theirs, datetime):
            raise WorkerError(
                f"{name} holds {self.value!r}, and its place is {other.value!r}: one is a time, the other a number",
                hint="worker jobs run JOB --since '{}' begins anew after the field was changed",
            )
        return ours > theirs


def mark(value: Any, name: str) -> Mark:
    """The mark of a value. Raises WorkerError for what is neither a time (ISO 8601) nor a number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Mark(value, value)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Mark(value, int(value))
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value.replace(",", ".").upper())
        except ValueError:
            pass
        else:
            return Mark(value, moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    raise WorkerError(
        f"{name} holds {str(value)[:60]!r}, which is neither a time (2026-01-31T12:00:00Z) nor a number",
        hint="choose another field, or read the resource without incremental",
    )


def spelt(moment: datetime, like: str) -> str:
    """A moment in the spelling of another: date only, zone, digits of a second; what does not fit is cut off."""
    form = _TIME.fullmatch(like)
    assert form is not None
    zone = form["zone"]
    if form[1] is None:
        return moment.date().isoformat()
    original = datetime.fromisoformat(like.replace(",", ".").upper())
    local = moment.astimezone(original.tzinfo or UTC).replace(tzinfo=None)
    digits = min(len(form["fraction"] or ""), _MICROSECONDS)
    text = local.isoformat(sep=like[10], timespec="microseconds")
    text = text[: len(text) - _MICROSECONDS + digits] if digits else text.partition(".")[0]
    return text + (zone or "")


class Place:
    """The place of one resource in one run."""

    def __init__(self, name: str, increment: Increment, stored: Any, until: str | None = None) -> None:
        self._name = f"{name}.{increment.field}"
        self._increment = increment
        self._stored = None if stored is None else mark(stored, self._name)
        self._reached = self._stored
        self._until = None if until is None else mark(until, self._name)
        self._seen: Mark | None = None
        self._began: datetime | None = None

    @property
    def params(self) -> dict[str, Any]:
        """The query parameter to ask with; empty when everything is wanted."""
        start = self._increment.initial if self._stored is None else self._reached_back(self._stored)
        return {} if start is None else {self._increment.param: start}

    @property
    def value(self) -> str | int | float | None:
        """What to store; never earlier than what was stored."""
        return None if self._reached is None else self._reached.value

    @property
    def stored(self) -> str | int | float | None:
        """What was stored when the run began."""
        return None if self._stored is None else self._stored.value

    @property
    def passed(self) -> bool:
        """Whether a sorted list has come past the moment that the run was to end at: what follows lies behind it."""
        if self._until is None or self._seen is None or not self._increment.ascending:
            return False
        return not self._until.after(self._seen, self._name)

    def answered(self, server_time: float | None) -> None:
        """The API has answered, and this is its Date (seconds since 1970). The first one counts, or, where it sorts
        by the field, the latest.
        """
        if server_time is not None and (self._began is None or self._increment.ascending):
            self._began = datetime.fromtimestamp(server_time, UTC)

    def see(self, values: Iterable[Any]) -> None:
        """Rows were read. Raises WorkerError when the API was said to sort and does not."""
        for value in values:
            found = mark(value, self._name)
            if self._seen is None or found.after(self._seen, self._name):
                self._seen = found
            elif self._increment.ascending and self._seen.after(found, self._name):
                raise WorkerError(
                    f"{self._name} is not sorted: {found.value!r} comes after {self._seen.value!r}",
                    hint='remove order = "ascending" from incremental; the place was given back',
                )

    def advance(self) -> None:
        """All rows up to what was seen are on their way to the sink: move there, as far as is safe."""
        if self._seen is None:
            return
        reached = self._no_later_than_began(self._seen)
        if self._reached is None or reached.after(self._reached, self._name):
            self._reached = reached

    def _no_later_than_began(self, seen: Mark) -> Mark:
        if not isinstance(seen.rank, datetime) or self._began is None or seen.rank <= self._began:
            return seen
        return mark(spelt(self._began, str(seen.value)), self._name)

    def _reached_back(self, stored: Mark) -> str | int | float:
        overlap = self._increment.overlap
        if isinstance(stored.rank, datetime):
            if isinstance(overlap, int):
                raise WorkerError(
                    f"{self._name} holds times, and its overlap is the number {overlap}", hint='write overlap = "1m"'
                )
            try:
                return spelt(stored.rank - timedelta(seconds=overlap), str(stored.value))
            except OverflowError:  # in the first year of the calendar
                return spelt(datetime.combine(date.min, datetime.min.time(), UTC), str(stored.value))
        if not isinstance(overlap, int):
            return stored.value
        moved = stored.rank - overlap
        return str(moved) if isinstance(stored.value, str) else moved
