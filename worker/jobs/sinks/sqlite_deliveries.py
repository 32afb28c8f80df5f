"""Who delivers rows to which table, and what was delivered behind a listing's back.

    _worker_writer(tbl, integration, account, job, writes, lists)   one row for each stream and keyed table
    _worker_touched(tbl, integration, account, job, key)            delivered by others since that job's run began
    _worker_change(id, …)  _worker_held(change, key)                deletions that wait for an approval

A listing tells what was there when it was read. A row that another job delivers meanwhile may be younger than that, so
it is no deletion, whatever the listing says. Two jobs seldom write one table for one account: only then are keys noted
here, and only for jobs that make listings. Whatever is delivered is taken off the held deletions, too: it came back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.jobs.sinks.columns import stored
from worker.jobs.sinks.sideways import fold

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from worker.jobs.sinks import Stream
    from worker.jobs.sinks.sqlite_tables import TableShape

TOUCHED = """CREATE TABLE IF NOT EXISTS _worker_touched (
    tbl TEXT NOT NULL, integration TEXT NOT NULL, account TEXT NOT NULL, job TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (integration, account, tbl, job, key)
) WITHOUT ROWID"""
TABLES = (
    TOUCHED,
    """CREATE TABLE IF NOT EXISTS _worker_writer (
    tbl TEXT NOT NULL, integration TEXT NOT NULL, account TEXT NOT NULL, job TEXT NOT NULL,
    writes INTEGER NOT NULL, lists INTEGER NOT NULL, PRIMARY KEY (integration, account, tbl, job)
) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS _worker_change (
    id TEXT NOT NULL PRIMARY KEY, tbl TEXT NOT NULL, integration TEXT NOT NULL, account TEXT NOT NULL,
    job TEXT NOT NULL, applied INTEGER
) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS _worker_held (
    change TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (change, key)
) WITHOUT ROWID""",
)
PLACE = "integration = ? AND account = ? AND tbl = ?"
#: How often each other job has written to each table, when a run began.
Writes = dict[tuple[str, str], int]


def begin(connection: sqlite3.Connection, stream: Stream) -> Writes:
    """A run begins: what others delivered before is of no concern to its listings."""
    for statement in TABLES:
        connection.execute(statement)
    owner = (stream.integration, stream.account, stream.job)
    connection.execute("DELETE FROM _worker_touched WHERE integration = ? AND account = ? AND job = ?", owner)
    found = connection.execute(
        "SELECT tbl, job, writes FROM _worker_writer WHERE integration = ? AND account = ? AND job <> ?", owner
    )
    return {(table, job): writes for table, job, writes in found}


class Deliveries:
    """One write of keyed rows to one table, and who has to know of it."""

    def __init__(self, connection: sqlite3.Connection, stream: Stream, table: str) -> None:
        self._connection = connection
        self._place = (stream.integration, stream.account, fold(table))
        connection.execute(
            "INSERT INTO _worker_writer (integration, account, tbl, job, writes, lists) VALUES (?, ?, ?, ?, 1, 0) "
            "ON CONFLICT DO UPDATE SET writes = writes + 1",
            (*self._place, stream.job),
        )
        query = f"SELECT job FROM _worker_writer WHERE {PLACE} AND job <> ? AND lists"  # noqa: S608 - a constant
        self._listers = [job for (job,) in connection.execute(query, (*self._place, stream.job))]
        held = f"SELECT id FROM _worker_change WHERE {PLACE} AND applied IS NULL"  # noqa: S608 - a constant
        self._changes = [change for (change,) in connection.execute(held, self._place)]

    def tell(self, shape: TableShape, columns: Mapping[str, list[Any]]) -> None:
        """These rows were delivered; columns by their folded names."""
        if not self._listers and not self._changes:
            return
        values = [[stored(value, shape.columns[name].kind) for value in columns[name]] for name in shape.key]
        keys = list(zip(*values, strict=True))
        source = f"(SELECT {', '.join(f'? AS k{number}' for number in range(len(shape.key)))})"
        text = key_text([f"k{number}" for number in range(len(shape.key))])
        for job in self._listers:
            self._connection.executemany(
                "INSERT OR IGNORE INTO _worker_touched (integration, account, tbl, job, key) "  # noqa: S608 - marks
                f"SELECT ?, ?, ?, ?, {text} FROM {source}",
                ((*self._place, job, *key) for key in keys),
            )
        for change in self._changes:
            self._connection.executemany(
                f"DELETE FROM _worker_held WHERE change = ? AND key = (SELECT {text} FROM {source})",  # noqa: S608
                ((change, *key) for key in keys),
            )


def key_text(columns: Sequence[str]) -> str:
    """The SQL expression for a row's key as one text, the same before and after a column was widened."""
    parts = (f"CASE typeof({name}) WHEN 'blob' THEN hex({name}) ELSE CAST({name} AS TEXT) END" for name in columns)
    return f"json_array({', '.join(parts)})"
