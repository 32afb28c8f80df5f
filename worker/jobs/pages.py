"""A collection, page by page: asks, finds the rows, asks for what follows, and never asks for the same page twice.

Paging goes wrong silently, so every doubt is an error: an API that ignores the cursor and answers with its first page
for ever, a next link that leads to another host (the session would send no token there), a collection that says it
has more than it shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError
from worker.jobs.addresses import origin
from worker.jobs.page_rows import dig, find_rows, read_body
from worker.jobs.paging import PageAnswer, PageRequest, style_of, total_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import requests

    from worker.jobs.page_rows import RowsFrom
    from worker.jobs.paging import Style

    #: GETs a URL with parameters; raises for anything but a success.
    Fetch = Callable[[str, Mapping[str, Any]], requests.Response]


@dataclass(frozen=True)
class Page:
    """Some rows of a collection, at least one."""

    rows: list[dict[str, Any]]
    response: requests.Response
    #: Counts the pages handed out, from 1.
    number: int
    #: Rows of the whole collection, where the answer says how many.
    total: int | None = None

    def last(self, name: str) -> Any:
        """A field of the last row, e.g. for the cursor; a dotted path reaches into nested objects.

        Raises WorkerError when the last row has no such field: a cursor that silently stays empty would sync
        everything again and again.
        """
        value = dig(self.rows[-1], name)
        if value is None:
            known = ", ".join(map(repr, self.rows[-1]))
            raise WorkerError(f"the last row of page {self.number} has no {name!r}; it has {known}")
        return value


@dataclass(frozen=True)
class Collection:
    """What to page through."""

    #: Absolute URL of the first page.
    url: str
    params: Mapping[str, Any]
    rows: RowsFrom = None
    style: str | Style = "auto"
    #: Origins besides the URL's own to which a next link may lead (`https://host:443`).
    origins: frozenset[str] = frozenset()


def paginate(fetch: Fetch, collection: Collection) -> Iterator[Page]:
    """The pages that hold rows, first to last. Raises WorkerError as the module's docstring says."""
    style = style_of(collection.style)
    request: PageRequest | None = PageRequest(collection.url, style.first(collection.params))
    asked: set[int] = set()
    largest = number = 0
    while request is not None:
        guard(request, asked, collection)
        response = fetch(request.url, request.params)
        body = read_body(response, required=not callable(collection.rows))
        rows = find_rows(response, body, collection.rows)
        largest = max(largest, len(rows))
        answer = PageAnswer(request, response, body, rows, largest, len(asked) - 1)
        if rows:
            number += 1
            yield Page(rows, response, number, total_of(body))
        request = style.following(answer)


def guard(request: PageRequest, asked: set[int], collection: Collection) -> None:
    """Refuse a page that was asked for before, or that another host is to answer.

    Requests are kept as hashes: a million pages then cost 64 MB instead of hundreds.
    """
    mark = hash((request.url, tuple(sorted((name, str(value)) for name, value in request.params.items()))))
    if mark in asked:
        raise WorkerError(
            f"paging through {collection.url} goes in circles: the API names a page as next that it has given before",
            hint="check the paging style and its parameter names (worker.jobs.paging)",
        )
    asked.add(mark)
    there = origin(request.url)
    if there != origin(collection.url) and there not in collection.origins:
        raise WorkerError(
            f"paging through {collection.url}: the next page is said to be at {there or 'no URL'}, another origin",
            hint="add it to api_origins of the integration if the token may go there",
        )
