"""Writing rows, column by column: a chunk is turned on its side, each column is fitted as a whole, and in the common
case its values go to SQLite untouched.

A row takes the place of the row with the same key, whole: a column that it does not name becomes NULL. That way the
table holds what was last emitted, also where an API leaves a field out to say that it is gone.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError
from worker.jobs.sinks.columns import Kind, as_is, kind_of, stored
from worker.jobs.sinks.sqlite_tables import OWNER, TableShape, check_table_name, fit, fold, quoted, read_table
from worker.jobs.sinks.sqlite_tables import same_values as _same

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from worker.jobs.sinks import Stream, TableBatch

    Row = Mapping[str, Any]

#: Rows fitted and written at a time: enough to make the checks cheap, little enough to keep memory flat.
CHUNK = 1000


def write_rows(connection: sqlite3.Connection, stream: Stream, table: str, batch: TableBatch) -> int:
    """Add or replace the rows of one table within the transaction at hand. Answers their number."""
    check_table_name(table)
    count = 0
    for chunk in _chunks(iter(batch.rows)):
        columns = _sideways(chunk, table)
        _check_key(columns, table, batch.key)
        shape = _fitted(connection, table, batch.key, columns)
        _insert(connection, stream, shape, columns)
        count += len(chunk)
    return count


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def _sideways(chunk: list[Row], table: str) -> dict[str, list[Any]]:
    """The values of each column, by its first spelling."""
    spellings: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for row in chunk for name in row):
        if fold(name) in OWNER:
            raise WorkerError(f"a row for {table} has a column {name!r}, which the sink fills itself")
        spellings.setdefault(fold(name), []).append(name)
    return {
        names[0]: [row.get(names[0]) for row in chunk]
        if len(names) == 1
        else [_united(row, names, table) for row in chunk]
        for names in spellings.values()
    }


def _united(row: Row, names: list[str], table: str) -> Any:
    values = [row[name] for name in names if name in row]
    if not _same(values):
        raise WorkerError(
            f"a row for {table} has {' and '.join(map(repr, (n for n in names if n in row)))} with different values; "
            "SQLite takes them for one column",
            hint="rename one of them in the job",
        )
    return next((value for value in values if value is not None), None)


def _check_key(columns: Mapping[str, list[Any]], table: str, key: tuple[str, ...]) -> None:
    by_fold = {fold(name): values for name, values in columns.items()}
    for name in key:
        values = by_fold.get(fold(name))
        if values is None or any(value is None for value in values):
            raise WorkerError(f"a row for {table} has no {name!r}, which is its key")


def _fitted(
    connection: sqlite3.Connection, table: str, key: tuple[str, ...], columns: Mapping[str, list[Any]]
) -> TableShape:
    shape = read_table(connection, table) or TableShape(table, {}, ())
    kinds: dict[str, Kind] = {}
    for name, values in columns.items():
        column = shape.columns.get(fold(name))
        kind = kind_of(values, column.kind if column is not None else None)
        if kind is not None:  # a column that has held nothing but None is not made yet: its kind is not known
            kinds[name] = kind
    return fit(connection, shape, key, kinds)


def _insert(
    connection: sqlite3.Connection, stream: Stream, shape: TableShape, columns: Mapping[str, list[Any]]
) -> None:
    by_fold = {fold(name): values for name, values in columns.items()}
    count = len(next(iter(columns.values()), ()))
    width: list[list[Any]] = [[stream.integration] * count, [stream.account] * count]
    names = list(OWNER)
    for folded, column in shape.columns.items():
        if folded in OWNER:
            continue
        values = by_fold.get(folded)
        if values is None:
            values = [None] * count
        elif not as_is(values, column.kind):
            values = [stored(value, column.kind) for value in values]
        names.append(column.name)
        width.append(values)
    connection.executemany(_statement(shape, names), zip(*width, strict=True))


def _statement(shape: TableShape, names: list[str]) -> str:
    listed = ", ".join(map(quoted, names))
    marks = ", ".join("?" * len(names))
    insert = f"INSERT INTO {quoted(shape.name)} ({listed}) VALUES ({marks})"  # noqa: S608 - names are quoted
    if not shape.key:
        return insert
    target = ", ".join(quoted(shape.columns[folded].name) for folded in OWNER + shape.key)
    updated = [name for name in names if fold(name) not in OWNER + shape.key]
    if not updated:
        return f"{insert} ON CONFLICT ({target}) DO NOTHING"
    changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in updated)
    return f"{insert} ON CONFLICT ({target}) DO UPDATE SET {changes}"
