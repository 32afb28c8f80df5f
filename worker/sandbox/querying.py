"""Which rows a request for a collection gets: filter, order, skip, top.

A sync that walks tens of thousands of rows by cursor asks for a filter and an order on every page, so tables keep
their orders sorted, and the start of the matching rows is found by bisection where the filter implies a lower bound
of the first sort field. `CreatedDateTime gt T` implies one of `LastModifiedDateTime`, which is never earlier.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.sandbox.filtering import OPERATORS, BadQuery, Combination, Comparison, Expression, parse_filter
from worker.sandbox.values import Local

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.sandbox.dataset import Dataset
    from worker.sandbox.tables import Resource, Row, Table

DEFAULT_TOP = 100
MAX_TOP = 250
PARAMETERS = ("top", "skip", "filter", "orderby", "expand")

Order = tuple[tuple[tuple[str, ...], bool], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One collection request, read and checked."""

    filter: Expression | None
    #: Path and whether it descends.
    order: Order
    skip: int
    top: int


def read_query(parameters: Mapping[str, str]) -> Query:
    """The query's parameters; `BadQuery` for one that is unknown or wrong."""
    unknown = [name for name in parameters if name not in PARAMETERS]
    if unknown:
        raise BadQuery(f"Unknown query parameter {unknown[0]!r}.")
    top = _count(parameters, "top", DEFAULT_TOP)
    if not 1 <= top <= MAX_TOP:
        raise BadQuery(f"top must be between 1 and {MAX_TOP}.")
    text = parameters.get("filter", "").strip()
    return Query(
        parse_filter(text) if text else None,
        tuple(_order(part) for part in parameters.get("orderby", "").split(",") if part.strip()),
        _count(parameters, "skip", 0),
        top,
    )


def _count(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name, "")
    if text and not (text.isascii() and text.isdigit()):
        raise BadQuery(f"{name} must be a whole number from 0 up.")
    return int(text) if text else default


def _order(part: str) -> tuple[tuple[str, ...], bool]:
    path, *direction = part.split()
    if direction and (len(direction) > 1 or direction[0].upper() not in {"ASC", "DESC"}):
        raise BadQuery(f"Cannot read orderby at {part.strip()!r}.")
    return tuple(path.split("/")), bool(direction) and direction[0].upper() == "DESC"


def select(dataset: Dataset, table: Table, query: Query, among: list[Row] | None = None) -> tuple[list[Row], bool]:
    """The rows of one page and whether more follow; `among` narrows to some rows of the table."""
    resource = table.resource
    matches = _matcher(dataset, resource, query.filter)
    order = query.order or (((resource.key,), False),)
    getters = [(_getter(dataset, resource, path)[0], descends) for path, descends in order]

    def in_order(rows: list[Row]) -> list[Row]:
        for get, descends in reversed(getters):
            rows.sort(key=lambda row: _sortable(get(row)), reverse=descends)
        return rows

    rows = in_order(list(among)) if among is not None else _whole_table(table, order, in_order)
    start = 0
    if query.filter is not None and not order[0][1]:
        bound = _lower_bound(query.filter, order[0][0])
        first = getters[0][0]
        start = 0 if bound is None else bisect_left(rows, (True, bound), key=lambda row: _sortable(first(row)))
    return _page(rows, start, query, matches)


def _whole_table(table: Table, order: Order, in_order: Callable[[list[Row]], list[Row]]) -> list[Row]:
    if any(len(path) > 1 for path, _ in order):
        return in_order(list(table.rows.values()))  # depends on other tables, whose versions are not watched
    return table.ordered(order, in_order)


def _page(rows: list[Row], start: int, query: Query, matches: Callable[[Row], bool] | None) -> tuple[list[Row], bool]:
    if matches is None:
        end = query.skip + query.top
        return rows[query.skip : end], len(rows) > end
    skip, page = query.skip, list[Any]()
    for place in range(start, len(rows)):
        row = rows[place]
        if not matches(row):
            continue
        if skip:
            skip -= 1
        elif len(page) == query.top:
            return page, True
        else:
            page.append(row)
    return page, False


def _sortable(value: Any) -> tuple[bool, Any]:
    """Absent values come first."""
    if value is None:
        return False, 0
    return True, value.ticks if isinstance(value, Local) else value


def _getter(dataset: Dataset, resource: Resource, path: tuple[str, ...]) -> tuple[Callable[[Row], Any], str]:
    """How to read a path from a row (None when absent), and the kind of what it yields."""
    name = path[0]
    if len(path) == 1:
        if name not in resource.fields:
            raise BadQuery(f"{resource.name} has no field {name!r}.")
        return (lambda row: row.values.get(name)), resource.fields[name]
    relation = resource.relation(name)
    if relation is None or relation.many:
        raise BadQuery(f"{resource.name} has no link {name!r} to one resource.")
    table = dataset.tables[relation.target]
    if path[1:] == (table.resource.key,):  # a column of the row itself: it stays when what it names is deleted
        return (lambda row: row.references.get(name)), table.resource.fields[path[1]]
    inner, kind = _getter(dataset, table.resource, path[1:])

    def through(row: Row) -> Any:
        other = table.rows.get(row.references.get(name, -1))
        return None if other is None else inner(other)

    return through, kind


def _matcher(dataset: Dataset, resource: Resource, part: Expression | None) -> Callable[[Row], bool] | None:
    """The filter as a function; `BadQuery` for unknown fields and values of the wrong kind."""
    if part is None:
        return None
    if isinstance(part, Comparison):
        return _comparer(dataset, resource, part)
    inner = [one for one in (_matcher(dataset, resource, each) for each in part.parts) if one is not None]
    if part.every:
        return lambda row: all(one(row) for one in inner)
    return lambda row: any(one(row) for one in inner)


def _comparer(dataset: Dataset, resource: Resource, part: Comparison) -> Callable[[Row], bool]:
    get, kind = _getter(dataset, resource, part.path)
    if kind not in part.kinds:
        raise BadQuery(f"{'/'.join(part.path)} cannot be compared with that value.")
    compare, literal, absent = OPERATORS[part.operator], part.literal, part.operator == "ne"

    def matches(row: Row) -> bool:
        value = get(row)
        if value is None:
            return absent
        return compare(value.ticks if isinstance(value, Local) else value, literal)

    return matches


def _lower_bound(part: Expression, path: tuple[str, ...]) -> Any:
    """A value that the field of every matching row reaches, None when the filter implies none."""
    if isinstance(part, Combination):
        bounds = [_lower_bound(each, path) for each in part.parts]
        known = [bound for bound in bounds if bound is not None]
        if part.every:
            return max(known, default=None)
        return min(known) if len(known) == len(bounds) else None
    same = part.path == path or (path, part.path) == (("LastModifiedDateTime",), ("CreatedDateTime",))
    return part.literal if same and part.operator in {"eq", "gt", "ge"} else None
