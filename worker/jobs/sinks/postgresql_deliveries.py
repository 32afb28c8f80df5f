"""Who delivers rows to which table on a server, and what was delivered behind a listing's back: the tables and rules of
`sqlite_deliveries`, where the idea stands.

A delivery and a listing of the same table and account must not cross: the listing would not see what is not committed
yet, and its deletion would wait for the row's lock and then take the newer row. So whoever writes keyed rows shares an
advisory lock of that table and account until its transaction ends, and a listing has it alone.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from psycopg import sql

from worker.jobs.sinks.postgresql_columns import Kind, cast
from worker.jobs.sinks.postgresql_tables import execute, identifier
from worker.jobs.sinks.sideways import fold, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import Connection

    from worker.jobs.sinks import Stream
    from worker.jobs.sinks.postgresql_tables import Table

_TABLES = {
    "_worker_writer": """(
    integration text NOT NULL, account text NOT NULL, tbl text NOT NULL, job text NOT NULL,
    writes bigint NOT NULL, lists boolean NOT NULL, PRIMARY KEY (integration, account, tbl, job))""",
    "_worker_touched": """(
    integration text NOT NULL, account text NOT NULL, tbl text NOT NULL, job text NOT NULL, key text[] NOT NULL,
    PRIMARY KEY (integration, account, tbl, job, key))""",
    "_worker_change": """(
    id text NOT NULL PRIMARY KEY, integration text NOT NULL, account text NOT NULL, tbl text NOT NULL,
    job text NOT NULL, applied bigint)""",
    "_worker_held": "(change text NOT NULL, key text[] NOT NULL, PRIMARY KEY (change, key))",
}
PLACE = "integration = %s AND account = %s AND tbl = %s"
#: How often each other job has written to each table, when a run began.
Writes = dict[tuple[str, str], int]


class Side:
    """The tables beside the cursors, in one schema."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.writer, self.touched, self.change, self.held = (self._named(name) for name in _TABLES)

    def is_made(self, connection: Connection[Any]) -> bool:
        """Whether they are there: the last one is made last."""
        return connection.execute("SELECT to_regclass(%s)", (self._named("_worker_held"),)).fetchone() != (None,)

    def make(self, connection: Connection[Any]) -> None:
        """Create them. The caller has locked the schema."""
        for name, columns in _TABLES.items():
            execute(connection, f"CREATE TABLE IF NOT EXISTS {self._named(name)} {columns}")

    def begin(self, connection: Connection[Any], stream: Stream) -> Writes:
        """A run begins: what others delivered before is of no concern to its listings."""
        owner = (stream.integration, stream.account, stream.job)
        mine = "WHERE integration = %s AND account = %s AND job"
        execute(connection, f"DELETE FROM {percent(self.touched)} {mine} = %s", owner)  # noqa: S608 - quoted
        query = f"SELECT tbl, job, writes FROM {percent(self.writer)} {mine} <> %s"  # noqa: S608 - quoted
        return {(table, job): writes for table, job, writes in execute(connection, query, owner)}

    def lock(self, connection: Connection[Any], stream: Stream, table: str, *, alone: bool) -> None:
        """Share the table of this account with other writers, or have it alone, until the transaction ends."""
        name = f"headless-worker rows {self.schema}\0{folded(table)}\0{stream.integration}\0{stream.account}"
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        execute(connection, f"SELECT pg_advisory_xact_lock{'' if alone else '_shared'}(%s)", (number,))

    def _named(self, name: str) -> str:
        return f"{quoted(self.schema)}.{name}"


class Deliveries:
    """One write of keyed rows to one table, and who has to know of it."""

    def __init__(self, connection: Connection[Any], side: Side, stream: Stream, table: str) -> None:
        self._connection = connection
        self._side = side
        self._place = place = (stream.integration, stream.account, folded(table))
        execute(
            connection,
            f"INSERT INTO {percent(side.writer)} AS w VALUES (%s, %s, %s, %s, 1, false) "  # noqa: S608 - quoted
            "ON CONFLICT (integration, account, tbl, job) DO UPDATE SET writes = w.writes + 1",
            (*place, stream.job),
        )
        listers = f"SELECT job FROM {percent(side.writer)} WHERE {PLACE} AND job <> %s AND lists"  # noqa: S608
        self._listers = [job for (job,) in execute(connection, listers, (*place, stream.job))]
        held = f"SELECT id FROM {percent(side.change)} WHERE {PLACE} AND applied IS NULL"  # noqa: S608
        self._changes = [change for (change,) in execute(connection, held, place)]

    def tell(self, table: Table, columns: Mapping[str, Sequence[Any]]) -> None:
        """These rows were delivered; columns by their folded names, as they are sent."""
        if not self._listers and not self._changes:
            return
        names = [f"k{number}" for number in range(len(table.key))]
        kinds = [table.columns[folded].kind or Kind.TEXT for folded in table.key]
        arrays = ", ".join(f"%s::{kind.value}[]" for kind in kinds)
        text = percent(key_text(names, kinds))
        keys = f"SELECT DISTINCT {text} AS key FROM unnest({arrays}) AS r ({', '.join(names)})"  # noqa: S608
        values = tuple(list(columns[folded]) for folded in table.key)
        for job in self._listers:
            into = f"INSERT INTO {percent(self._side.touched)} (integration, account, tbl, job, key)"
            statement = f"{into} SELECT %s, %s, %s, %s, key FROM ({keys}) AS k ON CONFLICT DO NOTHING"  # noqa: S608
            execute(self._connection, statement, (*self._place, job, *values))
        for change in self._changes:
            statement = f"DELETE FROM {percent(self._side.held)} WHERE change = %s AND key IN ({keys})"  # noqa: S608
            execute(self._connection, statement, (change, *values))


def key_text(columns: Sequence[str], kinds: Sequence[Kind]) -> str:
    """The SQL expression for a row's key as texts, the same before and after a column was widened."""
    parts = (
        f"trim_scale({name})::text" if kind is Kind.NUMERIC else cast(name, kind, Kind.TEXT)
        for name, kind in zip(columns, kinds, strict=True)
    )
    return f"ARRAY[{', '.join(parts)}]"


def folded(table: str) -> str:
    """A table's name as names are compared."""
    return fold(identifier(table))


def literal(connection: Connection[Any], value: str) -> str:
    """A value within a statement that is made of names."""
    return sql.Literal(value).as_string(connection)


def percent(text: str) -> str:
    """Names for a statement with parameters."""
    return text.replace("%", "%%")
