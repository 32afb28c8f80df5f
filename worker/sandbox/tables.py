"""Resources, their rows, and tables that keep orders and groups of rows at hand.

Every change bumps the table's version, which is what cached orders and groups are checked against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.sandbox.values import Group, Kind, Value, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: Different `orderby` that a table keeps sorted.
MAX_ORDERS = 20


@dataclass(frozen=True, slots=True)
class Relation:
    """A link from one resource to another; `title` is its name for `expand`."""

    title: str
    #: Collection it leads to.
    target: str
    #: False: to one row, whose number stands in `Row.references` under the title. True: to a sub-collection.
    many: bool = False
    #: The title under which the target's rows refer back (for `many`).
    back: str = ""
    #: The sub-collection's last path segment (for `many`).
    segment: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of resource."""

    name: str
    collection: str
    element: str
    key: str
    fields: Mapping[str, Kind]
    relations: tuple[Relation, ...]
    #: Scope that opens it (besides `all_claims`); empty when only `all_claims` does.
    scope: str
    #: The text field that a change rewrites.
    revised: str
    #: Path below the base; `{number}`, `{key}` and titles of relations to one are filled in.
    place: str
    #: The title of the link to the resource that this one is a part of: a change here is a change of that one.
    part_of: str = ""

    def relation(self, title: str) -> Relation | None:
        """The relation of that title."""
        return next((one for one in self.relations if one.title == title), None)


@dataclass(slots=True, eq=False)
class Row:
    """One resource: its values in the order of the document (absent ones are left out) and whom it refers to."""

    number: int
    values: dict[str, Value]
    references: dict[str, int] = field(default_factory=dict)
    revision: int = 0
    #: Cached document without expansion.
    document: str = ""

    def path(self, resource: Resource) -> str:
        """Path below the base."""
        return resource.place.format(number=self.number, key=self.values.get(resource.key), **self.references)

    def shown(self, resource: Resource) -> dict[str, str]:
        """The fields as text, those of a group under `Group/Name`, and the references as `Title/ID`."""
        texts = {f"{title}/ID": str(number) for title, number in self.references.items()}
        for name, value in self.values.items():
            if name not in resource.fields:
                continue
            if isinstance(value, Group):
                texts |= {f"{name}/{inner}": shown(one) for inner, one in value.items()}
            else:
                texts[name] = shown(value)
        return texts


class Table:
    """All rows of one resource, by number."""

    def __init__(self, resource: Resource, rows: Iterable[Row]) -> None:
        self.resource = resource
        self.rows: dict[int, Row] = {row.number: row for row in rows}
        #: Highest number ever used; deleted ones do not come back.
        self.last_number = max(self.rows, default=0)
        self.version = 0
        self._orders: dict[object, tuple[int, list[Row]]] = {}
        self._groups: dict[str, tuple[int, dict[int, list[Row]]]] = {}

    def changed(self, rows: Iterable[Row] = ()) -> None:
        """Forget what was cached about these rows and about the table."""
        self.version += 1
        for row in rows:
            row.document = ""

    def ordered(self, name: object, order: Callable[[list[Row]], list[Row]]) -> list[Row]:
        """All rows in an order, kept under `name` until the table changes; a stale order is sorted again cheaply."""
        version, rows = self._orders.get(name, (-1, []))
        if version != self.version:
            rows = order(list(self.rows.values()))
            if len(self._orders) > MAX_ORDERS:
                self._orders.clear()
            self._orders[name] = (self.version, rows)
        return rows

    def group(self, title: str, number: int) -> list[Row]:
        """The rows that refer to a number under a title, in the order of their own numbers."""
        version, groups = self._groups.get(title, (-1, {}))
        if version != self.version:
            groups = {}
            for row in self.rows.values():
                if title in row.references:
                    groups.setdefault(row.references[title], []).append(row)
            self._groups[title] = (self.version, groups)
        return groups.get(number, [])


class Tables(Mapping[str, Table]):
    """Tables by collection, each made when it is first asked for: most tests look at one of them."""

    def __init__(self, makers: Mapping[str, tuple[int, Callable[[], Table]]]) -> None:
        #: Rows that a table begins with, and how to make it.
        self._makers = makers
        self._made: dict[str, Table] = {}

    def __getitem__(self, collection: str) -> Table:
        if collection not in self._made:
            self._made[collection] = self._makers[collection][1]()
        return self._made[collection]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def sizes(self) -> dict[str, int]:
        """Rows by collection, without making any."""
        return {
            name: len(self._made[name].rows) if name in self._made else count
            for name, (count, _) in self._makers.items()
        }
