"""Several streams in one run: each has rows and a place of its own, and its checkpoints move nothing but these.

In the sink they are one cursor, as the run is one: a stream's place stands in it under `@` and the stream's name, which
no keyword of `ctx.checkpoint` can be.

    {"changed": "2026-02-01T00:00:00Z", "@lines": {"id": 7}}

So all streams of a run share its fence and its one transaction at a time, whatever the sink is, and `--since` and
`jobs reset` reach them all.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

from worker.errors import WorkerError
from worker.jobs.buffer import Buffer, RunTally
from worker.jobs.sinks.sideways import fold

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from worker.jobs.sinks import SinkSession, TableBatch

#: Before a stream's name in the cursor.
MARK = "@"


class Streams:
    """The buffers of one run: the job's own, and one for each stream that it opens. Safe to use from threads.

    A context manager: leaving it forgets whatever has not been committed.
    """

    def __init__(self, session: SinkSession, *, folder: Path | None = None, tally: RunTally | None = None) -> None:
        #: Whether an earlier run has left a place to go on from.
        self.resumed = bool(session.cursor)
        self._cursor = _WholeCursor(session)
        self._folder = folder
        #: What was seen of the run's tables.
        self.tally = tally or RunTally()
        self._lock = threading.Lock()
        self._buffers: dict[str, Buffer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for buffer in self._buffers.values():
            buffer.close()

    @property
    def emitted(self) -> int:
        """Rows handed over by the job so far."""
        return sum(buffer.emitted for buffer in list(self._buffers.values()))

    @property
    def committed(self) -> int:
        """Rows committed so far, as the sink counts them."""
        return sum(buffer.committed for buffer in list(self._buffers.values()))

    def buffer(self, name: object = "") -> Buffer:
        """The buffer of one stream; of the job itself without a name. Raises WorkerError for what is no name."""
        if not isinstance(name, str) or name.startswith(MARK):
            raise WorkerError(f"ctx.stream: {name!r} is no name for a stream; write a text that does not begin with @")
        with self._lock:
            if name not in self._buffers:
                session = _StreamSession(self._cursor, f"{MARK}{name}" if name else "")
                self._buffers[name] = Buffer(session, folder=self._folder, run=self.tally)
            return self._buffers[name]

    def complete(self, table: str, stream: Buffer) -> None:
        """All rows of a table were seen in this stream.

        Raises WorkerError when another one has seen some of them, or when they went by another spelling of its name.
        """
        for name, buffer in list(self._buffers.items()):
            if other := next((met for met in buffer.tables if met != table and fold(met) == fold(table)), None):
                raise WorkerError(f"{table} is what this run called {other} before: some sinks take both for one table")
            if buffer is not stream and table in buffer.tables:
                where = f'ctx.stream("{name}")' if name else "ctx"
                raise WorkerError(
                    f"rows of {table} were emitted by {where}: what is complete has to be said there, too"
                )
        stream.complete(table)

    def finish(self) -> None:
        """At the successful end of a run: commit what is pending, with the cursors as they stand."""
        for buffer in self._buffers.values():
            buffer.finish()


class _WholeCursor:
    """The cursor as the sink keeps it, and the one way to write it."""

    def __init__(self, session: SinkSession) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._value = session.cursor

    def part(self, key: str) -> dict[str, Any]:
        """A stream's part; with an empty key the job's own."""
        with self._lock:
            if key:
                return _as_cursor(self._value.get(key), key)
            return {name: value for name, value in self._value.items() if not name.startswith(MARK)}

    def write(self, batches: Mapping[str, TableBatch], key: str, part: Mapping[str, Any] | None) -> int:
        """Write rows and, unless it is None, a part of the cursor; the other parts stay."""
        with self._lock:
            if part is None:
                return self._session.write(batches, None)
            if key:
                whole = {**self._value, key: dict(part)}
            else:
                whole = {**part, **{name: value for name, value in self._value.items() if name.startswith(MARK)}}
            count = self._session.write(batches, whole)
            self._value = whole
            return count


def _as_cursor(value: object, key: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WorkerError(
            f"the cursor's {key} is {value!r} and no object", hint=f'--since \'{{"{key}": {{"name": "value"}}}}\''
        )
    return dict(value)


class _StreamSession:
    """One stream's way into the sink. See SinkSession."""

    def __init__(self, whole: _WholeCursor, key: str) -> None:
        self._whole = whole
        self._key = key

    @property
    def cursor(self) -> dict[str, Any]:
        return self._whole.part(self._key)

    def write(self, batches: Mapping[str, TableBatch], cursor: Mapping[str, Any] | None) -> int:
        return self._whole.write(batches, self._key, cursor)

    def close(self) -> None:
        """The run's own session is closed by whoever opened it."""
