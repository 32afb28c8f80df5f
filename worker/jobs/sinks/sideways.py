"""Rows turned on their side: databases are filled column by column, so that each column is fitted as a whole and its
values are touched only where they have to be. Chunks are bounded in rows and in bytes, which keeps memory flat.

Column names are compared without regard to the case of ASCII letters in every database, as SQLite has it: the same job
makes the same columns wherever its rows go.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError
from worker.jobs.sinks.values import weight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Row = Mapping[str, Any]

#: Columns that the sink adds: whose row it is.
OWNER = ("_integration", "_account")
#: … and, where deleted rows are marked instead of taken away, since when a row is gone.
DELETED = "_deleted_at"
#: Rows fitted and written at a time, and bytes in them: enough to make the checks cheap.
CHUNK, CHUNK_BYTES = 1000, 8 * 2**20
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold(name: str) -> str:
    """A name as names are compared."""
    return name.translate(_LOWER)


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows in lists of at most CHUNK rows, and of little more than CHUNK_BYTES."""
    chunk: list[Row] = []
    heavy = 0
    for row in rows:
        chunk.append(row)
        heavy += weight(row)
        if len(chunk) >= CHUNK or heavy >= CHUNK_BYTES:
            yield chunk
            chunk, heavy = [], 0
    if chunk:
        yield chunk


def sideways(chunk: list[Row], table: str, same: Callable[[str], str] = fold) -> dict[str, list[Any]]:
    """The values of each column, by its first spelling; names are one column when `same` makes the same of them.

    Raises WorkerError for names that cannot be used.
    """
    spellings: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for row in chunk for name in row):
        if fold(name) in OWNER:
            raise WorkerError(f"a row for {table} has a column {name!r}, which the sink fills itself")
        spellings.setdefault(same(name), []).append(name)
    return {
        names[0]: [row.get(names[0]) for row in chunk]
        if len(names) == 1
        else [_united(row, names, table) for row in chunk]
        for names in spellings.values()
    }


def value_of(row: Row, name: str) -> Any:
    """The value of a column, however the row spells its name; None without one."""
    value = row.get(name)
    if value is not None:
        return value
    folded = fold(name)
    return next((found for spelt, found in row.items() if found is not None and fold(spelt) == folded), None)


def check_key(columns: Mapping[str, list[Any]], table: str, key: tuple[str, ...]) -> None:
    """Raise WorkerError unless every row has a value for every part of the key."""
    by_fold = {fold(name): values for name, values in columns.items()}
    for name in key:
        values = by_fold.get(fold(name))
        if values is None or any(value is None for value in values):
            raise WorkerError(f"a row for {table} has no {name!r}, which is its key")


def key_text(key: tuple[str, ...]) -> str:
    """A key for messages."""
    return f"({', '.join(key)})" if key else "none"


def _united(row: Row, names: list[str], table: str) -> Any:
    said = [value for value in (row.get(name) for name in names) if value is not None]
    if any(value != said[0] or type(value) is not type(said[0]) for value in said):
        present = " and ".join(repr(name) for name in names if name in row)
        raise WorkerError(
            f"a row for {table} has {present} with different values; they are one column: case does not count",
            hint="rename one of them in the job",
        )
    return said[0] if said else None
