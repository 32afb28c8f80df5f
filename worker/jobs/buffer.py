"""Keeps rows until the checkpoint that covers them, so that nothing is visible which a crash would deliver twice.

Rows must never be written ahead of their cursor: rows without a key would be there twice after a restart, and a job
that raises would leave behind what it is promised not to. So a long stretch without a checkpoint is not written early;
it goes to a temporary file without a name (it ends with the process), and memory stays flat however many rows there
are. One run's worth of them on the disk is the limit.
"""

from __future__ import annotations

import marshal
import pickle
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from worker.errors import RunEnded, WorkerError
from worker.jobs.cursor import merge
from worker.jobs.sinks import TableBatch
from worker.jobs.sinks.durable import named_faults
from worker.jobs.sinks.values import plain_row, weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from worker.jobs.sinks import SinkSession

#: Rows of one table kept as objects, and bytes of text in them, before they are packed.
PACK_ROWS, PACK_BYTES = 1000, 2**20
#: Packed bytes of one table kept in memory before they go to the disk.
SPOOL_BYTES = 8 * 2**20
#: Bytes of the length before each pack.
_LENGTH = 8
#: How a pack was made: its first byte.
_MARSHAL, _PICKLE = b"m", b"p"


class LimitReached(RunEnded):
    """The run was to stop after so many rows."""


class Allowance:
    """How many rows a run may emit, all its streams together."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._taken = 0

    def take(self) -> None:
        """Leave to emit one row. Raises LimitReached when there is none left."""
        if self._limit is None:
            return
        with self._lock:
            if self._taken >= self._limit:
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
        allowance: Allowance | None = None,
    ) -> None:
        self._session = session
        self._folder = folder
        self._allowance = allowance or Allowance(limit)
        self._lock = threading.RLock()
        self._cursor = session.cursor
        self._pending: dict[str, _Rows] = {}
        #: Rows handed over by the job so far.
        self.emitted = 0
        #: Rows committed so far, as the sink counts them.
        self.committed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

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
        with self._lock:
            pending = self._pending.get(table)
            if pending is None:
                pending = self._pending[table] = _Rows(names, self._folder)
            if pending.key != names:
                raise WorkerError(f"rows for {table} were emitted with the key {names}, and before with {pending.key}")
            for row in single:
                self._allowance.take()
                pending.add(plain_row(row, table))
                self.emitted += 1

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
            for rows in self._pending.values():
                rows.close()
            self._pending.clear()

    def _write(self, cursor: Mapping[str, Any] | None) -> int:
        batches = {table: TableBatch(rows, rows.key) for table, rows in self._pending.items() if rows.count}
        if not batches and cursor is None:
            return 0
        count = self._session.write(batches, cursor)
        self.committed += count
        self.discard()
        return count


class _Rows:
    """The pending rows of one table, in order; may be read again and again."""

    def __init__(self, key: tuple[str, ...], folder: Path | None) -> None:
        self.key = key
        self.count = 0
        self._folder = folder
        self._loose: list[dict[str, Any]] = []
        self._loose_bytes = 0
        self._packed: IO[bytes] | None = None

    def add(self, row: dict[str, Any]) -> None:
        self._loose.append(row)
        self.count += 1
        self._loose_bytes += weight(row)
        if len(self._loose) >= PACK_ROWS or self._loose_bytes >= PACK_BYTES:
            self._pack()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._packed is not None:
            self._packed.seek(0)
            while length := self._packed.read(_LENGTH):
                yield from _unpacked(self._packed.read(int.from_bytes(length)))
        yield from self._loose

    def close(self) -> None:
        if self._packed is not None:
            self._packed.close()

    def _pack(self) -> None:
        folder = str(self._folder or tempfile.gettempdir())
        with named_faults(Path(folder)):
            if self._packed is None:
                self._packed = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES, dir=folder)  # noqa: SIM115
            self._packed.seek(0, 2)
            packed = _packed(self._loose)
            self._packed.write(len(packed).to_bytes(_LENGTH))
            self._packed.write(packed)
        self._loose, self._loose_bytes = [], 0


def _packed(rows: list[dict[str, Any]]) -> bytes:
    """The rows as bytes: by marshal, six times as quick, and by pickle where it does not know a type (Decimal)."""
    try:
        return _MARSHAL + marshal.dumps(rows)
    except ValueError:
        return _PICKLE + pickle.dumps(rows, pickle.HIGHEST_PROTOCOL)


def _unpacked(packed: bytes) -> list[dict[str, Any]]:
    load = marshal.loads if packed.startswith(_MARSHAL) else pickle.loads
    rows: list[dict[str, Any]] = load(memoryview(packed)[1:])
    return rows
