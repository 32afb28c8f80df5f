"""A PostgreSQL server as a sink: rows and cursor in one transaction, whichever machines write to it.

    _worker_cursor(job, integration, account, value, fence, resets, last_write, updated_at)
    and what deletions need (postgresql_deliveries)

Every write begins by locking the stream's row there; then the fence is compared, and rows and cursor are written. The
row also keeps a token of the last write. When the connection is lost during the commit, nobody has been told what
became of it: the same write is then tried again, and the token says whether there is anything left to do. The lock
makes that answer final: it is granted only once the server has ended the transaction that was interrupted.

Tables grow before the rows come, in transactions of their own (`postgresql_tables`): a write that fails leaves no row,
but it may leave a column without values.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any

from worker.clock import rfc3339
from worker.errors import Busy, FenceLost
from worker.jobs.cursor import from_text, to_text
from worker.jobs.sinks.postgresql_columns import Kind
from worker.jobs.sinks.postgresql_deliveries import Side
from worker.jobs.sinks.postgresql_link import Link, Server, patiently
from worker.jobs.sinks.postgresql_rows import Misfit, survey, write_rows
from worker.jobs.sinks.postgresql_sweeps import Marking, Sweeper
from worker.jobs.sinks.postgresql_tables import execute, grow, lock_schema, place_of, read_table
from worker.jobs.sinks.sideways import DELETED, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.clock import Clock
    from worker.jobs.listing import Sweep, Swept
    from worker.jobs.sinks import Stream, TableBatch
    from worker.jobs.sinks.postgresql_deliveries import Writes
    from worker.jobs.sinks.postgresql_link import Connection

#: How often tables may grow under one write: twice is the most that its own rows ask for, the rest is other writers'.
_GROWTHS = 6
_CURSORS = """
CREATE TABLE IF NOT EXISTS {} (
    job text NOT NULL, integration text NOT NULL, account text NOT NULL,
    value text NOT NULL, fence bigint NOT NULL, resets bigint NOT NULL, last_write text NOT NULL,
    updated_at timestamptz NOT NULL, PRIMARY KEY (job, integration, account)
)
"""
_WHERE = "WHERE job = %s AND integration = %s AND account = %s"


class PostgresqlSink:
    """A schema of a database. Holds no connection of its own, so it may be shared by threads and survive a fork."""

    def __init__(
        self,
        name: str,
        read_url: Callable[[], str],
        clock: Clock,
        *,
        schema: str = "public",
        mark_deleted: bool = False,
    ) -> None:
        #: What the sink is called in messages: `sinks.warehouse`.
        self.name = name
        self.server = Server(name, read_url)
        self.schema = schema
        self.side = Side(schema)
        #: Deleted rows stay, with the time in `_deleted_at`.
        self.mark_deleted = mark_deleted
        self._clock = clock
        self.cursors = f"{quoted(schema)}._worker_cursor"
        self._in_statements = self.cursors.replace("%", "%%")

    def open(self, stream: Stream, fence: int) -> PostgresqlSession:
        """See Sink."""
        link = Link(self.server)
        try:
            return PostgresqlSession(self, link, stream, fence)
        except BaseException:
            link.close()
            raise

    def read_cursor(self, stream: Stream) -> dict[str, Any]:
        """See Sink."""

        def read(connection: Connection) -> dict[str, Any]:
            found = self.row(connection, stream) if self.is_made(connection) else None
            return from_text(found[0], self.name) if found else {}

        found: dict[str, Any] = self._alone(read)
        return found

    def reset(self, stream: Stream) -> None:
        """See Sink."""

        def forget(connection: Connection) -> None:
            if self.is_made(connection):
                self.change(connection, "value = '{}', resets = resets + 1", (), stream)

        self._alone(forget)

    def settle(self, change: str, stream: Stream, table: str, *, approve: bool) -> int | None:
        """See Sweeping."""

        def decide(connection: Connection) -> int | None:
            if not self.side.is_made(connection):
                return None
            self.side.lock(connection, stream, table, alone=True)
            sweeper = Sweeper(connection, self.side, stream, table, self.marking())
            return sweeper.settle(change, approve=approve)

        def mark(connection: Connection) -> None:
            lock_schema(connection, self.schema)
            self.make_room(connection, table)

        try:
            return self._alone(decide)  # type: ignore[no-any-return]
        except Misfit:
            self._alone(mark)
            return self._alone(decide)  # type: ignore[no-any-return]

    def preview(self, stream: Stream, table: str, sweep: Sweep) -> Swept | None:
        """See Sweeping."""

        def look(connection: Connection) -> Swept | None:
            sweeper = Sweeper(connection, self.side, stream, table, self.marking())
            return sweeper.look(sweep, noted=self.side.is_made(connection))

        return self._alone(look)  # type: ignore[no-any-return]

    def marking(self) -> Marking:
        """What becomes of deleted rows."""
        return Marking(self.now() if self.mark_deleted else None)

    def make_room(self, connection: Connection, table: str) -> None:
        """Have a column for the mark in a table that is there. The caller has locked the schema."""
        place = place_of(self.schema, table)
        found = read_table(connection, place)
        if found is not None:
            grow(connection, place, found.key, {DELETED: Kind.TIME})

    def now(self) -> str:
        """The time for `updated_at`."""
        return rfc3339(self._clock.now()) or ""

    def make(self, connection: Connection) -> None:
        """Create what the sink keeps its cursors in, and the schema, unless they are there."""
        if self.is_made(connection) and self.side.is_made(connection):
            return
        lock_schema(connection, self.schema)
        known = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (self.schema,)).fetchone()
        if not known:  # IF NOT EXISTS would ask for the right to create one that is there, too
            execute(connection, f"CREATE SCHEMA {quoted(self.schema)}")
        execute(connection, _CURSORS.format(self.cursors))
        self.side.make(connection)

    def is_made(self, connection: Connection) -> bool:
        """Whether there is a place for cursors."""
        return connection.execute("SELECT to_regclass(%s)", (self.cursors,)).fetchone() != (None,)

    def row(self, connection: Connection, stream: Stream, lock: str = "") -> tuple[str, int, int, str] | None:
        """The stream's value, fence, number of resets and token of the last write."""
        query = f"SELECT value, fence, resets, last_write FROM {self._in_statements} {_WHERE} {lock}"  # noqa: S608
        found: Any = execute(connection, query, _names(stream)).fetchone()
        return found  # type: ignore[no-any-return]

    def change(self, connection: Connection, what: str, values: tuple[Any, ...], stream: Stream) -> None:
        """Set columns of the stream's row."""
        statement = f"UPDATE {self._in_statements} SET {what}, updated_at = %s {_WHERE}"  # noqa: S608 - constants
        execute(connection, statement, (*values, self.now(), *_names(stream)))

    def take(self, connection: Connection, stream: Stream, fence: int) -> tuple[str, int, Writes]:
        """Raise the stream's fence; answers the cursor's text, the number of resets and what others have written.

        Raises FenceLost.
        """
        statement = (
            f"INSERT INTO {self._in_statements} VALUES (%s, %s, %s, '{{}}', %s, 0, '', %s) ON CONFLICT DO NOTHING"  # noqa: S608
        )
        execute(connection, statement, (*_names(stream), fence, self.now()))
        found = self.row(connection, stream, "FOR UPDATE")
        assert found is not None
        value, stored, resets, _ = found
        if stored > fence:
            raise FenceLost(evidence={"stream": str(stream), "fence": fence, "newer": stored})
        self.change(connection, "fence = %s", (fence,), stream)
        return value, resets, self.side.begin(connection, stream)

    def _alone(self, action: Callable[[Connection], Any]) -> Any:
        link = Link(self.server)

        def attempt() -> Any:
            with link.transaction() as connection:
                return action(connection)

        try:
            return patiently(attempt)
        finally:
            link.close()


