"""Deletions by difference on a server: the account's rows that a full listing does not name.

The keys of the listing are copied into a temporary table with the types of the table's own key; one statement finds the
difference, another takes it away. All of it happens in the transaction that writes the listing's rows and the cursor,
while nobody else delivers rows of this account to the table (`postgresql_deliveries`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.jobs.brake import Gone
from worker.jobs.listing import FIRST, SAMPLE, Swept
from worker.jobs.sinks.keys import KeyFitter, check_names
from worker.jobs.sinks.postgresql_columns import Kind, kind_of, stored
from worker.jobs.sinks.postgresql_deliveries import PLACE, folded, key_text, literal, percent
from worker.jobs.sinks.postgresql_rows import Misfit
from worker.jobs.sinks.postgresql_tables import execute, place_of, read_table
from worker.jobs.sinks.sideways import DELETED, OWNER, quoted

if TYPE_CHECKING:
    from psycopg import Connection

    from worker.jobs.listing import Sweep
    from worker.jobs.sinks import Stream
    from worker.jobs.sinks.postgresql_deliveries import Side, Writes
    from worker.jobs.sinks.postgresql_tables import Table

_SEEN, _GONE = "pg_temp._worker_seen", "pg_temp._worker_gone"


@dataclass(frozen=True)
class Marking:
    """What becomes of deleted rows."""

    #: The time that marks them; None: they are taken away.
    moment: str | None = None


class Sweeper:
    """One listing of one table, for one account."""

    def __init__(self, connection: Connection[Any], side: Side, stream: Stream, table: str, marking: Marking) -> None:
        self._connection = connection
        self._side = side
        self._stream = stream
        self._name = table
        self._marking = marking
        self._place = (stream.integration, stream.account, folded(table))

    def look(self, sweep: Sweep, *, noted: bool) -> Swept | None:
        """What the listing says; only temporary tables are written. `noted`: deliveries are noted there already."""
        table = self._table(sweep)
        return None if table is None else self._compare(sweep, table, noted=noted)

    def sweep(self, sweep: Sweep, writes: Writes) -> Swept:
        """Do what the listing says, or hold it. `writes`: how often others had written when the run began.

        Raises Misfit when the table has no column for the mark yet.
        """
        table = self._table(sweep)
        if table is None:
            return Swept(self._name, Gone(0, 0, 0))
        if self._marking.moment is not None and DELETED not in table.columns:
            raise Misfit
        if unusable := self._unusable(writes):
            return Swept(self._name, Gone(0, 0, 0), unusable=unusable)
        swept = self._compare(sweep, table, noted=True)
        self._supersede()
        if swept.objection:
            self._hold(sweep.change, table)
        elif swept.gone.rows:
            self.take_away(table, f"({_keys(table)}) IN (SELECT * FROM {_GONE})")  # noqa: S608
        if self._marking.moment is not None:
            self._restore(table)
        execute(self._connection, f"DROP TABLE {_SEEN}, {_GONE}")
        return swept

    def settle(self, change: str, *, approve: bool) -> int | None:
        """Take away what a held change names, or drop it. See Sweeping."""
        query = f"SELECT applied FROM {percent(self._side.change)} WHERE id = %s FOR UPDATE"  # noqa: S608 - quoted
        found = execute(self._connection, query, (change,)).fetchone()
        if found is None:
            return None
        if found[0] is not None:
            return int(found[0])
        table, applied = read_table(self._connection, place_of(self._side.schema, self._name)), 0
        if table is not None and approve:
            if self._marking.moment is not None and DELETED not in table.columns:
                raise Misfit
            number = literal(self._connection, change)
            held = f"(SELECT key FROM {self._side.held} WHERE change = {number})"  # noqa: S608 - quoted
            applied = self.take_away(table, f"{_text(table)} IN {held}")
        self._change(f"DELETE FROM {self._side.held} WHERE change = %s", (change,))  # noqa: S608
        self._change(f"UPDATE {self._side.change} SET applied = %s WHERE id = %s", (applied, change))  # noqa: S608
        return applied

    def take_away(self, table: Table, condition: str) -> int:
        """Delete the account's rows for which this holds, or mark them; answers how many."""
        where = f"WHERE {self._owned()} AND {condition}"
        if self._marking.moment is None:
            return int(execute(self._connection, f"DELETE FROM {table.place} AS t {where}").rowcount)  # noqa: S608
        moment = literal(self._connection, self._marking.moment)
        statement = f"UPDATE {table.place} AS t SET {DELETED} = {moment} {where} AND t.{DELETED} IS NULL"  # noqa: S608
        return int(execute(self._connection, statement).rowcount)

    def _table(self, sweep: Sweep) -> Table | None:
        table = read_table(self._connection, place_of(self._side.schema, self._name))
        if table is not None:
            check_names(tuple(folded(name) for name in sweep.key), table.key, self._name)
        return table

    def _unusable(self, writes: Writes) -> str:
        """Why a first listing is not believed; from now on, whatever others deliver is noted for this job."""
        name = folded(self._name)
        query = f"SELECT job, writes, lists FROM {percent(self._side.writer)} WHERE {PLACE}"  # noqa: S608 - quoted
        rows = execute(self._connection, query, self._place)
        found = {job: (count, lists) for job, count, lists in rows}
        _, lists = found.pop(self._stream.job, (0, False))
        if lists:
            return ""
        self._change(
            f"INSERT INTO {self._side.writer} VALUES (%s, %s, %s, %s, 0, true) "  # noqa: S608 - quoted
            "ON CONFLICT (integration, account, tbl, job) DO UPDATE SET lists = true",
            (*self._place, self._stream.job),
        )
        meanwhile = any(count != writes.get((name, job), 0) for job, (count, _) in found.items())
        return FIRST if meanwhile else ""

    def _compare(self, sweep: Sweep, table: Table, *, noted: bool) -> Swept:
        """Fill the temporary tables: what was seen, and what is gone."""
        seen = self._fill(sweep, table)
        same = " AND ".join(f"s.k{number} = t.{name}" for number, name in enumerate(_names(table)))
        alive = f"t.{DELETED} IS NULL" if DELETED in table.columns else "true"
        kept = f"NOT EXISTS (SELECT 1 FROM {_SEEN} s WHERE {same})"  # noqa: S608 - names are quoted
        if noted:
            integration, account, name, job = (
                literal(self._connection, text) for text in (*self._place, self._stream.job)
            )
            kept += (
                f" AND NOT EXISTS (SELECT 1 FROM {self._side.touched} o WHERE o.integration = {integration} "  # noqa: S608
                f"AND o.account = {account} AND o.tbl = {name} AND o.job = {job} AND o.key = {_text(table)})"
            )
        made = execute(
            self._connection,
            f"CREATE TEMPORARY TABLE _worker_gone ON COMMIT DROP AS SELECT {_keys(table)} FROM {table.place} t "  # noqa: S608
            f"WHERE {self._owned()} AND {alive} AND {kept}",
        )
        query = f"SELECT count(*) FROM {table.place} t WHERE {self._owned()} AND {alive}"  # noqa: S608 - quoted
        (present,) = execute(self._connection, query).fetchone()
        numbers = Gone(made.rowcount, present, seen)
        objection = sweep.brake.objection(self._name, numbers)
        return Swept(self._name, numbers, self._sample(), objection, sweep.change if objection else "")

    def _fill(self, sweep: Sweep, table: Table) -> int:
        kinds = tuple(table.columns[folded].kind or Kind.TEXT for folded in table.key)
        names = [f"k{number}" for number in range(len(kinds))]
        columns = ", ".join(f"{name} {kind.value}" for name, kind in zip(names, kinds, strict=True))
        execute(self._connection, f"CREATE TEMPORARY TABLE _worker_seen ({columns}) ON COMMIT DROP")
        fitter: KeyFitter[Kind] = KeyFitter(kinds, kind_of, stored)
        with self._connection.cursor().copy(f"COPY {_SEEN} FROM STDIN") as copy:
            for chunk in fitter.fitted(sweep):
                for key in chunk:
                    copy.write_row(key)
        distinct = f"SELECT DISTINCT {', '.join(names)} FROM {_SEEN}"  # noqa: S608 - constants
        (seen,) = execute(self._connection, f"SELECT count(*) FROM ({distinct}) AS d").fetchone()  # noqa: S608
        return int(seen)

    def _sample(self) -> tuple[str, ...]:
        found = execute(self._connection, f"SELECT * FROM {_GONE} LIMIT {SAMPLE}")  # noqa: S608 - constants
        return tuple(", ".join(str(value) for value in key) for key in found)

    def _supersede(self) -> None:
        """What an older listing of this job says of the table does not count any more."""
        mine = (*self._place, self._stream.job)
        changes = f"SELECT id FROM {self._side.change} WHERE {PLACE} AND job = %s"  # noqa: S608 - quoted
        self._change(f"DELETE FROM {self._side.held} WHERE change IN ({changes})", mine)  # noqa: S608
        self._change(f"DELETE FROM {self._side.change} WHERE {PLACE} AND job = %s", mine)  # noqa: S608

    def _hold(self, change: str, table: Table) -> None:
        self._change(
            f"INSERT INTO {self._side.change} VALUES (%s, %s, %s, %s, %s)",  # noqa: S608 - quoted
            (change, *self._place, self._stream.job),
        )
        names, kinds = [f"g.{name}" for name in _names(table)], _kinds(table)
        source = f"SELECT {literal(self._connection, change)}, {key_text(names, kinds)} FROM {_GONE} AS g"  # noqa: S608
        execute(self._connection, f"INSERT INTO {self._side.held} {source}")

    def _restore(self, table: Table) -> None:
        """What was marked and is seen again is there again."""
        execute(
            self._connection,
            f"UPDATE {table.place} AS t SET {DELETED} = NULL WHERE {self._owned()} AND t.{DELETED} IS NOT NULL "  # noqa: S608
            f"AND ({_keys(table)}) IN (SELECT * FROM {_SEEN})",
        )

    def _owned(self) -> str:
        integration, account = (literal(self._connection, value) for value in self._place[:2])
        return f"t.{OWNER[0]} = {integration} AND t.{OWNER[1]} = {account}"

    def _change(self, statement: str, values: tuple[Any, ...]) -> None:
        """A statement with the name of the schema in it, which may hold a percent sign, and with parameters."""
        quoted_schema = quoted(self._side.schema)
        execute(self._connection, statement.replace(quoted_schema, percent(quoted_schema)), values)


def _names(table: Table) -> list[str]:
    return [quoted(table.columns[folded].name) for folded in table.key]


def _keys(table: Table) -> str:
    return ", ".join(f"t.{name}" for name in _names(table))


def _kinds(table: Table) -> list[Kind]:
    return [table.columns[folded].kind or Kind.TEXT for folded in table.key]


def _text(table: Table) -> str:
    return key_text([f"t.{name}" for name in _names(table)], _kinds(table))
