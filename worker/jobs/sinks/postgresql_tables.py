"""Tables on a server that follow the data: made from the first rows, given new columns and wider types as they turn up.

A table is changed in a short transaction of its own, before the rows that need it: an ALTER TABLE keeps even readers
out until its transaction ends, and two writers that had both written and then both wanted to alter would wait for each
other. Whoever changes tables of a schema holds one advisory lock, so that two never make the same table or column.
Columns only ever get wider, so what a writer has found wide enough stays so.

A name is kept as it is, quoted. PostgreSQL takes 63 bytes: a longer one ends in a digest of the whole.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.errors import Misconfigured, WorkerError
from worker.jobs.sinks.postgresql_columns import EXACT_IN_DOUBLE, Kind, cast
from worker.jobs.sinks.sideways import OWNER, fold, key_text, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import Connection

#: Bytes of an identifier (NAMEDATALEN - 1), and of the digest at the end of one that was cut.
_LONGEST, _DIGEST = 63, 8
#: Columns that every table has (postgresql.org/docs/current/ddl-system-columns.html).
_SYSTEM = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), coalesce(array_position(k.conkey, a.attnum), 0)
FROM pg_attribute a LEFT JOIN pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'p'
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attgenerated = '' AND a.attidentity = '' ORDER BY a.attnum
"""


@dataclass(frozen=True)
class Column:
    """One column as it stands."""

    name: str
    #: None for a type that this sink does not write.
    kind: Kind | None
    type: str


@dataclass(frozen=True)
class Table:
    """One table as it stands."""

    #: Schema and name, quoted.
    place: str
    #: By folded names, in the table's order.
    columns: Mapping[str, Column]
    #: Folded names of the key beyond the owner, in its order; empty when rows are only added.
    key: tuple[str, ...]


def identifier(name: str) -> str:
    """The name under which a column or table of this name is found: the same for all spellings of a column."""
    if fold(name) in _SYSTEM:
        name += "_"
    encoded = name.encode()
    if len(encoded) <= _LONGEST:
        return name
    digest = hashlib.sha256(fold(name).encode()).hexdigest()[:_DIGEST]
    return f"{encoded[: _LONGEST - _DIGEST - 1].decode(errors='ignore')}_{digest}"


def place_of(schema: str, table: str) -> str:
    """A table's schema and name, quoted. Raises WorkerError for a name that cannot be used."""
    if not table or "\0" in table or fold(table).startswith("_worker"):
        raise WorkerError(f"{table!r} is no name for a table: it is empty or begins with _worker")
    return f"{quoted(schema)}.{quoted(identifier(table))}"


def execute(connection: Connection[Any], statement: str, values: tuple[Any, ...] | None = None) -> Any:
    """Run a statement made here, whose names are quoted; with `values`, a percent sign in a name stands doubled."""
    return connection.execute(statement, values)


def lock_schema(connection: Connection[Any], schema: str) -> None:
    """Be the only one that makes or alters tables in a schema, until the transaction ends."""
    digest = hashlib.sha256(f"headless-worker sink {schema}".encode()).digest()
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (int.from_bytes(digest[:8], signed=True),))


def read_table(connection: Connection[Any], place: str) -> Table | None:
    """The table as it stands; None when there is none. Raises Misconfigured for one that this sink did not make."""
    found = connection.execute(_COLUMNS, (place,)).fetchall()
    if not found:
        return None
    columns = {fold(name): Column(name, _kind(text), text) for name, text, _ in found}
    if not set(OWNER) <= set(columns):
        raise Misconfigured(
            f"the table {place} is there already and was not made by the worker",
            hint="give the sink a schema of its own, or rename the table that the job emits to",
        )
    keyed = sorted((at, fold(name)) for name, _, at in found if at)
    return Table(place, columns, tuple(name for _, name in keyed if name not in OWNER))


def check_fit(table: Table, key: tuple[str, ...], kinds: Mapping[str, Kind]) -> None:
    """Raise for what no growth mends: another key, a column of a foreign type."""
    if table.key != tuple(fold(identifier(name)) for name in key):
        raise WorkerError(
            f"the table {table.place} has the key {key_text(table.key)}, but rows were emitted with the key "
            f"{key_text(key)}",
            hint="keep the key, or emit to a table with another name",
        )
    for name in kinds:
        column = table.columns.get(fold(name))
        if column is not None and column.kind is None:
            raise Misconfigured(
                f"the column {quoted(column.name)} of {table.place} has the type {column.type}, which the sink does "
                "not write",
                hint=f"give it the type it had, or {Kind.TEXT.value}",
            )


def grow(connection: Connection[Any], place: str, key: tuple[str, ...], kinds: Mapping[str, Kind]) -> None:
    """Make the table able to hold columns of these kinds, by their identifiers. The caller has locked the schema."""
    table = read_table(connection, place)
    if table is None:
        execute(connection, _create(place, key, kinds))
        return
    check_fit(table, key, kinds)
    changes = []
    for name, kind in kinds.items():
        column = table.columns.get(fold(name))
        if column is None:
            changes.append(f"ADD COLUMN {quoted(name)} {kind.value}")
        elif column.kind is not None and column.kind is not kind:
            wide = _exact(connection, place, column, kind)
            using = cast(quoted(column.name), column.kind, wide)
            changes.append(f"ALTER COLUMN {quoted(column.name)} TYPE {wide.value} USING {using}")
    if changes:
        execute(connection, f"ALTER TABLE {place} {', '.join(changes)}")


def _kind(text: str) -> Kind | None:
    return Kind(text) if text in set(Kind) else None


def _exact(connection: Connection[Any], place: str, column: Column, kind: Kind) -> Kind:
    """The kind to widen to: numeric instead of double where the table holds numbers that a double cannot."""
    if (column.kind, kind) != (Kind.INT, Kind.REAL):
        return kind
    beyond = f"{quoted(column.name)} NOT BETWEEN {-EXACT_IN_DOUBLE} AND {EXACT_IN_DOUBLE}"
    found = execute(connection, f"SELECT 1 FROM {place} WHERE {beyond} LIMIT 1").fetchone()  # noqa: S608 - quoted
    return Kind.NUMERIC if found else kind


def _create(place: str, key: tuple[str, ...], kinds: Mapping[str, Kind]) -> str:
    key_names = {fold(identifier(name)) for name in key}
    parts = [f"{quoted(name)} text NOT NULL" for name in OWNER]
    parts += [f"{quoted(name)} {kind.value}{' NOT NULL' * (fold(name) in key_names)}" for name, kind in kinds.items()]
    if key:
        spelt = {fold(name): name for name in kinds}
        names = [*OWNER, *(spelt[fold(identifier(name))] for name in key)]
        parts.append(f"PRIMARY KEY ({', '.join(map(quoted, names))})")
    return f"CREATE TABLE {place} ({', '.join(parts)})"
