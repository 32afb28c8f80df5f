"""The job behind `uses = "rest"` for sinks of dlt: the same resources, read by dlt's REST source through our session.

dlt builds the requests, walks from parents to children and takes the answers apart. Ours are the session (so a token
that dies in the middle is refreshed once, and a run's deadline ends the next request), the paging, what an error means,
and the place: it moves with our checkpoint, after dlt's load. dlt's own incremental state is not used.

One load costs seconds, so rows are committed root by root and not page by page.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import requests
from dlt.sources.helpers.rest_client.exceptions import IgnoreResponseException
from dlt.sources.rest_api import rest_api_source

from worker.errors import JobUnusable, WorkerError
from worker.jobs.answers import require_success
from worker.jobs.rest.dlt_paging import StylePaginator
from worker.jobs.rest.reading import GONE, place_of, require_field
from worker.jobs.rest.resource import PLACEHOLDER, families, inherited_column, values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dlt.sources.rest_api.typing import EndpointResource, RESTAPIConfig

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


class _Lent(requests.Session):
    """A session that stays the same when dlt copies its configuration to check it."""

    def __init__(self, session: requests.Session) -> None:
        self._session = session

    def __getattribute__(self, name: str) -> Any:
        if name in {"__class__", "__deepcopy__"}:
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "_session"), name)

    def __deepcopy__(self, _known: dict[int, Any]) -> _Lent:
        return self


def read_with_dlt(ctx: Context, resources: Sequence[Resource]) -> None:
    """Read all of them, root by root. What one root has delivered stays when another fails."""
    for family in families(resources):
        _read_family(ctx, family)


def _read_family(ctx: Context, family: Family) -> None:
    root, place = family.root, place_of(ctx, family.root)
    for rows in _chunks(_rows(ctx, family, place)):
        if place is not None and root.increment is not None:
            own = [row for row in rows if row.resource is root]
            values = values_of(own, root.increment)
            require_field(root, own, values)
            place.see(values)
        for member in family.members:
            shaped = [_shaped(row) for row in rows if row.resource is member]
            ctx.emit(member.table, shaped, key=member.key or None)
    if place is None:
        ctx.checkpoint()
        return
    place.advance()
    ctx.checkpoint(**{root.name: place.value})


def _rows(ctx: Context, family: Family, place: Place | None) -> Iterator[_Row]:
    """Every row of the family as dlt reads them. Raises what session or API have raised, out of dlt's wrapping."""
    source = rest_api_source(translated(ctx, family, place), name="rest")
    for member in family.members:
        source.resources[member.name].add_map(_tagging(member))
    try:
        yield from source
    except Exception as error:
        cause = _ours(error)
        if cause is not None:
            raise cause from None
        raise


def _tagging(resource: Resource) -> Callable[[Any], _Row]:
    def tagged(row: Any) -> _Row:
        if not isinstance(row, dict):
            raise WorkerError(f"a row of {resource.name} is no object but a {type(row).__name__}")
        return _Row(row, resource)

    return tagged


def translated(ctx: Context, family: Family, place: Place | None) -> RESTAPIConfig:
    """A family in dlt's own words."""
    session = cast("Any", _Lent(ctx.session))
    resources: list[Any] = [_translated(ctx, member, place) for member in family.members]
    return {"client": {"base_url": ctx.url("/"), "session": session}, "resources": resources}


def _translated(ctx: Context, resource: Resource, place: Place | None) -> EndpointResource:
    is_root = resource.parent is None
    params = {name: _in_dlts_words(value) for name, value in resource.params.items()}
    if is_root and place is not None:
        params.update(place.params)
    endpoint: dict[str, Any] = {
        "path": _in_dlts_words(ctx.url(resource.path)),
        "params": params,
        "paginator": StylePaginator(resource, place if is_root else None),
        "response_actions": [_checking(ctx, is_root=is_root)],
    }
    if resource.rows is not None:
        endpoint["data_selector"] = ".".join(f'"{part}"' for part in resource.rows.split("."))
    nested = next((name for name in resource.parent_fields if "." in name), None)
    if nested is not None:
        raise JobUnusable(
            f"{resource.name}: dlt takes only fields at the top of a parent's row, and {nested!r} is not one",
            hint="choose another field, or a sink of another type",
        )
    parent = {"include_from_parent": list(resource.parent_fields)} if resource.parent_fields else {}
    return cast("EndpointResource", {"name": resource.name, "endpoint": endpoint, **parent})


def _in_dlts_words(value: Any) -> Any:
    """`{customers.id}` is `{resources.customers.id}` there, and any other brace is doubled."""
    if not isinstance(value, str):
        return value
    parts: list[str] = []
    end = 0
    for found in PLACEHOLDER.finditer(value):
        parts += [_doubled(value[end : found.start()]), f"{{resources.{found[1]}.{found[2]}}}"]
        end = found.end()
    return "".join([*parts, _doubled(value[end:])])


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _checking(ctx: Context, *, is_root: bool) -> Callable[..., None]:
    """A hook that says what an error means as `ctx.get` does; a child that is gone is passed over."""

    def check(response: requests.Response, *_: Any, **__: Any) -> None:
        if not is_root and response.status_code in GONE:
            ctx.log.info("a parent's rows are gone", extra={"path": response.url})
            raise IgnoreResponseException
        require_success(response, now=time.time())

    return check


def _shaped(row: _Row) -> dict[str, Any]:
    resource = row.resource
    inherited = [inherited_column(resource.parent, name) for name in resource.parent_fields]
    return {**resource.shaped(row), **{name: row.get(name) for name in inherited}}


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
