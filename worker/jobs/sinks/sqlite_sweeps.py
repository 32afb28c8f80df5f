"""Deletions by difference: the account's rows that a full listing does not name.

The keys of the listing go into a temporary table with the types of the table's own key, so that the difference is one
anti-join along the primary key. All of it happens in the transaction that writes the listing's rows and the cursor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.jobs.brake import Gone
from worker.jobs.listing import FIRST, SAMPLE, Swept
from worker.jobs.sinks.columns import Kind, kind_of, stored
from worker.jobs.sinks.keys import KeyFitter, check_names
from worker.jobs.sinks.sideways import DELETED, OWNER, fold, quoted
from worker.jobs.sinks.sqlite_deliveries import PLACE, TOUCHED, key_text
from worker.jobs.sinks.sqlite_tables import TableShape, fit, read_table

if TYPE_CHECKING:
    import sqlite3

    from worker.jobs.listing import Sweep
    from worker.jobs.sinks import Stream
    from worker.jobs.sinks.sqlite_deliveries import Writes

_SEEN, _GONE = "temp._worker_seen", "temp._worker_gone"
_OWNED = f"t.{OWNER[0]} = ? AND t.{OWNER[1]} = ?"


@dataclass(frozen=True)
class Marking:
    """What becomes of deleted rows."""

    #: The time that marks them; None: they are taken away.
    moment: str | None = None


class Sweeper:
    """One listing of one table, for one account."""

    def __init__(self, connection: sqlite3.Connection, stream: Stream, table: str, marking: Marking) -> None:
        self._connection = connection
        self._stream = stream
        self._table = table
        self._marking = marking
        self._owner = (stream.integration, stream.account)
        self._place = (*self._owner, fold(table))

    def look(self, sweep: Sweep) -> Swept | None:
        """What the listing says; only temporary tables are written."""
        shape = self._shape(sweep)
        if not self._connection.execute("SELECT 1 FROM sqlite_schema WHERE name = '_worker_touched'").fetchone():
            self._connection.execute(TOUCHED.replace("TABLE", "TEMPORARY TABLE", 1))  # no run was there yet
        return None if shape is None else self._compare(sweep, shape)

    def sweep(self, sweep: Sweep, writes: Writes) -> Swept:
        """Do what the listing says, or hold it. `writes`: how often others had written when the run began."""
        shape = self._shape(sweep)
        if shape is None:
            return Swept(self._table, Gone(0, 0, 0))
        unusable = self._unusable(writes)
        if unusable:
            return Swept(self._table, Gone(0, 0, 0), unusable=unusable)
        swept = self._compare(sweep, shape)
        self._supersede()
        if swept.objection:
            self._hold(sweep.change, shape)
        elif swept.gone.rows:
            _take_away(self._connection, shape, self._owner, self._marking, f"({_keys(shape)}) IN {_GONE}", ())
        if self._marking.moment is not None:
            self._restore(shape)
        for name in (_SEEN, _GONE):
            self._connection.execute(f"DROP TABLE {name}")
        return swept

    def _shape(self, sweep: Sweep) -> TableShape | None:
        shape = read_table(self._connection, self._table)
        if shape is None:
            return None
        check_names(tuple(fold(name) for name in sweep.key), shape.key, self._table)
        return shape

    def _unusable(self, writes: Writes) -> str:
        """Why a first listing is not believed; from now on, whatever others deliver is noted for this job."""
        folded = fold(self._table)
        query = f"SELECT job, writes, lists FROM _worker_writer WHERE {PLACE}"  # noqa: S608 - a constant
        found = {job: (count, lists) for job, count, lists in self._connection.execute(query, self._place)}
        _, lists = found.pop(self._stream.job, (0, False))
        if lists:
            return ""
        self._connection.execute(
            "INSERT INTO _worker_writer (integration, account, tbl, job, writes, lists) VALUES (?, ?, ?, ?, 0, 1) "
            "ON CONFLICT DO UPDATE SET lists = 1",
            (*self._place, self._stream.job),
        )
        meanwhile = any(count != writes.get((folded, job), 0) for job, (count, _) in found.items())
        return FIRST if meanwhile else ""

    def _compare(self, sweep: Sweep, shape: TableShape) -> Swept:
        """Fill the temporary tables: what was seen, and what is gone."""
        seen = self._fill(sweep, shape)
        alive = _alive(shape)
        names = [quoted(shape.columns[folded].name) for folded in shape.key]
        same = " AND ".join(f"s.k{number} = t.{name}" for number, name in enumerate(names))
        text = key_text([f"t.{name}" for name in names])
        kept = f"SELECT 1 FROM {_SEEN} s WHERE {same}"  # noqa: S608 - names are quoted
        touched = f"SELECT 1 FROM _worker_touched o WHERE {PLACE} AND job = ? AND o.key = {text}"  # noqa: S608
        gone = self._connection.execute(
            f"INSERT INTO {_GONE} SELECT {_keys(shape)} FROM {quoted(shape.name)} t WHERE {_OWNED} AND {alive} "  # noqa: S608
            f"AND NOT EXISTS ({kept}) AND NOT EXISTS ({touched})",
            (*self._owner, *self._place, self._stream.job),
        ).rowcount
        count = f"SELECT count(*) FROM {quoted(shape.name)} t WHERE {_OWNED} AND {alive}"  # noqa: S608
        ((present,),) = self._connection.execute(count, self._owner)
        numbers = Gone(gone, present, seen)
        change = sweep.change if (objection := sweep.brake.objection(self._table, numbers)) else ""
        return Swept(self._table, numbers, self._sample(), objection, change)

    def _fill(self, sweep: Sweep, shape: TableShape) -> int:
        columns = [f"k{number} {shape.columns[folded].kind.value}" for number, folded in enumerate(shape.key)]
        key = ", ".join(f"k{number}" for number in range(len(columns)))
        for name in (_SEEN, _GONE):
            self._connection.execute(f"DROP TABLE IF EXISTS {name}")
            self._connection.execute(f"CREATE TABLE {name} ({', '.join(columns)}, PRIMARY KEY ({key})) WITHOUT ROWID")
        fitter: KeyFitter[Kind] = KeyFitter(tuple(shape.columns[folded].kind for folded in shape.key), kind_of, stored)
        statement = f"INSERT OR IGNORE INTO {_SEEN} VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
        for chunk in fitter.fitted(sweep):
            self._connection.executemany(statement, chunk)
        ((seen,),) = self._connection.execute(f"SELECT count(*) FROM {_SEEN}")  # noqa: S608 - a constant
        return int(seen)

    def _sample(self) -> tuple[str, ...]:
        found = self._connection.execute(f"SELECT * FROM {_GONE} LIMIT {SAMPLE}")  # noqa: S608 - constants
        return tuple(", ".join(str(value) for value in key) for key in found)

    def _supersede(self) -> None:
        """What an older listing of this job says of the table does not count any more."""
        mine = f"SELECT id FROM _worker_change WHERE {PLACE} AND job = ?"  # noqa: S608 - a constant
        held = (*self._place, self._stream.job)
        self._connection.execute(f"DELETE FROM _worker_held WHERE change IN ({mine})", held)  # noqa: S608
        self._connection.execute(f"DELETE FROM _worker_change WHERE {PLACE} AND job = ?", held)  # noqa: S608

    def _hold(self, change: str, shape: TableShape) -> None:
        self._connection.execute(
            "INSERT INTO _worker_change (id, integration, account, tbl, job) VALUES (?, ?, ?, ?, ?)",
            (change, *self._place, self._stream.job),
        )
        text = key_text([f"k{number}" for number in range(len(shape.key))])
        self._connection.execute(f"INSERT INTO _worker_held SELECT ?, {text} FROM {_GONE}", (change,))  # noqa: S608

    def _restore(self, shape: TableShape) -> None:
        """What was marked and is seen again is there again."""
        if DELETED not in shape.columns:
            return
        self._connection.execute(
            f"UPDATE {quoted(shape.name)} AS t SET {DELETED} = NULL WHERE {_OWNED} AND {DELETED} IS NOT NULL "  # noqa: S608
            f"AND ({_keys(shape)}) IN {_SEEN}",
            self._owner,
        )


def settle(
    connection: sqlite3.Connection, change: str, stream: Stream, table: str, marking: Marking | None
) -> int | None:
    """Take away what a held change names, or drop it (no marking). See Sweeping."""
    known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = '_worker_change'").fetchone()
    found = known and connection.execute("SELECT applied FROM _worker_change WHERE id = ?", (change,)).fetchone()
    if not found:
        return None
    if found[0] is not None:
        return int(found[0])
    shape, applied = read_table(connection, table), 0
    if shape is not None and marking is not None:
        names = [f"t.{quoted(shape.columns[folded].name)}" for folded in shape.key]
        held = f"{key_text(names)} IN (SELECT key FROM _worker_held WHERE change = ?)"  # noqa: S608 - names are quoted
        applied = _take_away(connection, shape, (stream.integration, stream.account), marking, held, (change,))
    connection.execute("DELETE FROM _worker_held WHERE change = ?", (change,))
    connection.execute("UPDATE _worker_change SET applied = ? WHERE id = ?", (applied, change))
    return applied


def _take_away(
    connection: sqlite3.Connection,
    shape: TableShape,
    owner: tuple[str, str],
    marking: Marking,
    condition: str,
    values: tuple[Any, ...],
) -> int:
    where = f"WHERE {_OWNED} AND {condition}"
    if marking.moment is None:
        statement = f"DELETE FROM {quoted(shape.name)} AS t {where}"  # noqa: S608 - names are quoted
        return connection.execute(statement, (*owner, *values)).rowcount
    shape = fit(connection, shape, shape.key, {DELETED: Kind.TEXT})
    statement = f"UPDATE {quoted(shape.name)} AS t SET {DELETED} = ? {where} AND {DELETED} IS NULL"  # noqa: S608
    return connection.execute(statement, (marking.moment, *owner, *values)).rowcount


def _alive(shape: TableShape) -> str:
    return f"t.{DELETED} IS NULL" if DELETED in shape.columns else "1"


def _keys(shape: TableShape) -> str:
    return ", ".join(f"t.{quoted(shape.columns[folded].name)}" for folded in shape.key)
