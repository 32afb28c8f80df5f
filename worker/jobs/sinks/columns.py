"""What kind a column is, and how it grows when the data turns out to be wider than it seemed.

    bool ──> int ──> real ──┐
    json ───────────────────┼──> text
    blob ───────────────────┘

A column never narrows. Nothing is lost on the way: an int goes to real only while a double holds it exactly (up to
2^53), otherwise to text; text takes `true`/`false`, digits, JSON, and bytes as hexadecimal digits. SQLite has no type
for Decimal and datetime: they are text, as they were written.
"""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from worker.jobs.sinks.values import as_text, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Whole numbers that a double holds exactly (IEEE 754 binary64), and those that SQLite's 64 bits hold.
EXACT_IN_REAL = 2**53
_HIGHEST_INT = 2**63 - 1


class Kind(StrEnum):
    """A column's kind; the value is the type declared in the database.

    BOOLEAN and JSON have SQLite's numeric affinity, which changes neither 0, 1 nor a text that begins with [ or {.
    """

    BOOL = "BOOLEAN"
    INT = "INTEGER"
    REAL = "REAL"
    TEXT = "TEXT"
    JSON = "JSON"
    BLOB = "BLOB"


_KINDS: dict[type, Kind] = {
    bool: Kind.BOOL,
    int: Kind.INT,
    float: Kind.REAL,
    str: Kind.TEXT,
    bytes: Kind.BLOB,
    dict: Kind.JSON,
    list: Kind.JSON,
    datetime: Kind.TEXT,
    Decimal: Kind.TEXT,
}
_NOTHING = type(None)
#: What SQLite takes for a kind unchanged.
_NATIVE: dict[Kind, set[type]] = {
    Kind.BOOL: {bool, _NOTHING},
    Kind.INT: {int, bool, _NOTHING},
    Kind.REAL: {float, _NOTHING},
    Kind.TEXT: {str, _NOTHING},
    Kind.JSON: {_NOTHING},
    Kind.BLOB: {bytes, _NOTHING},
}
_NUMBERS = (Kind.BOOL, Kind.INT, Kind.REAL)


def wider(one: Kind, other: Kind) -> Kind:
    """The narrowest kind that holds both."""
    if one == other:
        return one
    if one in _NUMBERS and other in _NUMBERS:
        return max(one, other, key=_NUMBERS.index)
    return Kind.TEXT


def kind_of(values: Iterable[Any], present: Kind | None = None) -> Kind | None:
    """The kind that holds all of `values` and what a column of kind `present` holds; None when there is nothing."""
    values = [value for value in values if value is not None]
    kind = present
    for found in {type(value) for value in values}:
        kind = _KINDS[found] if kind is None else wider(kind, _KINDS[found])
    if kind in {Kind.INT, Kind.REAL, Kind.BOOL}:
        whole = [value for value in values if type(value) is int]
        limit = EXACT_IN_REAL if kind is Kind.REAL else _HIGHEST_INT
        if whole and (max(whole) > limit or min(whole) < -limit):
            return Kind.TEXT
    return kind


def stored(value: Any, kind: Kind) -> Any:
    """What a column of this kind holds for a plain value that fits it (`kind_of` has said so)."""
    if value is None:
        return None
    match kind:
        case Kind.REAL:
            return None if math.isnan(value) else float(value)
        case Kind.TEXT:
            return as_text(value)
        case Kind.JSON:
            return to_json(value)
        case _:
            return value


def as_is(values: Iterable[Any], kind: Kind) -> bool:
    """Whether the database takes all of `values` for this kind unchanged, which is the common case by far."""
    return {type(value) for value in values} <= _NATIVE[kind]


def restored(value: Any, before: Kind, after: Kind) -> Any:
    """A stored value of kind `before` as a column of kind `after` holds it."""
    if value is None or before == after:
        return value
    if before is Kind.BOOL and after is Kind.TEXT:
        return "true" if value else "false"
    if before is Kind.JSON:
        return value
    return stored(value, after)


def declared(text: str) -> Kind:
    """The kind of a column from its declared type; foreign types by SQLite's affinity rules (datatype3, 3.1)."""
    upper = text.upper()
    if upper in set(Kind):
        return Kind(upper)
    for part, kind in (("INT", Kind.INT), ("CHAR", Kind.TEXT), ("CLOB", Kind.TEXT), ("TEXT", Kind.TEXT)):
        if part in upper:
            return kind
    if any(part in upper for part in ("REAL", "FLOA", "DOUB")):
        return Kind.REAL
    return Kind.BLOB if "BLOB" in upper else Kind.TEXT
