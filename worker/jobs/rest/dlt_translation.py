"""A family of resources in the words of dlt's REST source, with our session, our paging and our reading of errors.

dlt puts a parent's values into a path as they are, and takes none that are nested. So each row of a parent carries what
its children ask with, ready made, under names of our own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import requests
from dlt.sources.helpers.rest_client.exceptions import IgnoreResponseException

from worker.jobs.answers import require_success
from worker.jobs.rest.dlt_paging import StylePaginator
from worker.jobs.rest.reading import GONE
from worker.jobs.rest.resource import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlt.sources.rest_api.typing import EndpointResource, RESTAPIConfig

    from worker.jobs.context import Context
    from worker.jobs.rest.place import Place
    from worker.jobs.rest.resource import Family, Resource

#: What a parent's row carries for its children, numbered by field: as it stands in a path, in a query, and as it is.
IN_PATH, IN_QUERY, AS_IT_IS = "_worker_path", "_worker_text", "_worker_value"


def translated(ctx: Context, family: Family, place: Place | None) -> RESTAPIConfig:
    """A family in dlt's own words."""
    session = cast("Any", _Lent(ctx.session))
    resources: list[Any] = [_translated(ctx, family, member, place) for member in family.members]
    # Every path is whole already, so the base is of no importance; there may be none.
    return {"client": {"base_url": ctx.url(family.root.path), "session": session}, "resources": resources}


def asked_of(family: Family, parent: Resource) -> list[str]:
    """The fields of a parent's row that its children's requests are made from."""
    return list(dict.fromkeys(name for child in family.children(parent.name) for name in child.parent_fields))


def _translated(ctx: Context, family: Family, resource: Resource, place: Place | None) -> EndpointResource:
    parent = next((member for member in family.members if member.name == resource.parent), None)
    asked = asked_of(family, parent) if parent is not None else []
    params = {name: _in_dlts_words(value, asked, IN_QUERY) for name, value in resource.params.items()}
    if parent is None and place is not None:
        params.update(place.params)
    endpoint: dict[str, Any] = {
        "path": _in_dlts_words(ctx.url(resource.path), asked, IN_PATH),
        "params": params,
        "paginator": StylePaginator(resource, place if parent is None else None),
        "response_actions": [_checking(ctx, is_root=parent is None)],
    }
    if resource.rows is not None:
        endpoint["data_selector"] = ".".join(f'"{part}"' for part in resource.rows.split("."))
    taken = [f"{AS_IT_IS}{asked.index(name)}" for name in resource.parent_fields]
    return cast("EndpointResource", {"name": resource.name, "endpoint": endpoint, "include_from_parent": taken})


def _in_dlts_words(value: Any, asked: list[str], form: str) -> Any:
    """`{customers.id}` becomes `{resources.customers._worker_path0}`, and any other brace is doubled."""
    if not isinstance(value, str):
        return value
    parts: list[str] = []
    end = 0
    for found in PLACEHOLDER.finditer(value):
        place = f"{{resources.{found[1]}.{form}{asked.index(found[2])}}}" if found[2] in asked else _doubled(found[0])
        parts += [_doubled(value[end : found.start()]), place]
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
        if not response.content:  # a list without rows, to some: dlt would look for JSON
            raise IgnoreResponseException

    return check


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
