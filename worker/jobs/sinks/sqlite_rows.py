"""Writing rows, column by column: a chunk is turned on its side, each column is fitted as a whole, and in the common
case its values go to SQLite untouched.

A row takes the place of the row with the same key, whole: a column that it does not name becomes NULL. That way the
table holds what was last emitted, also where an API leaves a field out to say that it is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.jobs.sinks.columns import Kind, as_is, kind_of, stored
from worker.jobs.sinks.sideways import OWNER, check_key, chunks, fold, quoted, sideways
from worker.jobs.sinks.sqlite_deliveries import Deliveries
from worker.jobs.sinks.sqlite_tables import TableShape, check_table_name, fit, read_table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from worker.jobs.sinks import Stream, TableBatch


def write_rows(connection: sqlite3.Connection, stream: Stream, table: str, batch: TableBatch) -> int:
    """Add or replace the rows of one table within the transaction at hand. Answers their number."""
    check_table_name(table)
    count = 0
    deliveries = None
    for chunk in chunks(batch.rows):
        columns = sideways(chunk, table)
        check_key(columns, table, batch.key)
        shape = _fitted(connection, table, batch.key, columns)
        by_fold = {fold(name): values for name, values in columns.items()}
        _insert(connection, stream, shape, by_fold)
        if batch.key:
            deliveries = deliveries or Deliveries(connection, stream, table)
            deliveries.tell(shape, by_fold)
        count += len(chunk)
    return count


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
    connection: sqlite3.Connection, stream: Stream, shape: TableShape, by_fold: Mapping[str, list[Any]]
) -> None:
    count = len(next(iter(by_fold.values()), ()))
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
