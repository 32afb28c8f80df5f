"""A collection that changes while it is read, in the order of its changes: whatever changed since a place is met.

Three things go wrong where a sync simply asks for what is newer than the last row. Filters are coarser than the data:
the place is kept in full, as (moment, id), and asked for by its millisecond; rows up to the place come again and are
passed over. A bulk change gives more rows one moment than a page holds: a millisecond that fills a page is read to its
end by id alone. And a change that is being committed while a page is read may show later, with a moment that has been
passed: the stored place stays `settle` seconds behind the server's clock *as it was when the reading got that far*;
rows newer than that are delivered now and once more in the next run. Pages are never skipped by number: a row that
changes meanwhile moves to the end and is met there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from worker.errors import WorkerError
from worker.jobs.answers import server_time
from worker.jobs.ticks import MILLISECOND, SECOND, read_ticks, to_millisecond, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from worker.jobs.context import Context

Row = TypeVar("Row")

#: Seconds by which rows may lie ahead of the server's clock before the two clocks are taken for unrelated.
AHEAD = 60.0
#: Less than any id, and less than any moment.
BEFORE_ANY, BEFORE_ALL = -1, -(1 << 62)


class Place(NamedTuple):
    """How far the reading has come: every row up to this moment (ticks since 1970) and id has been delivered."""

    moment: int
    id: int

    @property
    def millisecond(self) -> int:
        """The first tick of the moment's millisecond: as fine as a filter can be."""
        return to_millisecond(self.moment)


@dataclass(frozen=True)
class Batch(Generic[Row]):
    """One page of rows in the order that was asked for, with the place of each."""

    rows: list[tuple[Place, Row]]
    more: bool
    #: The server's clock in ticks when it answered; None when it does not tell.
    server_time: int | None


class Source(Protocol[Row]):
    """The collection. Both ways give the first page of what is asked for."""

    def since(self, millisecond: int | None) -> Batch[Row]:
        """Rows from this millisecond (ticks) on, all for None; sorted by moment and id."""

    def within(self, millisecond: int, after: int) -> Batch[Row]:
        """Rows of this millisecond whose id is greater than `after`, sorted by id."""


def clock_of(response: requests.Response) -> int | None:
    """The server's clock in ticks, whole seconds; None when the answer has no Date."""
    seconds = server_time(response)
    return None if seconds is None else int(seconds) * SECOND


def settled(moment: int, server_time: int | None, settle: float) -> int:
    """`moment`, held back to the millisecond `settle` seconds before the server's clock if it lies behind that."""
    if server_time is None or moment > server_time + AHEAD * SECOND:
        return moment
    return min(moment, to_millisecond(server_time - int(settle * SECOND)))


@dataclass
class Reading(Generic[Row]):
    """One run's way through a collection. The cursor's names are `modified`, `id` and `drained`."""

    ctx: Context
    source: Source[Row]
    #: Emits rows; the checkpoint follows.
    deliver: Callable[[list[Row]], None]
    #: Seconds, see above.
    settle: float
    #: No place behind this one is stored: some of what this run has passed may still show.
    limit: Place | None = field(default=None, init=False)

    def run(self) -> None:
        """Deliver every row behind the cursor, page by page, each with its checkpoint."""
        place = self._stored()
        if place is not None and "drained" in self.ctx.cursor:  # the last run ended inside a crowded millisecond
            place = self._drain(place)
        while True:
            batch = self.source.since(None if place is None else place.millisecond)
            _require_order(
                [at for at, _ in batch.rows], Place(BEFORE_ALL if place is None else place.millisecond, BEFORE_ANY)
            )
            fresh = [(at, row) for at, row in batch.rows if place is None or at > place]
            before, place = place, (fresh[-1][0] if fresh else place)
            if place is None:
                return
            if fresh:
                self.deliver([row for _, row in fresh])
                self._store(place, batch.server_time)
            if not batch.more:
                return
            if before is not None and place.millisecond == before.millisecond:
                place = self._drain(place)

    def _drain(self, place: Place) -> Place:
        """Deliver what is left of the place's millisecond in the order of ids; answers the place behind it."""
        drained, more = int(self.ctx.cursor.get("drained", 0)), True
        behind = Place(place.millisecond + MILLISECOND, BEFORE_ANY)
        while more:
            batch = self.source.within(place.millisecond, drained)
            if not batch.rows:
                break
            _require_order([Place(0, at.id) for at, _ in batch.rows], Place(0, drained + 1))
            drained, more = batch.rows[-1][0].id, batch.more
            self.deliver([row for at, row in batch.rows if at > place])
            if self._storable(place, batch.server_time) == place:
                self.ctx.checkpoint(modified=utc_text(place.moment), id=place.id, drained=drained)
        self._store(behind, batch.server_time)
        return behind

    def _stored(self) -> Place | None:
        """The place in the cursor; without one where a backfill begins, if this is one."""
        text = self.ctx.cursor.get("modified", self.ctx.since)
        if text is None:
            return None
        found = read_ticks(str(text))
        if found is None:
            raise WorkerError(f"the cursor's modified is {text!r} and no time")
        return Place(found[0], int(self.ctx.cursor.get("id", BEFORE_ANY)))

    def _store(self, place: Place, server_time: int | None) -> None:
        stored, storable = self._stored(), self._storable(place, server_time)
        if stored is not None and storable <= stored:
            self.ctx.checkpoint(drained=None)
        else:
            self.ctx.checkpoint(modified=utc_text(storable.moment), id=storable.id, drained=None)

    def _storable(self, place: Place, server_time: int | None) -> Place:
        """The place to store, now that the reading has come to `place`."""
        held = settled(place.moment, server_time, self.settle)
        if held < place.moment and self.limit is None:
            self.limit = Place(held, BEFORE_ANY)
        return place if self.limit is None else min(place, self.limit)


def _require_order(places: list[Place], first: Place) -> None:
    """Raise WorkerError where an API does not heed its filter or its order: rows would be lost without a word."""
    for before, after in zip([first, *places], places, strict=False):
        if after < before:
            raise WorkerError(
                f"the API answers with row {after.id} out of turn: it does not heed the filter or the order"
            )
