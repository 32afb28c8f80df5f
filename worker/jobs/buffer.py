"""Keeps rows until the checkpoint that covers them, so that nothing is visible which a crash would deliver twice.

Rows must never be written ahead of their cursor: rows without a key would be there twice after a restart, and a job
that raises would leave behind what it is promised not to. So a long stretch without a checkpoint is not written early;
it waits in a spool, and memory stays flat however many rows there are. One run's worth on the disk is the limit.
The same holds for the keys that a run has seen: they are kept, a few bytes each, for the `complete` that may come.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from worker.errors import RunEnded, WorkerError
from worker.jobs.brake import Brake
from worker.jobs.cursor import merge
from worker.jobs.listing import Listing, Sweep, Swept
from worker.jobs.shapes import Shape
from worker.jobs.sinks import TableBatch
from worker.jobs.sinks.values import plain_row, weight
from worker.jobs.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from worker.jobs.sinks import SinkSession


class LimitReached(RunEnded):
    """The run was to stop after so many rows."""


class RunTally:
    """What the streams of one run have in common: how many rows may come, and what was seen of its tables."""

    def __init__(self, limit: int | None = None, brake: Callable[[], Brake] = Brake) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._taken = 0
        #: Whether the limit has kept a row from being taken.
        self.cut_off = False
        #: What holds deletions back.
        self.brake = brake
        #: What became of the complete listings that were committed so far.
        self.swept: list[Swept] = []
        #: What the rows handed over look like, by table.
        self.shapes: dict[str, Shape] = {}
        #: Tables whose listing is complete and not committed yet, and the stream that has it.
        self.complete: dict[str, Buffer] = {}

    def take(self) -> None:
        """Leave to emit one row. Raises LimitReached when there is none left."""
        if self._limit is None:
            return
        with self._lock:
            if self._taken >= self._limit:
                self.cut_off = True
                raise LimitReached(f"the limit of {self._limit} rows is reached")
            self._taken += 1


class Buffer:
    """The rows and the cursor of one stream, on their way into one sink. Safe to use from a job's own threads.

    A context manager: leaving it forgets whatever `checkpoint` or `finish` has not committed.
    """

    def __init__(
        self,
        session: SinkSession,
        *,
        folder: Path | None = None,
        limit: int | None = None,
        run: RunTally | None = None,
    ) -> None:
        self._session = session
        self._folder = folder
        #: What this stream shares with the others of its run.
        self.run = run or RunTally(limit)
        self._lock = threading.RLock()
        self._cursor = session.cursor
        self._pending: dict[str, _Rows] = {}
        self._listings: dict[str, Listing] = {}
        #: Tables of which rows were handed over or seen.
        self.tables: set[str] = set()
        #: Rows handed over by the job so far.
        self.emitted = 0
        #: Rows committed so far, as the sink counts them.
        self.committed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget whatever was not committed, and the keys that were seen."""
        self.discard()
        for listing in self._listings.values():
            listing.keys.close()

    @property
    def cursor(self) -> dict[str, Any]:
        """The place reached by the last checkpoint."""
        with self._lock:
            return dict(self._cursor)

    def emit(
        self,
        table: str,
        rows: Iterable[Mapping[str, Any]] | Mapping[str, Any],
        key: str | Sequence[str] | None = None,
    ) -> None:
        """Remember rows (or a single one) for the next checkpoint.

        Raises WorkerError for a value that cannot be stored or a key that differs within one checkpoint, and
        LimitReached when the run's limit of rows is full.
        """
        single: Iterable[Mapping[str, Any]] = [rows] if isinstance(rows, Mapping) else rows
        names = (key,) if isinstance(key, str) else tuple(key or ())
        with self._lock, self._listed(table) as listing:
            pending = self._pending.get(table)
            if pending is None:
                pending = self._pending[table] = _Rows(names, self._folder)
            if pending.key != names:
                raise WorkerError(f"rows for {table} were emitted with the key {names}, and before with {pending.key}")
            if names:
                listing.name_key(table, names)
            shape = self.run.shapes.setdefault(table, Shape())
            for row in single:
                self.run.take()
                plain = plain_row(row, table)
                pending.rows.add(plain, weight(plain))
                shape.note(plain)
                if names:
                    listing.add_row(plain)
                self.emitted += 1

    def seen(self, table: str, keys: Iterable[Any], key: str | Sequence[str] = "id") -> None:
        """Remember that rows with these keys exist at the source; emitting a row with a key says so, too.

        Raises WorkerError for what is no key of the table.
        """
        names = (key,) if isinstance(key, str) else tuple(key)
        given = [keys] if isinstance(keys, str | bytes | Mapping) else keys
        with self._lock, self._listed(table) as listing:
            listing.name_key(table, names)
            listing.add(table, given)

    def complete(self, table: str) -> None:
        """All rows of the table that exist at the source have been seen; takes effect with the next checkpoint.

        Raises WorkerError, or what has ended the run, when `emit` or `seen` has raised for this table before.
        """
        with self._lock:
            listing = self._listings.setdefault(table, Listing(self._folder))
            listing.require_whole(table)
            listing.complete = True
            self.run.complete[table] = self

    def checkpoint(self, **values: Any) -> int:
        """Commit the pending rows with the cursor moved to `values`; answers their number.

        When it raises, nothing was written and the rows are still pending.
        """
        with self._lock:
            cursor = merge(self._cursor, values)
            if cursor == self._cursor:
                return self._write(None)
            rows = self._write(cursor)
            self._cursor = cursor
            return rows

    def finish(self) -> int:
        """At the successful end of a run: commit what is pending, with the cursor as it stands."""
        with self._lock:
            return self._write(None)

    def discard(self) -> None:
        """At any other end: forget what is pending."""
        with self._lock:
            for pending in self._pending.values():
                pending.rows.close()
            self._pending.clear()

    @contextmanager
    def _listed(self, table: str) -> Iterator[Listing]:
        """The table's listing; it cannot become complete any more when what is done with it raises."""
        self.tables.add(table)
        if self.run.complete.get(table, self) is not self:
            raise WorkerError(
                f"rows of {table} come after another stream has said that it is complete",
                hint="checkpoint the stream that said so first",
            )
        listing = self._listings.setdefault(table, Listing(self._folder))
        try:
            yield listing
        except BaseException as error:
            listing.cut_off = error
            raise

    def _write(self, cursor: Mapping[str, Any] | None) -> int:
        batches = {table: TableBatch(one.rows, one.key) for table, one in self._pending.items() if one.rows.count}
        sweeps = {
            table: Sweep(listing, self.run.brake()) for table, listing in self._listings.items() if listing.complete
        }
        for table, sweep in sweeps.items():
            rows = batches.get(table)
            if rows is not None and rows.key != sweep.key:
                raise WorkerError(f"rows for {table} were emitted with the key {rows.key}, and listed by {sweep.key}")
            batches[table] = TableBatch(rows.rows if rows is not None else (), sweep.key, sweep)
        if not batches and cursor is None:
            return 0
        count = self._session.write(batches, cursor)
        self.committed += count
        for table, sweep in sweeps.items():
            self._listings.pop(table).keys.close()
            self.run.complete.pop(table, None)
            if sweep.outcome is not None:
                self.run.swept.append(sweep.outcome)
        self.discard()
        return count


class _Rows:
    """The pending rows of one table."""

    def __init__(self, key: tuple[str, ...], folder: Path | None) -> None:
        self.key = key
        self.rows: Spool[dict[str, Any]] = Spool(folder)
