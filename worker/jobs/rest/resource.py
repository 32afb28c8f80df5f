"""One collection of a REST API, and the rows that hang below it. A parent stands before its children, and what is below
one root is read and committed together: a child's place is its parent's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from worker.errors import WorkerError
from worker.jobs.page_rows import dig
from worker.jobs.paging import Auto

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.jobs.paging import Style

PLACEHOLDER = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\.([^{}\s]+)\}")


@dataclass(frozen=True)
class Increment:
    """How a collection is asked for what has changed."""

    #: Dotted path of a time or a number in a row, and the query parameter it goes back in.
    field: str
    param: str
    #: What the first run asks for; None: everything.
    initial: str | int | None = None
    #: How far a run reaches back: seconds (float) for times, a count (int) for numbers.
    overlap: float = 60.0
    #: The API sorts by the field, so the cursor may move with each page.
    ascending: bool = False


@dataclass(frozen=True)
class Resource:
    """One collection."""

    name: str
    #: Under the integration's `api_base`; `{parent.field}` is filled in from a parent's row.
    path: str
    table: str
    params: Mapping[str, Any] = field(default_factory=dict)
    style: Style = field(default_factory=Auto)
    #: Dotted path of the rows; None: where most APIs have them.
    rows: str | None = None
    #: Columns; empty when rows are only ever added.
    key: tuple[str, ...] = ()
    increment: Increment | None = None
    #: Pairs of column and dotted path; None: every field.
    columns: tuple[tuple[str, str], ...] | None = None
    parent: str | None = None
    #: Fields of the parent's row that the path is made from.
    parent_fields: tuple[str, ...] = ()
    #: Whether rows that a full listing does not name are gone.
    deletions: bool = False

    def shaped(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row as it is kept."""
        if self.columns is None:
            return dict(row)
        return {column: dig(row, path) for column, path in self.columns}

    def inherited(self, parent_row: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that tell whose child a row is: `_customers_id`, as dlt calls them."""
        return {inherited_column(self.parent, name): dig(parent_row, name) for name in self.parent_fields}


def inherited_column(parent: str | None, name: str) -> str:
    """`_customers_id` for the field `id` of the parent `customers`."""
    return f"_{parent}_{name.replace('.', '_')}"


@dataclass(frozen=True)
class Family:
    """A root and everything below it, parents first."""

    root: Resource
    below: tuple[Resource, ...] = ()

    @property
    def members(self) -> tuple[Resource, ...]:
        """All of them, parents first."""
        return (self.root, *self.below)

    @property
    def repeatable(self) -> bool:
        """Whether rows may come twice without harm: then they are committed page by page."""
        return all(member.key for member in self.members)

    def children(self, name: str) -> list[Resource]:
        """What hangs directly below a member."""
        return [member for member in self.below if member.parent == name]


def families(resources: Sequence[Resource]) -> list[Family]:
    """The resources by root, in their order. A parent has to stand before its children."""
    roots: dict[str, str] = {}
    found: dict[str, list[Resource]] = {}
    for resource in resources:
        root = resource.name if resource.parent is None else roots[resource.parent]
        roots[resource.name] = root
        found.setdefault(root, []).append(resource)
    return [Family(first, tuple(below)) for first, *below in found.values()]


def filled(text: str, row: Mapping[str, Any], *, in_path: bool) -> str:
    """`/customers/{customers.id}/notes` for a row of customers. Raises WorkerError when the row lacks the field.

    In a path the value is percent-encoded whole, so that no value can lead elsewhere.
    """

    def value(match: re.Match[str]) -> str:
        found = field_text(row, match[1], match[2])
        return path_part(found) if in_path else found

    return PLACEHOLDER.sub(value, text)


def field_text(row: Mapping[str, Any], resource: str, name: str) -> str:
    """A field as it stands in a path or a query. Raises WorkerError when the row has nothing fit for that."""
    found = dig(row, name)
    if found is None or isinstance(found, dict | list):
        known = ", ".join(map(repr, row))
        raise WorkerError(f"a row of {resource} has no {name!r} to ask with; it has {known}")
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found)


def path_part(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")


def filled_params(params: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Query parameters for a parent's row."""
    return {
        name: filled(value, row, in_path=False) if isinstance(value, str) else value for name, value in params.items()
    }


def values_of(rows: Iterable[Mapping[str, Any]], increment: Increment) -> list[Any]:
    """What the rows hold in the incremental field, nothings left out."""
    return [value for row in rows if (value := dig(row, increment.field)) is not None]
