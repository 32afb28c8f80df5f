"""A sink that keeps everything in memory: for dry runs, which must write nothing, and for tests of jobs."""

from __future__ import annotations

import threading
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from worker.errors import FenceLost, WorkerError
from worker.jobs.brake import Gone
from worker.jobs.listing import SAMPLE, Swept
from worker.jobs.sinks.values import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.jobs.listing import Sweep
    from worker.jobs.sinks import Stream, TableBatch

    #: `Sweeping.preview` of another sink.
    Preview = Callable[[Stream, str, Sweep], Swept | None]

#: Types that are shown as text, as the other embedded sinks keep them.
_SHOWN = frozenset({datetime, Decimal})


class MemorySink:
    """Rows and cursors in dicts. For a dry run, start it with the real sink's cursor: `{stream: cursor}`, and give it
    the real sink's `preview`: what a complete listing would take away there is found in `swept`.
    """

    def __init__(
        self, cursors: Mapping[Stream, Mapping[str, Any]] | None = None, *, preview: Preview | None = None
    ) -> None:
        self._preview = preview
        #: What became of complete listings, or would in the real sink.
        self.swept: list[Swept] = []
        self.cursors: dict[Stream, dict[str, Any]] = {stream: dict(value) for stream, value in (cursors or {}).items()}
        self._tables: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        self._fences: dict[Stream, tuple[int, int]] = {}
        self._lock = threading.Lock()

    @property
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Rows by table, in the order of their first appearance; rows with a key once, as last emitted."""
        with self._lock:
            return {table: [dict(row) for row in rows.values()] for table, rows in self._tables.items()}

    def open(self, stream: Stream, fence: int) -> MemorySession:
        """See Sink."""
        with self._lock:
            stored, resets = self._fences.get(stream, (fence, 0))
            if stored > fence:
                raise FenceLost(evidence={"stream": str(stream), "fence": fence, "newer": stored})
            self._fences[stream] = (fence, resets)
            return MemorySession(self, stream, (fence, resets), dict(self.cursors.get(stream, {})))

    def read_cursor(self, stream: Stream) -> dict[str, Any]:
        """See Sink."""
        return dict(self.cursors.get(stream, {}))

    def reset(self, stream: Stream) -> None:
        """See Sink."""
        with self._lock:
            fence, resets = self._fences.get(stream, (0, 0))
            self._fences[stream] = (fence, resets + 1)
            self.cursors.pop(stream, None)

    def put(
        self,
        stream: Stream,
        mark: tuple[int, int],
        batches: Mapping[str, TableBatch],
        cursor: Mapping[str, Any] | None,
    ) -> int:
        """Take rows and cursor of a session whose fence and reset count are `mark`."""
        with self._lock:
            if self._fences[stream] != mark:
                raise FenceLost(evidence={"stream": str(stream), "fence": mark[0]})
            taken = [(table, _keyed(stream, table, batch)) for table, batch in batches.items()]
            count = 0
            for table, rows in taken:
                present = self._tables.setdefault(table, {})
                for key, row in rows:
                    present[key or ("", len(present))] = row
                count += len(rows)
            for table, batch in batches.items():
                if batch.sweep is not None:
                    self._sweep(stream, table, batch.sweep)
            if cursor is not None:
                self.cursors[stream] = dict(cursor)
            return count

    def _sweep(self, stream: Stream, table: str, sweep: Sweep) -> None:
        swept = self._own(stream, table, sweep) if self._preview is None else self._preview(stream, table, sweep)
        swept = swept or Swept(table, Gone(0, 0, 0))
        self.swept.append(swept)
        sweep.outcome = swept

    def _own(self, stream: Stream, table: str, sweep: Sweep) -> Swept:
        rows = self._tables.get(table, {})
        owner = (stream.integration, stream.account)
        seen = {(*owner, *map(str, key)) for key in sweep}
        mine = [key for key in rows if key[:2] == owner]
        gone = [key for key in mine if key not in seen]
        numbers = Gone(len(gone), len(mine), len(seen))
        objection = sweep.brake.objection(table, numbers)
        if not objection:
            for key in gone:
                del rows[key]
        sample = tuple(", ".join(key[2:]) for key in gone[:SAMPLE])
        return Swept(table, numbers, sample, objection, sweep.change if objection else "")


class MemorySession:
    """See SinkSession."""

    def __init__(self, sink: MemorySink, stream: Stream, mark: tuple[int, int], cursor: dict[str, Any]) -> None:
        self._sink = sink
        self._stream = stream
        self._mark = mark
        self._cursor = cursor

    @property
    def cursor(self) -> dict[str, Any]:
        """See SinkSession."""
        return dict(self._cursor)

    def write(self, batches: Mapping[str, TableBatch], cursor: Mapping[str, Any] | None) -> int:
        """See SinkSession."""
        return self._sink.put(self._stream, self._mark, batches, cursor)

    def close(self) -> None:
        """See SinkSession."""


def _keyed(stream: Stream, table: str, batch: TableBatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    rows = []
    for row in batch.rows:
        missing = [name for name in batch.key if row.get(name) is None]
        if missing:
            raise WorkerError(f"a row for {table} has no {missing[0]!r}, which is its key")
        key = (stream.integration, stream.account, *(str(row[name]) for name in batch.key)) if batch.key else ()
        rows.append((key, {name: as_text(value) if type(value) in _SHOWN else value for name, value in row.items()}))
    return rows
