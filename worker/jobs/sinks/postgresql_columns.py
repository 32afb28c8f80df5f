"""What type a PostgreSQL column is, and how it grows when the data turns out to be wider than it seemed.

    boolean ──> bigint ──> double precision ──> numeric ──┐
    timestamptz ── jsonb ── bytea ────────────────────────┴──> text

A column never narrows, and nothing is lost on the way: a double takes whole numbers only up to 2^53, beyond that it is
numeric; so is a whole number beyond 64 bits. What a column holds already is rewritten by the server; both it and what
comes afterwards are spelt alike in a text column, so that a row is found by its key also after the key became text.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from worker.jobs.sinks.values import as_text, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Whole numbers that a double holds exactly (IEEE 754 binary64), and those of a bigint.
EXACT_IN_DOUBLE = 2**53
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
#: Digits before and after the point of a numeric (postgresql.org/docs/current/datatype-numeric.html).
_BEFORE_POINT, _AFTER_POINT = 131072, 16383
#: Decimal exponents between which float8out writes no exponent (shortest-precise output, since PostgreSQL 12).
_PLAIN_EXPONENTS = range(-4, 15)


class Kind(StrEnum):
    """A column's kind; the value is its type as `format_type` spells it."""

    BOOL = "boolean"
    INT = "bigint"
    REAL = "double precision"
    NUMERIC = "numeric"
    TIME = "timestamp with time zone"
    JSON = "jsonb"
    BLOB = "bytea"
    TEXT = "text"


_KINDS: dict[type, Kind] = {
    bool: Kind.BOOL,
    int: Kind.INT,
    float: Kind.REAL,
    Decimal: Kind.NUMERIC,
    datetime: Kind.TIME,
    dict: Kind.JSON,
    list: Kind.JSON,
    bytes: Kind.BLOB,
    str: Kind.TEXT,
}
#: In the order in which they widen.
_NUMBERS = (Kind.BOOL, Kind.INT, Kind.REAL, Kind.NUMERIC)
#: How the server makes a wider value of what it holds; {0} is the column. A double goes through its text, for the
#: direct cast to numeric keeps 15 digits only.
_CASTS: dict[tuple[Kind, Kind], str] = {
    (Kind.BOOL, Kind.INT): "{0}::int::bigint",
    (Kind.BOOL, Kind.REAL): "{0}::int::double precision",
    (Kind.BOOL, Kind.NUMERIC): "{0}::int::numeric",
    (Kind.REAL, Kind.NUMERIC): "{0}::text::numeric",
    (Kind.BLOB, Kind.TEXT): "encode({0}, 'hex')",
    (Kind.TIME, Kind.TEXT): """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
}


def wider(one: Kind, other: Kind) -> Kind:
    """The narrowest kind that holds both."""
    if one == other:
        return one
    if one in _NUMBERS and other in _NUMBERS:
        return max(one, other, key=_NUMBERS.index)
    return Kind.TEXT


def kind_of(values: Iterable[Any], present: Kind | None = None) -> Kind | None:
    """The kind that holds all of `values` and what a column of kind `present` holds; None when there is nothing.

    It does not know how large the whole numbers are that a bigint column holds already; who widens it must look.
    """
    values = [value for value in values if value is not None]
    kind = present
    for found in {type(value) for value in values}:
        kind = _KINDS[found] if kind is None else wider(kind, _KINDS[found])
    if kind in {Kind.INT, Kind.REAL, Kind.NUMERIC}:
        kind = _exact([value for value in values if type(value) is int], kind)
        if any(type(value) is Decimal and not _fits(value) for value in values):
            return Kind.TEXT
    return kind


def cast(column: str, before: Kind, after: Kind) -> str:
    """The expression by which a column of kind `before` becomes one of kind `after`."""
    return _CASTS.get((before, after), f"{{0}}::{after.value}").format(column)


def stored(value: Any, kind: Kind) -> Any:  # noqa: PLR0911 - one answer per kind
    """What is sent for a plain value that fits a column of this kind (`kind_of` has said so)."""
    if value is None:
        return None
    match kind:
        case Kind.INT:
            return int(value)
        case Kind.REAL:
            return float(value)
        case Kind.NUMERIC:
            return _decimal(value)
        case Kind.JSON:
            return _json(value)
        case Kind.TEXT:
            return _text(value)
        case _:
            return value


def _exact(whole: list[int], kind: Kind) -> Kind:
    if not whole or kind is Kind.NUMERIC:
        return kind
    low, high = (-EXACT_IN_DOUBLE, EXACT_IN_DOUBLE) if kind is Kind.REAL else (_LOWEST, _HIGHEST)
    return kind if low <= min(whole) and max(whole) <= high else Kind.NUMERIC


def _fits(value: Decimal) -> bool:
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -_AFTER_POINT and value.adjusted() < _BEFORE_POINT


def _decimal(value: float | Decimal) -> Decimal:
    return Decimal(repr(value)) if type(value) is float else Decimal(value)


def _json(value: Any) -> str:
    """JSON that jsonb takes: it has no character of code zero."""
    text = to_json(value)
    return to_json(_whole(json.loads(text))) if "\\u0000" in text else text


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(item) for name, item in value.items()}
    return value


def _text(value: Any) -> str:
    """The text by which the server, too, spells what it holds; no type of its text has a character of code zero."""
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case float():
            return _float_text(value)
        case Decimal():
            return format(value, "f") if _fits(value) else str(value)
        case datetime():
            return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
        case list() | dict():
            return _json(value)
        case _:
            return as_text(value)


def _float_text(value: float) -> str:
    if not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    exact = Decimal(repr(value))
    if exact.is_zero():
        return "-0" if exact.is_signed() else "0"
    exact = exact.normalize()
    if exact.adjusted() in _PLAIN_EXPONENTS:
        return format(exact, "f")
    digits = "".join(map(str, exact.as_tuple().digits))
    mantissa = digits[0] + ("." + digits[1:] if digits[1:] else "")
    return f"{'-' if exact.is_signed() else ''}{mantissa}e{exact.adjusted():+03d}"
