"""Our ways of paging as one of dlt's paginators: the same settings mean the same, and a list that goes in circles or
leads to another origin is an error here as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlt.sources.helpers.rest_client.paginators import BasePaginator

from worker.errors import WorkerError
from worker.jobs.addresses import plain
from worker.jobs.answers import server_time
from worker.jobs.page_rows import find_rows, read_body
from worker.jobs.pages import Collection, guard
from worker.jobs.paging import PageAnswer, PageRequest
from worker.jobs.rest.reading import require_field
from worker.jobs.rest.resource import values_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from requests import Request, Response

    from worker.jobs.rest.place import Place
    from worker.jobs.rest.resource import Resource


class StylePaginator(BasePaginator):
    """Pages through one list at a time; dlt copies it for each parent's row."""

    def __init__(self, resource: Resource, place: Place | None) -> None:
        super().__init__()
        self._resource = resource
        self._place = place

    def init_request(self, request: Request) -> None:
        """Make the first request. See BasePaginator."""
        style = self._resource.style
        self._collection = Collection(str(request.url), request.params, self._resource.rows, style)
        self._asked: set[int] = set()
        self._largest = 0
        self._has_next_page = True
        self._ask(PageRequest(str(request.url), style.first(request.params)))
        self.update_request(request)

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Find what follows. See BasePaginator."""
        body = read_body(response, required=True)
        rows = find_rows(response, body, self._resource.rows)
        taken = data or []
        if len(taken) != len(rows) or taken[:1] != rows[:1]:  # dlt guesses where rows are, and takes an object for one
            raise WorkerError(
                f"the answer of {plain(response.url)} has its rows in more than one place, so it seems",
                hint='name it: rows = "some.path" of the resource',
            )
        self._largest = max(self._largest, len(rows))
        answer = PageAnswer(self._request, response, body, rows, self._largest, len(self._asked) - 1)
        following = self._resource.style.following(answer)
        if self._place is not None and self._see(self._place, response, rows):
            following = None
        self._has_next_page = following is not None
        if following is not None:
            self._ask(following)

    def update_request(self, request: Request) -> None:
        """Turn the request into the next one. See BasePaginator."""
        request.url, request.params = self._request.url, dict(self._request.params)

    def _see(self, place: Place, response: Response, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Take note of how far the page has come; answers whether that is far enough."""
        place.answered(server_time(response))
        if self._resource.increment is not None:
            values = values_of(rows, self._resource.increment)
            require_field(self._resource, rows, values)
            place.see(values)
        return place.passed

    def _ask(self, request: PageRequest) -> None:
        guard(request, self._asked, self._collection)
        self._request = request
