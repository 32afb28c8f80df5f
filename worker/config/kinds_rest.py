"""Kinds of values that describe a REST collection: its parameters, its paging, its key, its fields, its increment."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from worker.config.faults import UNREAD, suggestion
from worker.config.kinds import BOOLEAN, Kind, choice, duration, list_of, text, whole_number
from worker.config.model import Increment, Paging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.config.faults import Spot

#: No white space, no fragment, and braces only as placeholders: `{customers.id}`.
_PLACEHOLDER = r"\{[A-Za-z][A-Za-z0-9_]*\.[^{}\s]+\}"
PATH_PATTERN = rf"(?:[^\s{{}}#]|{_PLACEHOLDER})+"
_PLACEHOLDERS = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\.([^{}\s]+)\}")
_TEXT = text()
_COUNT = whole_number(1, 1_000_000)
#: The settings of each paging style, as `worker.jobs.paging` names them.
STYLES: dict[str, dict[str, Kind]] = {
    "auto": {},
    "link": {},
    "next_url": {"path": _TEXT},
    "cursor": {"path": _TEXT, "parameter": _TEXT, "last_row": _TEXT, "more": _TEXT},
    "offset": {
        "limit": _COUNT,
        "offset_parameter": _TEXT,
        "limit_parameter": _TEXT,
        "total": _TEXT,
        "short_page_ends": BOOLEAN,
    },
    "page": {
        "parameter": _TEXT,
        "start": whole_number(0, 1),
        "limit": _COUNT,
        "limit_parameter": _TEXT,
        "pages": _TEXT,
        "short_page_ends": BOOLEAN,
    },
    "single": {},
}
_STYLE = choice(*STYLES)
_KEYS = list_of(_TEXT, '["id"]')


def placeholders(path: str) -> list[tuple[str, str]]:
    """`{customers.id}` in a path or a parameter -> `("customers", "id")`, in order."""
    return _PLACEHOLDERS.findall(path)


def _read_params(value: object, spot: Spot) -> Any:
    if not isinstance(value, dict):
        return spot.mistyped(value, 'a table such as { status = "all" }')
    read = {name: _read_param(content, spot.inside(name)) for name, content in value.items()}
    return UNREAD if any(item is UNREAD for item in read.values()) else read


def _read_param(value: object, spot: Spot) -> Any:
    """As it goes into the query: text, a number, or a list of them."""
    if isinstance(value, list):
        items = [_read_param(item, spot.item(number)) for number, item in enumerate(value, start=1)]
        return UNREAD if any(item is UNREAD for item in items) else items
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return value if isinstance(value, str | int | float) else spot.mistyped(value, "text, a number, or a list of them")


PARAMS = Kind("table", _read_params)


def _read_paging(value: object, spot: Spot) -> Any:
    if not isinstance(value, dict):
        style = _STYLE.read(value, spot)
        return UNREAD if style is UNREAD else Paging(style)
    style = _STYLE.read(value.get("style", "auto"), spot.inside("style"))
    if style is UNREAD:
        return UNREAD
    settings = {name: content for name, content in value.items() if name != "style"}
    read = _read_known(settings, STYLES[style], spot, f'a setting of style "{style}"')
    return UNREAD if read is None else Paging(style, read)


PAGING = Kind("style, or table { style = …, … }", _read_paging)


def _read_known(value: Mapping[str, Any], known: Mapping[str, Kind], spot: Spot, what: str) -> dict[str, Any] | None:
    """Every setting, read; None after a complaint."""
    listed = f"; there are {', '.join(known)}" if known else "; it has none"
    for name in value:
        if name not in known:
            spot.inside(name).refuse(f"not {what}{suggestion(name, known) or listed}")
    read = {name: known[name].read(content, spot.inside(name)) for name, content in value.items() if name in known}
    return None if len(read) < len(value) or any(item is UNREAD for item in read.values()) else read


def _read_key(value: object, spot: Spot) -> Any:
    read = (value,) if isinstance(value, str) and value.strip() else _KEYS.read(value, spot)
    return read or spot.refuse('empty; write primary_key = "id"')


KEY = Kind("column, or list of them", _read_key)


def _read_fields(value: object, spot: Spot) -> Any:
    """Pairs of column and dotted path."""
    if isinstance(value, dict):
        pairs = [(column, _TEXT.read(path, spot.inside(column))) for column, path in value.items()]
    elif isinstance(value, list):
        paths = [_TEXT.read(path, spot.item(number)) for number, path in enumerate(value, start=1)]
        pairs = [("" if path is UNREAD else path.replace(".", "_"), path) for path in paths]
    else:
        return spot.mistyped(value, 'a list of dotted paths, or a table such as { city = "address.city" }')
    if any(path is UNREAD for _, path in pairs):
        return UNREAD
    columns = [column for column, _ in pairs]
    twice = next((column for number, column in enumerate(columns) if column in columns[:number]), None)
    if twice is not None:
        return spot.refuse(f'two fields become the column "{twice}"; write a table of columns and paths')
    return tuple(pairs) or spot.refuse("empty; remove it to keep every field")


FIELDS = Kind("list of dotted paths, or table of column and path", _read_fields)


def _read_initial(value: object, spot: Spot) -> Any:
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bool) or not isinstance(value, str | int):
        return spot.mistyped(value, 'a time such as "2020-01-01T00:00:00Z", or a whole number')
    return value


def _read_overlap(value: object, spot: Spot) -> Any:
    """Seconds (float) for times, a count (int) for numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return whole_number(0, 10**12).read(value, spot)
    return duration(0, 366 * 86400.0).read(value, spot)


_INCREMENT = {
    "field": _TEXT,
    "param": _TEXT,
    "initial": Kind("time or number", _read_initial),
    "overlap": Kind("duration or number", _read_overlap),
    "order": choice("any", "ascending"),
}


def _read_incremental(value: object, spot: Spot) -> Any:
    example = '{ field = "updated_at", param = "since" }'
    if not isinstance(value, dict):
        return spot.mistyped(value, f"a table such as {example}")
    read = _read_known(value, _INCREMENT, spot, "an option of incremental")
    missing = [name for name in ("field", "param") if name not in value]
    for name in missing:
        spot.inside(name).refuse(f"missing; write incremental = {example}")
    return UNREAD if read is None or missing else Increment(**read)


INCREMENTAL = Kind("table { field, param, initial, overlap, order }", _read_incremental)
