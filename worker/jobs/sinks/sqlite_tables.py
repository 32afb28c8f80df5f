"""Tables that follow the data: made from the first rows, given new columns and wider kinds as they turn up.

All of it happens inside the transaction that writes the rows, which holds SQLite's only write lock: the table is read,
changed and filled by one process at a time, so there is no schema race to lose. SQLite cannot change a column's type,
so widening copies the table, with its indexes and triggers; that is rare, since a column widens three times at most.

Column names are compared as SQLite does, without regard to the case of ASCII letters: `ID` and `id` are one column, in
the spelling that came first. A row that has both, with different values, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.errors import Misconfigured, WorkerError
from worker.jobs.sinks.columns import EXACT_IN_REAL, Kind, declared
from worker.jobs.sinks.sideways import OWNER, fold, key_text, quoted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

_COPY = "_worker_copy"
#: SQL function of the connection: a value of one kind as another (`columns.restored`).
RESTORED = "worker_restored"


@dataclass(frozen=True)
class Column:
    """One column as it stands."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class TableShape:
    """One table as it stands; columns by their folded names."""

    name: str
    columns: Mapping[str, Column]
    #: Folded names of the key beyond the owner; empty when rows are only added.
    key: tuple[str, ...]


def check_table_name(name: str) -> None:
    """Raise WorkerError for a table name that cannot be used."""
    folded = fold(name)
    if not name or "\0" in name or folded.startswith(("_worker", "sqlite_")):
        raise WorkerError(f"{name!r} is no name for a table: it is empty or begins with _worker or sqlite_")


def read_table(connection: sqlite3.Connection, name: str) -> TableShape | None:
    """The table as it stands; None when there is none. Raises Misconfigured for one that this sink did not make."""
    found = connection.execute("SELECT name, type, pk FROM pragma_table_info(?)", (name,)).fetchall()
    if not found:
        return None
    columns = {fold(column): Column(column, declared(kind)) for column, kind, _ in found}
    if not set(OWNER) <= set(columns):
        raise Misconfigured(
            f"the table {name!r} is there already and was not made by the worker",
            hint="give the sink a file of its own, or rename the table that the job emits to",
        )
    keyed = sorted((place, fold(column)) for column, _, place in found if place)
    return TableShape(name, columns, tuple(column for _, column in keyed if column not in OWNER))


def fit(
    connection: sqlite3.Connection, shape: TableShape, key: tuple[str, ...], kinds: Mapping[str, Kind]
) -> TableShape:
    """Make the table able to hold columns of these kinds, by their spelling; each includes what is there already.

    `shape` is `read_table`'s answer, or one without columns to make a new table. Raises WorkerError when the table
    has another key.
    """
    folded_key = tuple(fold(column) for column in key)
    if not shape.columns:
        made = TableShape(shape.name, _owned(kinds), folded_key)
        connection.execute(_create(made, shape.name))
        return made
    if shape.key != folded_key:
        raise WorkerError(
            f"the table {shape.name!r} has the key {key_text(shape.key)}, but rows were emitted with the key "
            f"{key_text(key)}",
            hint="keep the key, or emit to a table with another name",
        )
    before, after = dict(shape.columns), dict(shape.columns)
    for spelling, kind in kinds.items():
        column = before.get(fold(spelling))
        if column is None:
            connection.execute(f"ALTER TABLE {quoted(shape.name)} ADD COLUMN {quoted(spelling)} {kind.value}")
            before[fold(spelling)] = after[fold(spelling)] = Column(spelling, kind)
        elif column.kind is not kind:
            after[fold(spelling)] = Column(column.name, _wide_enough(connection, shape.name, column, kind))
    grown = TableShape(shape.name, after, shape.key)
    if before != after:
        _copy(connection, TableShape(shape.name, before, shape.key), grown)
    return grown


def _owned(kinds: Mapping[str, Kind]) -> dict[str, Column]:
    owner = {name: Column(name, Kind.TEXT) for name in OWNER}
    return owner | {fold(spelling): Column(spelling, kind) for spelling, kind in kinds.items()}


def _wide_enough(connection: sqlite3.Connection, table: str, column: Column, kind: Kind) -> Kind:
    """The kind to widen to: text instead of real where the table holds numbers that a double cannot."""
    if column.kind is Kind.INT and kind is Kind.REAL:
        name = quoted(column.name)
        query = f"SELECT 1 FROM {quoted(table)} WHERE {name} NOT BETWEEN ? AND ? LIMIT 1"  # noqa: S608 - quoted
        if connection.execute(query, (-EXACT_IN_REAL, EXACT_IN_REAL)).fetchone():
            return Kind.TEXT
    return kind


def _create(shape: TableShape, name: str) -> str:
    parts = [
        f"{quoted(column.name)} {column.kind.value}{' NOT NULL' if folded in OWNER + shape.key else ''}"
        for folded, column in shape.columns.items()
    ]
    if shape.key:
        names = [quoted(shape.columns[folded].name) for folded in OWNER + shape.key]
        parts.append(f"PRIMARY KEY ({', '.join(names)})")
    return f"CREATE TABLE {quoted(name)} ({', '.join(parts)})"


def _copy(connection: sqlite3.Connection, before: TableShape, after: TableShape) -> None:
    """Make the table anew with the wider columns (sqlite.org/lang_altertable.html, section 7)."""
    name = after.name
    belongings = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE tbl_name = ? COLLATE NOCASE AND type IN ('index', 'trigger') "
        "AND sql IS NOT NULL",
        (name,),
    ).fetchall()
    connection.execute(f"DROP TABLE IF EXISTS {quoted(_COPY)}")
    connection.execute(_create(after, _COPY))
    names = ", ".join(quoted(column.name) for column in after.columns.values())
    values = ", ".join(_value(before.columns[folded], column) for folded, column in after.columns.items())
    connection.execute(
        f"INSERT INTO {quoted(_COPY)} ({names}) SELECT {values} FROM {quoted(name)} ORDER BY rowid"  # noqa: S608
    )
    connection.execute(f"DROP TABLE {quoted(name)}")
    connection.execute(f"ALTER TABLE {quoted(_COPY)} RENAME TO {quoted(name)}")
    for (statement,) in belongings:
        connection.execute(statement)


def _value(before: Column, after: Column) -> str:
    if before.kind is after.kind:
        return quoted(before.name)
    return f"{RESTORED}({quoted(before.name)}, '{before.kind.value}', '{after.kind.value}')"
