"""The rows behind the API: resources, tables, and the changes that happen to them.

Every change bumps the table's version, which is what cached orders and indexes are checked against. A row's
`LastModifiedDateTime` is never before its `CreatedDateTime`; queries rely on it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.sandbox.values import TICKS, Instant, Kind, Value, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


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
    #: Path below the base; `{number}` and titles of relations to one are filled in.
    place: str

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
        return resource.place.format(number=self.number, **self.references)


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


class Dataset:
    """All tables, and the changes that tests ask for. `now` is seconds since 1970."""

    def __init__(self, tables: Mapping[str, Table], new_row: Callable[[str, int, int], Row], seed: int) -> None:
        self.tables = tables
        self._new_row = new_row
        self._random = random.Random(f"changes {seed}")
        self._last = max((_modified(row) for table in tables.values() for row in table.rows.values()), default=0)

    def touch(self, collection: str, numbers: Sequence[int], now: float, *, equal: bool = False) -> list[int]:
        """Change rows: a new `LastModifiedDateTime` each (one for all if `equal`) and a rewritten text."""
        table = self.tables[collection]
        moment = self._later(now)
        for number in numbers:
            row = table.rows[number]
            row.revision += 1
            row.values[table.resource.revised] = f"Revision {row.revision}"
            row.values["LastModifiedDateTime"] = Instant(moment)
            moment = moment if equal else self._later(now)
        table.changed(table.rows[number] for number in numbers)
        return list(numbers)

    def pick(self, collection: str, count: int) -> list[int]:
        """Numbers of up to `count` different rows, drawn by the seed."""
        numbers = sorted(self.tables[collection].rows)
        return self._random.sample(numbers, min(count, len(numbers)))

    def insert(self, collection: str, count: int, now: float, *, equal: bool = False) -> list[int]:
        """New rows behind the last number, created now."""
        table, numbers, moment = self.tables[collection], list[int](), self._later(now)
        for _ in range(count):
            table.last_number += 1
            row = self._new_row(collection, table.last_number, moment)
            table.rows[row.number] = row
            numbers.append(row.number)
            moment = moment if equal else self._later(now)
        table.changed()
        return numbers

    def delete(self, collection: str, numbers: Sequence[int]) -> list[int]:
        """Remove rows; what refers to them keeps a link that answers 404."""
        table = self.tables[collection]
        for number in numbers:
            del table.rows[number]
        table.changed()
        return list(numbers)

    def shown(self, collection: str) -> list[dict[str, str]]:
        """Every row's values as text, by number: the truth that a sync is compared with."""
        rows = self.tables[collection].rows
        return [{name: shown(value) for name, value in rows[number].values.items()} for number in sorted(rows)]

    def _later(self, now: float) -> int:
        """A moment after every change so far, at or after `now`."""
        self._last = max(self._last + 1, int(now * TICKS))
        return self._last


def _modified(row: Row) -> int:
    value = row.values["LastModifiedDateTime"]
    return int(value) if isinstance(value, Instant) else 0
