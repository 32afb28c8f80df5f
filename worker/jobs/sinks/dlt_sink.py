"""Any destination of dlt: rows go through a dlt pipeline, one load for each checkpoint; the cursor stays with us.

The destination is not asked for a transaction that holds both: the cursor is stored in a file of our own once the load
has ended well. So a row comes at least once; with a key it takes the place of the other, so that the table is as if it
had come once. Rows without a key may be there twice after a crash in the middle of a load.

`_integration` and `_account` stand in every row and are part of every key, as in the other sinks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError
from worker.jobs.brake import Gone
from worker.jobs.listing import Swept
from worker.jobs.sinks.sideways import OWNER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from worker.jobs.sinks import Stream, TableBatch
    from worker.jobs.sinks.dlt_child import Order, Table
    from worker.jobs.sinks.dlt_process import DltProcess
    from worker.jobs.sinks.sqlite import SqliteSession, SqliteSink


@dataclass(frozen=True)
class DltTarget:
    """Where dlt loads."""

    #: dlt's name of the pipeline; its working folder is one of that name in `folder`.
    pipeline: str
    folder: str
    destination: str
    dataset: str
    #: Fetched before each load, so that what has changed outside is taken up; None when there are none.
    credentials: Callable[[], str | None]
    settings: Mapping[str, Any] = field(default_factory=dict)
    flat: bool = False

    def order(self, batches: Mapping[str, TableBatch]) -> Order:
        """What the loading process is told. Raises Misconfigured when the credentials cannot be had."""
        return {
            "pipeline": self.pipeline,
            "folder": self.folder,
            "destination": self.destination,
            "dataset": self.dataset,
            "credentials": _parsed(self.credentials()),
            "settings": dict(self.settings),
            "flat": self.flat,
            "tables": [self._table(name, batch) for name, batch in batches.items()],
        }

    def _table(self, name: str, batch: TableBatch) -> Table:
        """DuckDB takes a quarter of the time, and a fifth of the memory, for lines of JSON; they cannot hold bytes."""
        form = ""
        if self.destination == "duckdb":
            has_bytes = any(type(value) is bytes for row in batch.rows for value in row.values())
            form = "insert_values" if has_bytes else "jsonl"
        return {"name": name, "key": [*OWNER, *batch.key] if batch.key else [], "format": form}


class DltSink:
    """See Sink. `cursors` is a file that holds nothing else."""

    def __init__(self, target: DltTarget, process: DltProcess, cursors: SqliteSink) -> None:
        self.target = target
        self.process = process
        self._cursors = cursors

    def open(self, stream: Stream, fence: int) -> DltSession:
        """See Sink."""
        return DltSession(self, self._cursors.open(stream, fence), stream)

    def read_cursor(self, stream: Stream) -> dict[str, Any]:
        """See Sink."""
        return self._cursors.read_cursor(stream)

    def reset(self, stream: Stream) -> None:
        """See Sink."""
        self._cursors.reset(stream)


class DltSession:
    """See SinkSession."""

    def __init__(self, sink: DltSink, cursors: SqliteSession, stream: Stream) -> None:
        self._sink = sink
        self._cursors = cursors
        self._stream = stream
        self._check: Callable[[], None] = lambda: None

    @property
    def cursor(self) -> dict[str, Any]:
        """See SinkSession."""
        return self._cursors.cursor

    def heed(self, check: Callable[[], None]) -> None:
        """See Heeding."""
        self._check = check

    def write(self, batches: Mapping[str, TableBatch], cursor: Mapping[str, Any] | None) -> int:
        """See SinkSession; a write that fails may leave rows, which come again, and never moves the cursor."""
        rows = 0
        for table, batch in batches.items():
            if batch.sweep is not None:
                batch.sweep.outcome = Swept(table, Gone(0, 0, 0), unusable="a sink of type dlt takes no rows away")
        batches = {table: batch for table, batch in batches.items() if next(iter(batch.rows), None) is not None}
        if batches:
            self._cursors.write({}, None)  # a run that was overtaken does not load at all
            tables = (self._owned(table, batch) for table, batch in batches.items())
            rows = self._sink.process.load(self._sink.target.order(batches), tables, self._check)
        self._cursors.write({}, cursor)
        return rows

    def close(self) -> None:
        """See SinkSession."""
        self._cursors.close()

    def _owned(self, table: str, batch: TableBatch) -> Iterator[dict[str, Any]]:
        owner = dict(zip(OWNER, (self._stream.integration, self._stream.account), strict=True))
        for row in batch.rows:
            missing = next((name for name in batch.key if row.get(name) is None), None)
            if missing is not None:
                raise WorkerError(f"a row for {table} has no {missing!r}, which is its key")
            # A column that is None in all rows has no type yet; a row that lacks it has NULL there as well.
            yield {**{name: value for name, value in row.items() if value is not None}, **owner}


def _parsed(credentials: str | None) -> Any:
    """A JSON object as such (a service account's key, say), anything else as it is."""
    if credentials is not None and credentials.lstrip().startswith("{"):
        try:
            return json.loads(credentials)
        except ValueError:
            return credentials
    return credentials