class PostgresqlSession:
    """One run's connection. See SinkSession."""

    def __init__(self, sink: PostgresqlSink, link: Link, stream: Stream, fence: int) -> None:
        self._sink = sink
        self._link = link
        self._stream = stream
        self._fence = fence
        self._lock = threading.Lock()
        value, self._resets, self._writes = patiently(self._begin)
        self._cursor = from_text(value, sink.name)

    @property
    def cursor(self) -> dict[str, Any]:
        """See SinkSession."""
        return dict(self._cursor)

    def write(self, batches: Mapping[str, TableBatch], cursor: Mapping[str, Any] | None) -> int:
        """See SinkSession."""
        checkpoint = _Checkpoint(batches, None if cursor is None else to_text(cursor))
        with self._lock:
            return patiently(lambda: self._fitting(checkpoint))

    def close(self) -> None:
        """See SinkSession."""
        with self._lock:
            self._link.close()

    def _begin(self) -> tuple[str, int, Writes]:
        with self._link.transaction() as connection:
            self._sink.make(connection)
        with self._link.transaction() as connection:
            return self._sink.take(connection, self._stream, self._fence)

    def _fitting(self, checkpoint: _Checkpoint) -> int:
        for _ in range(_GROWTHS):
            try:
                return self._once(checkpoint)
            except Misfit:
                self._grow(checkpoint.batches)
        raise Busy(f"{self._sink.name}: the tables are changed by others all the time")

    def _once(self, checkpoint: _Checkpoint) -> int:
        with self._link.transaction() as connection:
            found = self._sink.row(connection, self._stream, "FOR UPDATE")
            if found is None or found[1:3] != (self._fence, self._resets):
                raise FenceLost(evidence={"stream": str(self._stream), "fence": self._fence})
            if found[3] == checkpoint.token:  # committed when the connection was lost
                return checkpoint.rows
            for table, batch in sorted(checkpoint.batches.items()):
                if batch.key or batch.sweep is not None:
                    self._sink.side.lock(connection, self._stream, table, alone=batch.sweep is not None)
            checkpoint.rows = sum(
                write_rows(connection, self._sink.side, self._stream, table, batch)
                for table, batch in checkpoint.batches.items()
            )
            for table, batch in checkpoint.batches.items():
                if batch.sweep is not None:
                    sweeper = Sweeper(connection, self._sink.side, self._stream, table, self._sink.marking())
                    batch.sweep.outcome = sweeper.sweep(batch.sweep, self._writes)
            value = found[0] if checkpoint.cursor is None else checkpoint.cursor
            self._sink.change(connection, "value = %s, last_write = %s", (value, checkpoint.token), self._stream)
        return checkpoint.rows

    def _grow(self, batches: Mapping[str, TableBatch]) -> None:
        places = {table: place_of(self._sink.schema, table) for table in batches}
        with self._link.transaction() as connection:
            tables = {table: read_table(connection, place) for table, place in places.items()}
        # Every row is looked at before anything changes: a row that is refused leaves the tables as they were.
        needed = {table: survey(batch, table, tables[table]) for table, batch in batches.items()}
        for table, kinds in needed.items():
            with self._link.transaction() as connection:
                lock_schema(connection, self._sink.schema)
                if kinds:
                    grow(connection, places[table], batches[table].key, kinds)
                if batches[table].sweep is not None and self._sink.mark_deleted:
                    self._sink.make_room(connection, table)


class _Checkpoint:
    """One write, however often it is tried."""

    def __init__(self, batches: Mapping[str, TableBatch], cursor: str | None) -> None:
        self.batches = batches
        self.cursor = cursor
        self.token = secrets.token_hex(8)
        #: As the last attempt counted them.
        self.rows = 0


def _names(stream: Stream) -> tuple[str, str, str]:
    return stream.job, stream.integration, stream.account
