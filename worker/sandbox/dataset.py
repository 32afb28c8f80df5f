"""The changes that happen to the rows behind the API.

A row's `LastModifiedDateTime` is never before its `CreatedDateTime`; queries rely on it. Moments only grow, but a
change may become visible later than its moment says, as one does whose transaction takes its time to commit.
"""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING

from worker.sandbox.tables import Row, Table, Tables
from worker.sandbox.values import TICKS, TICKS_PER_MS, Group, Instant, Local

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    #: Makes a row: collection, number, moment of its creation, and the number of what it is a part of, if given.
    NewRow = Callable[[str, int, int, int | None], Row]

#: Minutes by which the times of merge requests are written ahead of UTC.
MERGE_OFFSET = 780
#: A contact's registrations and orders, by collection and the title of the link.
OF_CONTACT = {"registrations": "Contact", "orders": "BillToContact"}


class Dataset:
    """All tables, and the changes that tests ask for. `now` is seconds since 1970, `late` how much later one shows."""

    def __init__(self, tables: Tables, new_row: NewRow, seed: int, latest: int) -> None:
        """`latest` is a moment (ticks) that no row begins after."""
        self.tables = tables
        #: Contacts that were merged away, with the contact that each became.
        self.merged: dict[int, int] = {}
        self._new_row = new_row
        self._random = random.Random(f"changes {seed}")
        self._last = latest
        self._late: list[tuple[float, Callable[[], None]]] = []

    def settle(self, now: float) -> None:
        """Let changes show whose time has come."""
        due = [change for at, change in self._late if at <= now]
        self._late = [(at, change) for at, change in self._late if at > now]
        for change in due:
            change()

    def touch(
        self, collection: str, numbers: Sequence[int], now: float, *, equal: bool = False, late: float = 0.0
    ) -> list[int]:
        """Change rows: a new `LastModifiedDateTime` each and a rewritten text.

        `equal`: one moment for all, a whole millisecond, which is what a filter that says "later than" passes over.
        """
        first = self._later(now, TICKS_PER_MS if equal else 1)
        moments = [first if equal or not place else self._later(now) for place in range(len(numbers))]
        self._show(now, late, lambda: self._revise(collection, dict(zip(numbers, moments, strict=True))))
        return list(numbers)

    def pick(self, collection: str, count: int) -> list[int]:
        """Numbers of up to `count` different rows, drawn by the seed."""
        numbers = sorted(self.tables[collection].rows)
        return self._random.sample(numbers, min(count, len(numbers)))

    def insert(
        self,
        collection: str,
        count: int,
        now: float,
        *,
        equal: bool = False,
        late: float = 0.0,
        owner: int | None = None,
    ) -> list[int]:
        """New rows behind the last number, created now; parts of `owner`, or of something drawn by the seed."""
        table, rows, moment = self.tables[collection], list[Row](), self._later(now)
        wholes = self._wholes(table)
        for _ in range(count if wholes is None or wholes.rows else 0):
            table.last_number += 1
            whole = owner if wholes is None or owner is not None else self._random.choice(list(wholes.rows))
            rows.append(self._new_row(collection, table.last_number, moment, whole))
            moment = moment if equal else self._later(now)
        self._show(now, late, lambda: self._add(table, rows))
        return [row.number for row in rows]

    def delete(self, collection: str, numbers: Sequence[int], now: float) -> list[int]:
        """Remove rows, with their parts; whatever else refers to them keeps a link that answers 404."""
        table = self.tables[collection]
        gone = [table.rows.pop(number) for number in numbers]
        table.changed()
        self._renew_wholes(table, gone, self._later(now))
        for relation in table.resource.relations:
            target = self.tables[relation.target] if relation.many else None
            if target is not None and target.resource.part_of:
                for number in numbers:
                    for part in list(target.group(relation.back, number)):
                        del target.rows[part.number]
                target.changed()
        return list(numbers)

    def merge(self, source: int, destination: int, now: float, *, renew: bool) -> int:
        """Merge a contact into another: what refers to it refers to that one then. Answers the request's number.

        `renew`: whether the registrations and orders that are moved count as modified; Arlo does not say.
        """
        contacts, requests = self.tables["contacts"], self.tables["contactmergerequests"]
        gone, moment = contacts.rows.pop(source), self._later(now)
        contacts.changed()
        self.merged[source] = destination
        for collection, title in OF_CONTACT.items():
            table = self.tables[collection]
            moved = list(table.group(title, source))
            for row in moved:
                row.references[title] = destination
                if renew:
                    row.values["LastModifiedDateTime"] = Instant(moment)
            table.changed(moved)
        requests.last_number += 1
        request = _merge_request(requests.last_number, (gone, contacts.rows[destination]), moment, self._random)
        requests.rows[request.number] = request
        requests.changed()
        return request.number

    def shown(self, collection: str) -> list[dict[str, str]]:
        """Every row's values as text, by number: the truth that a sync is compared with."""
        table = self.tables[collection]
        return [table.rows[number].shown(table.resource) for number in sorted(table.rows)]

    def _show(self, now: float, late: float, change: Callable[[], None]) -> None:
        if late > 0:
            self._late.append((now + late, change))
        else:
            change()

    def _revise(self, collection: str, moments: dict[int, int]) -> None:
        """Rows that were changed since or are gone stay as they are: whoever came later had to wait for the lock."""
        table = self.tables[collection]
        rows = [table.rows[number] for number in moments if number in table.rows]
        rows = [row for row in rows if moments[row.number] > _modified(row)]
        for row in rows:
            row.revision += 1
            row.values[table.resource.revised] = f"Revision {row.revision}"
            row.values["LastModifiedDateTime"] = Instant(moments[row.number])
        table.changed(rows)
        self._renew_wholes(table, rows, max(moments.values(), default=0))

    def _add(self, table: Table, rows: list[Row]) -> None:
        wholes = self._wholes(table)
        if wholes is not None:  # what they were to be parts of may be gone by now
            rows = [row for row in rows if row.references[table.resource.part_of] in wholes.rows]
        table.rows.update((row.number, row) for row in rows)
        table.changed()
        self._renew_wholes(table, rows, max((_modified(row) for row in rows), default=0))

    def _renew_wholes(self, table: Table, parts: Sequence[Row], moment: int) -> None:
        """What the rows are parts of counts as modified."""
        wholes, title = self._wholes(table), table.resource.part_of
        if wholes is None:
            return
        rows = [wholes.rows[number] for part in parts if (number := part.references[title]) in wholes.rows]
        for row in rows:
            row.values["LastModifiedDateTime"] = Instant(max(moment, _modified(row)))
        wholes.changed(rows)

    def _wholes(self, table: Table) -> Table | None:
        """The table of what these rows are parts of."""
        relation = table.resource.relation(table.resource.part_of)
        return None if relation is None else self.tables[relation.target]

    def _later(self, now: float, step: int = 1) -> int:
        """A moment after every change so far, at or after `now`; a multiple of `step` ticks."""
        self._last = -(-max(self._last + 1, int(now * TICKS)) // step) * step
        return self._last


def _modified(row: Row) -> int:
    value = row.values["LastModifiedDateTime"]
    return int(value) if isinstance(value, Instant) else 0


def _merge_request(number: int, contacts: tuple[Row, Row], moment: int, rng: random.Random) -> Row:
    source, destination = (
        Group({"ContactID": row.number, "UniqueIdentifier": str(row.values["UniqueIdentifier"])}) for row in contacts
    )
    return Row(
        number,
        {
            "RequestID": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "SourceContactInfo": source,
            "DestinationContactInfo": destination,
            "CreatedDateTime": Local(moment, MERGE_OFFSET),
        },
    )
