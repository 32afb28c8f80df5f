"""The job behind `uses = "rest"` for sinks of dlt: the same resources, read by dlt's REST source through our session.

dlt builds the requests, walks from parents to children and takes the answers apart. Ours are the session (so a token
that dies in the middle is refreshed once, and a run's deadline ends the next request), the paging, what an error means,
and the place: it moves with our checkpoint, after dlt's load. dlt's own incremental state is not used.

One load costs seconds, so rows are committed root by root and not page by page.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import requests
from dlt.sources.rest_api import rest_api_source

from worker.errors import WorkerError
from worker.jobs.page_rows import dig
from worker.jobs.rest.dlt_translation import AS_IT_IS, IN_PATH, IN_QUERY, asked_of, translated
from worker.jobs.rest.reading import place_of, wanted_families
from worker.jobs.rest.resource import field_text, inherited_column, path_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from worker.jobs.context import Context
    from worker.jobs.rest.place import Place
    from worker.jobs.rest.resource import Family, Resource

#: Rows handed on at once.
_CHUNK = 500


class _Row(dict[str, Any]):
    """A row that knows whose it is: dlt hands out those of all resources in one stream."""

    __slots__ = ("resource",)

    def __init__(self, row: Mapping[str, Any], resource: Resource) -> None:
        super().__init__(row)
        self.resource = resource


def read_with_dlt(ctx: Context, resources: Sequence[Resource]) -> None:
    """Read all of them, root by root. What one root has delivered stays when another fails."""
    for family in wanted_families(ctx, resources):
        _read_family(ctx, family)


def _read_family(ctx: Context, family: Family) -> None:
    root, place = family.root, place_of(ctx, family.root)
    shapings = [(member, _shaping(family, member)) for member in family.members]
    for rows in _chunks(_rows(ctx, family, place)):
        for member, shaped in shapings:
            own_rows = [shaped(row) for row in rows if row.resource is member]
            ctx.emit(member.table, own_rows, key=member.key or None)
    if place is None:
        ctx.checkpoint()
        return
    place.advance()
    ctx.checkpoint(**{root.name: place.value})


def _rows(ctx: Context, family: Family, place: Place | None) -> Iterator[_Row]:
    """Every row of the family as dlt reads them. Raises what session or API have raised, out of dlt's wrapping."""
    source = rest_api_source(translated(ctx, family, place), name="rest")
    for member in family.members:
        source.resources[member.name].add_map(_tagging(member, asked_of(family, member)))
    _log_as_we_do()
    try:
        yield from source
    except Exception as error:
        cause = _ours(error)
        if cause is not None:
            raise cause from None
        raise


def _log_as_we_do() -> None:
    """By itself dlt writes to standard error, past our format and past the scrubbing."""
    logger = logging.getLogger("dlt")
    logger.handlers.clear()
    logger.propagate = True


def _tagging(resource: Resource, asked: Sequence[str]) -> Callable[[Any], _Row]:
    def tagged(row: Any) -> _Row:
        if not isinstance(row, dict):
            raise WorkerError(f"a row of {resource.name} is no object but a {type(row).__name__}")
        made = _Row(row, resource)
        for number, name in enumerate(asked):
            text = field_text(row, resource.name, name)
            made[f"{IN_PATH}{number}"] = path_part(text)
            made[f"{IN_QUERY}{number}"] = text
            made[f"{AS_IT_IS}{number}"] = dig(row, name)
        return made

    return tagged


def _shaping(family: Family, resource: Resource) -> Callable[[_Row], dict[str, Any]]:
    """Makes a row as it is kept: with its parent's fields, and without what was added for its children."""
    parent = next((member for member in family.members if member.name == resource.parent), None)
    asked = [] if parent is None else asked_of(family, parent)
    inherited = [
        (inherited_column(resource.parent, name), f"_{resource.parent}_{AS_IT_IS}{asked.index(name)}")
        for name in resource.parent_fields
    ]
    numbers = range(len(asked_of(family, resource)))
    added = [f"{form}{number}" for form in (IN_PATH, IN_QUERY, AS_IT_IS) for number in numbers]

    def shaped(row: _Row) -> dict[str, Any]:
        taken = {column: row.pop(key, None) for column, key in inherited}
        for key in added:
            del row[key]
        return {**resource.shaped(row), **taken}

    return shaped


def _chunks(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    chunk: list[_Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _ours(error: BaseException) -> BaseException | None:
    """The error that dlt has wrapped, if it is one of ours or of the network."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        if isinstance(one, WorkerError | requests.RequestException):
            return one
        seen.append(one)
        one = one.__cause__ or one.__context__
    return None
