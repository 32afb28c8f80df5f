"""The embedded sink: rows and cursor in one file, in one transaction.

Every write begins with BEGIN IMMEDIATE, so that it waits for its turn instead of failing half way; within it the fence
is compared, tables grow, rows and cursor are written. The file is made with mode 0600 before SQLite opens it, and
commits use synchronous=EXTRA: with the rollback journal anything less may take an acknowledged commit back when the
power fails (sqlite.org/pragma.html#pragma_synchronous). A file that somebody has put into WAL mode is left in it.

SQLite's own waiting sleeps ever longer, up to 100 ms, so that a process that commits in a loop can keep another out for
minutes. Threads of one sink therefore queue for a lock, and whoever's turn it is looks again every few milliseconds.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

from worker.clock import rfc3339
from worker.errors import Busy, FenceLost, Misconfigured, TryAgainLater, WorkerError
from worker.jobs.cursor import from_text, to_text
from worker.jobs.sinks.columns import Kind, restored
from worker.jobs.sinks.durable import make_file, named_faults
from worker.jobs.sinks.sqlite_deliveries import begin
from worker.jobs.sinks.sqlite_rows import write_rows
from worker.jobs.sinks.sqlite_sweeps import Marking, Sweeper, settle
from worker.jobs.sinks.sqlite_tables import RESTORED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from worker.clock import Clock
    from worker.jobs.listing import Sweep, Swept
    from worker.jobs.sinks import Stream, TableBatch

#: Seconds to wait for another writer: a checkpoint of a million rows takes about ten.
BUSY_TIMEOUT = 60.0
#: Seconds between two looks: about as long as a small commit takes, and no more than ten times that.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.01
_CURSORS = """
CREATE TABLE IF NOT EXISTS _worker_cursor (
    job TEXT NOT NULL, integration TEXT NOT NULL, account TEXT NOT NULL,
    value TEXT NOT NULL, fence INTEGER NOT NULL, resets INTEGER NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (job, integration, account)
) WITHOUT ROWID
"""
_WHERE = "WHERE job = ? AND integration = ? AND account = ?"


class SqliteSink:
    """A SQLite file. Holds no connection of its own, so it may be shared by threads and survive a fork."""

    def __init__(
        self, path: Path, clock: Clock, *, busy_timeout: float = BUSY_TIMEOUT, mark_deleted: bool = False
    ) -> None:
        #: Absolute path of the database.
        self.path = path
        #: Deleted rows stay, with the time in `_deleted_at`.
        self.mark_deleted = mark_deleted
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._turn = threading.Lock()

    def open(self, stream: Stream, fence: int) -> SqliteSession:
        """See Sink."""
        with named_faults(self.path):
            make_file(self.path)
        connection = self._connect()
        try:
            return SqliteSession(self, connection, stream, fence)
        except BaseException:
            connection.close()
            raise

    def read_cursor(self, stream: Stream) -> dict[str, Any]:
        """See Sink."""
        if not self.path.exists():
            return {}
        with contextlib.closing(self._connect()) as connection, explained(self.path):
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = '_worker_cursor'").fetchone():
                return {}
            found = connection.execute(f"SELECT value FROM _worker_cursor {_WHERE}", _names(stream)).fetchone()  # noqa: S608
        return from_text(found[0], str(self.path)) if found else {}

    def reset(self, stream: Stream) -> None:
        """See Sink."""
        if not self.path.exists():
            return
        with contextlib.closing(self._connect()) as connection, self.transaction(connection):
            connection.execute(_CURSORS)
            statement = f"UPDATE _worker_cursor SET value = '{{}}', resets = resets + 1, updated_at = ? {_WHERE}"  # noqa: S608
            connection.execute(statement, (self.now(), *_names(stream)))

    def settle(self, change: str, stream: Stream, table: str, *, approve: bool) -> int | None:
        """See Sweeping."""
        if not self.path.exists():
            return None
        with contextlib.closing(self._connect()) as connection, self.transaction(connection):
            return settle(connection, change, stream, table, self.marking() if approve else None)

    def preview(self, stream: Stream, table: str, sweep: Sweep) -> Swept | None:
        """See Sweeping."""
        if not self.path.exists():
            return None
        with contextlib.closing(self._connect()) as connection, explained(self.path):
            return Sweeper(connection, stream, table, self.marking()).look(sweep)

    def marking(self) -> Marking:
        """What becomes of deleted rows."""
        return Marking(self.now() if self.mark_deleted else None)

    def now(self) -> str:
        """The time for `updated_at`."""
        return rfc3339(self._clock.now()) or ""

    @contextlib.contextmanager
    def transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """All or nothing, and alone: BEGIN IMMEDIATE to COMMIT. Raises Busy when the turn does not come."""
        if not self._turn.acquire(timeout=self._busy_timeout):
            raise Busy(f"{self.path} is held by another run")
        try:
            with explained(self.path):
                self._begin(connection)
                try:
                    yield
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        finally:
            self._turn.release()

    def _begin(self, connection: sqlite3.Connection) -> None:
        until = time.monotonic() + self._busy_timeout
        connection.execute("PRAGMA busy_timeout = 0")
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(random.uniform(_SHORTEST_PAUSE, _LONGEST_PAUSE))  # noqa: S311 - to fall out of step
            else:
                break
        # Within the transaction SQLite's own waiting serves: only readers can hold a COMMIT up.
        connection.execute(f"PRAGMA busy_timeout = {int(self._busy_timeout * 1000)}")

    def _connect(self) -> sqlite3.Connection:
        with explained(self.path):
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=self._busy_timeout,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA synchronous = EXTRA")
            # Without this, renaming a copied table into place fails on a view that somebody has made of it.
            connection.execute("PRAGMA legacy_alter_table = ON")
            connection.create_function(RESTORED, 3, _restored, deterministic=True)
            return connection


class SqliteSession:
    """One run's connection. See SinkSession."""

    def __init__(self, sink: SqliteSink, connection: sqlite3.Connection, stream: Stream, fence: int) -> None:
        self._sink = sink
        self._connection = connection
        self._stream = stream
        self._fence = fence
        self._lock = threading.Lock()
        with sink.transaction(connection):
            connection.execute(_CURSORS)
            self._writes = begin(connection, stream)
            found = self._row()
            value, stored, self._resets = found or ("{}", fence, 0)
            if stored > fence:
                raise FenceLost(evidence={"stream": str(stream), "fence": fence, "newer": stored})
            connection.execute(
                "INSERT INTO _worker_cursor VALUES (?, ?, ?, ?, ?, 0, ?) "
                "ON CONFLICT DO UPDATE SET fence = excluded.fence, updated_at = excluded.updated_at",
                (*_names(stream), value, fence, sink.now()),
            )
        self._cursor = from_text(value, str(sink.path))

    @property
    def cursor(self) -> dict[str, Any]:
        """See SinkSession."""
        return dict(self._cursor)

    def write(self, batches: Mapping[str, TableBatch], cursor: Mapping[str, Any] | None) -> int:
        """See SinkSession."""
        with self._lock, self._sink.transaction(self._connection):
            found = self._row()
            if found is None or found[1:] != (self._fence, self._resets):
                raise FenceLost(evidence={"stream": str(self._stream), "fence": self._fence})
            rows = sum(write_rows(self._connection, self._stream, table, batch) for table, batch in batches.items())
            for table, batch in batches.items():
                if batch.sweep is not None:
                    sweeper = Sweeper(self._connection, self._stream, table, self._sink.marking())
                    batch.sweep.outcome = sweeper.sweep(batch.sweep, self._writes)
            if cursor is not None:
                self._connection.execute(
                    f"UPDATE _worker_cursor SET value = ?, updated_at = ? {_WHERE}",  # noqa: S608 - a constant
                    (to_text(cursor), self._sink.now(), *_names(self._stream)),
                )
        return rows

    def close(self) -> None:
        """See SinkSession."""
        with self._lock:
            self._connection.close()

    def _row(self) -> tuple[str, int, int] | None:
        query = f"SELECT value, fence, resets FROM _worker_cursor {_WHERE}"  # noqa: S608 - a constant
        found: tuple[str, int, int] | None = self._connection.execute(query, _names(self._stream)).fetchone()
        return found


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors within into ours, which name the file and say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explanation(error, path) from error


def _explanation(error: sqlite3.Error, path: Path) -> WorkerError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary result code, sqlite.org/rescode.html
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Busy(
            f"{path} is held by another process", hint="end long-running readers, or put the file into WAL mode"
        )
    if code == sqlite3.SQLITE_FULL:
        return TryAgainLater(f"{path}: no space left", hint="make room; the next run goes on by itself")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return Misconfigured(
            f"{path}: {error}", hint="give the user that runs the worker write permission to its folder"
        )
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return Misconfigured(f"{path} is damaged or no SQLite database: {error}", hint="restore it from a backup")
    return WorkerError(f"{path}: {error}")


def _names(stream: Stream) -> tuple[str, str, str]:
    return stream.job, stream.integration, stream.account


def _restored(value: Any, before: str, after: str) -> Any:
    return restored(value, Kind(before), Kind(after))
