"""What may stand in a row, and its plain form: None, bool, int, float, str, bytes, Decimal and aware datetimes, and
lists and dicts of what JSON has. A sink whose database has no type of its own for one of these keeps its text.

Rows are made plain when they are emitted: a value that no sink can hold fails at the line that emitted it, and a row
that the job changes afterwards is not changed here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from worker.errors import WorkerError

#: Types that are plain already; a subclass (an Enum, say) is not and takes the slow way, as does text, which may hold
#: half a character.
_PLAIN = frozenset({type(None), bool, int, float, bytes})
_SIZED = frozenset({str, bytes, list, dict})
#: Bytes that a value without a length of its own takes, roughly.
_SMALL = 8


def plain_row(row: Mapping[str, Any], table: str) -> dict[str, Any]:
    """A copy of `row` with plain values.

    Raises WorkerError naming table and column for a value that cannot be stored.
    """
    if not isinstance(row, Mapping):
        raise WorkerError(f"a row for {table} is a {type(row).__name__}; emit dicts")
    plain: dict[str, Any] = {}
    for name, value in row.items():
        if type(name) is not str or not name or "\0" in name:
            raise WorkerError(f"a row for {table} has the column name {name!r}; names are non-empty text")
        kind = type(value)
        if kind in _PLAIN or (kind is str and value.isascii()):  # by far the most, so they pass at once
            plain[name] = value
        else:
            plain[name] = _typed(value, f"{table}.{name}")
    return plain


def weight(row: Mapping[str, Any]) -> int:
    """About how many bytes a plain row holds; what is nested counts by its items."""
    return sum(len(value) if type(value) in _SIZED else _SMALL for value in row.values())


def as_text(value: Any) -> str:
    """A plain value other than None as text that loses nothing: nested ones as JSON, bytes as hexadecimal digits."""
    match value:
        case bool():
            return "true" if value else "false"
        case bytes():
            return value.hex()
        case list() | dict():
            return to_json(value)
        case datetime():
            return rfc3339_text(value)
        case _:
            return str(value)


def to_json(value: Any) -> str:
    """JSON text of a plain value: bytes as base64, and null for what JSON has no number for."""
    try:
        return _JSON.encode(value)
    except ValueError:
        return _JSON.encode(_finite(value))


def _typed(value: Any, place: str) -> Any:
    """A column's value: here, and not inside of JSON, a Decimal and an aware datetime stay what they are."""
    if isinstance(value, Decimal) and value.is_finite():
        return Decimal(value)
    if type(value) is datetime and value.tzinfo is UTC:
        return value
    if isinstance(value, datetime) and (offset := value.utcoffset()) is not None:
        exact = value.isoformat()
        zone = UTC if value.tzinfo is UTC else timezone(offset)
        moment = datetime.combine(value.date(), value.time(), zone)  # of a subclass, or in a zone of the job's own
        with contextlib.suppress(OverflowError):  # in the first or the last hours of the calendar
            moment.astimezone(UTC)
            return moment
        return exact
    return _plain(value, place)


def _plain(value: Any, place: str) -> Any:  # noqa: C901, PLR0911 - one answer per kind of value
    match value:
        case bool() | None:
            return value
        case str():
            return _whole_characters(str.__str__(value))
        case int():
            return int(value)
        case float():
            return float(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value)
        case datetime():
            return rfc3339_text(value)
        case date() | time():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case Mapping():
            return {_name(name, place): _plain(item, f"{place}.{name}") for name, item in value.items()}
        case list() | tuple():
            return [_plain(item, f"{place}[{number}]") for number, item in enumerate(value)]
        case _:
            raise WorkerError(
                f"{place} is a {type(value).__name__}, which cannot be stored",
                hint="use text, numbers, booleans, bytes, dates, Decimal, UUID, lists or dicts",
            )


def _whole_characters(text: str) -> str:
    """`text` as UTF-8 can hold it: JSON allows halves of a surrogate pair, and APIs that cut text at 255 send them."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def rfc3339_text(moment: datetime) -> str:
    """RFC 3339 with the offset it has, `Z` for UTC; a naive time stays without one, since nobody knows it here."""
    text = moment.isoformat()
    return f"{text[:-6]}Z" if moment.tzinfo is UTC and text.endswith("+00:00") else text


def _name(name: Any, place: str) -> str:
    if not isinstance(name, str):
        raise WorkerError(f"{place} has the name {name!r} inside, which is no text")
    return name


def _json_default(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime | Decimal):
        return as_text(value)
    raise TypeError(f"{type(value).__name__} is not plain")


_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_json_default, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
