"""The job behind `uses = "rest"`: reads each collection page by page, with what hangs below it.

Rows with a key are committed as they come, and the place only where it is safe: at the end of a collection, or with
each page where the API sorts. Rows without a key would be there twice after a failure, so they wait for the end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.errors import UsageFault, WorkerError
from worker.jobs.answers import server_time
from worker.jobs.rest.place import Place
from worker.jobs.rest.resource import families, filled, filled_params, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.jobs.context import Context
    from worker.jobs.pages import Page
    from worker.jobs.rest.resource import Family, Resource

#: Rows after which a commit is worth its cost, at the next page's end.
_COMMIT_ROWS = 1000
#: The parent was listed, and its child is gone meanwhile.
GONE = frozenset({404, 410})


def read_resources(ctx: Context, resources: Sequence[Resource]) -> None:
    """Read all of them, root by root. What one root has delivered stays when another fails."""
    for family in wanted_families(ctx, resources):
        _FamilyReading(ctx, family).run()


def wanted_families(ctx: Context, resources: Sequence[Resource]) -> list[Family]:
    """The families to read: all of them, but in a backfill only those that can be asked for a time."""
    found = families(resources)
    if ctx.since is None:
        return found
    for family in found:
        if family.root.increment is None:
            ctx.log.info("read whole each time, so no part of a backfill", extra={"resource": family.root.name})
    return [family for family in found if family.root.increment is not None]


def place_of(ctx: Context, root: Resource) -> Place | None:
    """Where a root's cursor stands; None when it is read whole each time.

    A backfill begins and ends where it was told. Raises UsageFault where the field counts numbers.
    """
    if root.increment is None:
        return None
    increment, until = root.increment, ctx.until
    if ctx.since is not None:
        if isinstance(increment.initial, int):
            raise UsageFault(f"{root.name} counts {increment.field} in numbers, and a backfill asks for times")
        increment = replace(increment, initial=ctx.since)
    return Place(root.name, increment, ctx.cursor.get(root.name), until)


def require_field(resource: Resource, rows: Sequence[Mapping[str, Any]], values: Sequence[Any]) -> None:
    """Raise WorkerError when no row of a page has the field that the cursor is made of: it would never move."""
    if resource.increment is not None and rows and not values:
        known = ", ".join(map(repr, rows[-1]))
        raise WorkerError(
            f"no row of a page of {resource.name} has {resource.increment.field!r}; they have {known}",
            hint="mend field in incremental of the resource",
        )


class _FamilyReading:
    """One run of one root."""

    def __init__(self, ctx: Context, family: Family) -> None:
        self._ctx = ctx
        self._family = family
        self._place = place_of(ctx, family.root)
        self._uncommitted = 0

    def run(self) -> None:
        root = self._family.root
        params = {**root.params, **(self._place.params if self._place else {})}
        for page in self._ctx.pages(root.path, params=params, rows=root.rows, style=root.style):
            self._see(page)
            self._deliver(root, page.rows, {})
            if self._family.repeatable and self._uncommitted >= _COMMIT_ROWS:
                self._commit(at_the_end=False)
            if self._place is not None and self._place.passed:
                break
        for member in self._family.members:
            if member.deletions:
                self._ctx.seen(member.table, [], key=member.key)  # the key is known although the list may be empty
                self._ctx.complete(member.table)
        self._commit(at_the_end=True)

    def _see(self, page: Page) -> None:
        root = self._family.root
        if self._place is None or root.increment is None:
            return
        self._place.answered(server_time(page.response))
        values = values_of(page.rows, root.increment)
        require_field(root, page.rows, values)
        try:
            self._place.see(values)
        except WorkerError:
            if root.increment.ascending:  # what earlier pages have claimed does not hold
                self._ctx.checkpoint(**{root.name: self._place.stored})
            raise

    def _deliver(self, resource: Resource, rows: Sequence[Mapping[str, Any]], inherited: Mapping[str, Any]) -> None:
        shaped = [{**resource.shaped(row), **inherited} for row in rows]
        self._ctx.emit(resource.table, shaped, key=resource.key or None)
        self._uncommitted += len(shaped)
        for child in self._family.children(resource.name):
            for row in rows:
                self._read_child(child, row)

    def _read_child(self, child: Resource, parent_row: Mapping[str, Any]) -> None:
        path = filled(child.path, parent_row, in_path=True)
        params = filled_params(child.params, parent_row)
        inherited = child.inherited(parent_row)
        try:
            for page in self._ctx.pages(path, params=params, rows=child.rows, style=child.style):
                self._deliver(child, page.rows, inherited)
        except WorkerError as error:
            if error.evidence.get("status") not in GONE:
                raise
            self._ctx.log.info("a parent's rows are gone", extra={"resource": child.name, "path": path})

    def _commit(self, *, at_the_end: bool) -> None:
        root, place = self._family.root, self._place
        values: dict[str, Any] = {}
        if place is not None and (at_the_end or (root.increment is not None and root.increment.ascending)):
            place.advance()
            values[root.name] = place.value
        self._ctx.checkpoint(**values)
        self._uncommitted = 0
