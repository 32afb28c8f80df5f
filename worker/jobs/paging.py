"""The ways APIs hand out a long list in parts. A style is data: it says what the first request carries and, from an
answer, what the next request is. `Auto` tells only those ways apart that an answer shows beyond doubt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin

from worker.errors import WorkerError
from worker.jobs.page_rows import dig

if TYPE_CHECKING:
    from collections.abc import Sequence

    import requests

#: Where bodies name the next page's URL, and where its cursor (with the parameter it goes back in), as `Auto` knows.
NEXT_URLS = (
    "next", "next_url", "next_page_url", "nextLink", "@odata.nextLink", "nextPageUrl", "links.next", "links.next.href",
    "_links.next", "_links.next.href", "paging.next", "paging.next.link", "pagination.next", "pagination.next_url",
    "meta.next", "meta.pagination.links.next",
)  # fmt: skip
NEXT_CURSORS = (
    ("next_cursor", "cursor"), ("nextCursor", "cursor"), ("meta.next_cursor", "cursor"),
    ("pagination.next_cursor", "cursor"), ("response_metadata.next_cursor", "cursor"), ("paging.next.after", "after"),
    ("paging.cursors.after", "after"), ("next_page_token", "page_token"), ("nextPageToken", "pageToken"),
)  # fmt: skip
#: Names which say what comes next. A value there that cannot be followed is no end.
_NEXT = tuple(dict.fromkeys((
    *NEXT_URLS, *(path for path, _ in NEXT_CURSORS if path != "paging.cursors.after"),
    *(
        f"{around}{name}"
        for around in ("", "meta.", "pagination.", "paging.", "page.", "links.", "_links.", "meta.pagination.")
        for name in ("next", "next_page", "nextPage", "next_cursor", "nextCursor", "next_offset", "nextOffset",
                     "next_token", "nextToken", "next_url", "nextUrl")
    ),
)))  # fmt: skip
#: Signs in a body that there is more than this answer.
_MORE = ("has_more", "hasMore", "has_next_page", "hasNextPage", "meta.has_more", "pagination.has_more")
_NAME_THE_WAY = 'name the way: style="offset", "page", "cursor", … in ctx.pages, or paging of the resource'
_TOTALS = ("total", "total_count", "totalCount", "totalResults", "meta.total", "pagination.total")


@dataclass(frozen=True)
class PageRequest:
    """One page to ask for."""

    url: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class PageAnswer:
    """One page as it came."""

    request: PageRequest
    response: requests.Response
    #: The JSON body; None when it is something else.
    body: Any
    rows: Sequence[Mapping[str, Any]]
    #: Rows on the largest page so far, this one included: what the server's page size really is.
    largest: int
    #: Pages asked for before this one.
    before: int = 0


class Style(Protocol):
    """A way to page."""

    def first(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The first request's parameters, made from the job's own."""

    def following(self, answer: PageAnswer) -> PageRequest | None:
        """What to ask next; None after the last page."""


@dataclass(frozen=True)
class Single:
    """One answer holds everything."""

    def first(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """See Style."""
        return dict(params)

    def following(self, answer: PageAnswer) -> PageRequest | None:  # noqa: ARG002 - there is never a next page
        """See Style."""
        return None


@dataclass(frozen=True)
class LinkHeader(Single):
    """The `Link` header field names the next page with `rel="next"` (RFC 8288)."""

    def following(self, answer: PageAnswer) -> PageRequest | None:
        """See Style."""
        for relations, link in answer.response.links.items():
            if "next" in str(relations).lower().split():
                return _target(answer, link["url"])
        return None


@dataclass(frozen=True)
class NextUrl(Single):
    """The body holds the next page's URL, absolute or relative, at a dotted path."""

    path: str = "next"

    def following(self, answer: PageAnswer) -> PageRequest | None:
        """See Style."""
        url = dig(answer.body, self.path)
        return _target(answer, str(url)) if url else None


@dataclass(frozen=True)
class Cursor(Single):
    """The body holds a token for the next page, which goes back as a query parameter."""

    #: Dotted path of the token. Empty: the token is the field `last_row` of the page's last row.
    path: str = "next_cursor"
    parameter: str = "cursor"
    last_row: str = ""
    #: Dotted path of a flag that says whether more follows; empty when the API has none.
    more: str = ""

    def following(self, answer: PageAnswer) -> PageRequest | None:
        """See Style."""
        if self.more and not dig(answer.body, self.more):
            return None
        if self.last_row:
            token = dig(answer.rows[-1], self.last_row) if answer.rows else None
        else:
            token = dig(answer.body, self.path)
        if not token:
            return None
        return PageRequest(answer.request.url, {**answer.request.params, self.parameter: token})


@dataclass(frozen=True)
class Offset(Single):
    """Parameters count rows: `offset=200&limit=100`.

    Ends at an empty page, at `total`, or at a page shorter than the largest before it (a server may hand out fewer
    rows than asked, so the limit asked for is no measure). Rows that are added or removed meanwhile shift the pages
    and can be missed: where an API offers any other way, use that.
    """

    limit: int = 100
    offset_parameter: str = "offset"
    limit_parameter: str = "limit"
    #: Dotted path of the number of all rows; empty when the API does not say.
    total: str = ""
    #: False for APIs that drop rows from a page after cutting it.
    short_page_ends: bool = True

    def first(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """See Style."""
        return {self.limit_parameter: self.limit, self.offset_parameter: 0, **params}

    def following(self, answer: PageAnswer) -> PageRequest | None:
        """See Style."""
        reached = int(answer.request.params[self.offset_parameter]) + len(answer.rows)
        if _exhausted(answer, self.limit, short_page_ends=self.short_page_ends):
            return None
        if self.total and reached >= _number(answer, self.total):
            return None
        return PageRequest(answer.request.url, {**answer.request.params, self.offset_parameter: reached})


@dataclass(frozen=True)
class PageNumber(Single):
    """A parameter counts pages: `page=3`. Ends as `Offset` does, with the same weakness, or at `pages`."""

    parameter: str = "page"
    start: int = 1
    #: Rows per page, and the parameter that asks for it; without a parameter the server's own size holds.
    limit: int = 100
    limit_parameter: str = ""
    #: Dotted path of the number of pages; empty when the API does not say.
    pages: str = ""
    short_page_ends: bool = True

    def first(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """See Style."""
        size = {self.limit_parameter: self.limit} if self.limit_parameter else {}
        return {**size, self.parameter: self.start, **params}

    def following(self, answer: PageAnswer) -> PageRequest | None:
        """See Style."""
        number = int(answer.request.params[self.parameter])
        limit = self.limit if self.limit_parameter else None
        if _exhausted(answer, limit, short_page_ends=self.short_page_ends):
            return None
        if self.pages and number - self.start + 1 >= _number(answer, self.pages):
            return None
        return PageRequest(answer.request.url, {**answer.request.params, self.parameter: number + 1})


@dataclass(frozen=True)
class Auto(Single):
    """Looks, in this order, for a Link header, a URL in the body (`NEXT_URLS`), a cursor in it (`NEXT_CURSORS`).

    Offsets and page numbers cannot be told from an answer and must be named. An answer that says there is more, but
    not how to get it, is an error: half a collection must not pass for the whole.
    """

    def following(self, answer: PageAnswer) -> PageRequest | None:
        """See Style."""
        linked = LinkHeader().following(answer)
        if linked is not None:
            return linked
        for path in NEXT_URLS:
            url = dig(answer.body, path)
            if isinstance(url, str) and url.startswith(("http://", "https://", "/", "?")):
                return _target(answer, url)
        for path, parameter in NEXT_CURSORS:
            if _is_cursor(dig(answer.body, path)):
                return Cursor(path, parameter).following(answer)
        self._refuse_half(answer)
        return None

    def _refuse_half(self, answer: PageAnswer) -> None:
        named = next((path for path in _NEXT if _holds(dig(answer.body, path))), None)
        if named is not None:
            raise WorkerError(
                f"{answer.request.url}: {named!r} says that there are more rows, but it is neither a URL nor a cursor "
                "whose parameter is known",
                hint=_NAME_THE_WAY,
            )
        flag = next((path for path in _MORE if dig(answer.body, path) is True), None)
        total = next((path for path in _TOTALS if _is_more(dig(answer.body, path), answer)), None)
        sign = flag or (total if answer.before == 0 else None)
        if sign is not None:
            raise WorkerError(
                f"{answer.request.url}: {sign!r} says that there are more rows, but not how to ask for them",
                hint=_NAME_THE_WAY,
            )


STYLES: dict[str, Style] = {
    "auto": Auto(),
    "link": LinkHeader(),
    "next_url": NextUrl(),
    "cursor": Cursor(),
    "offset": Offset(),
    "page": PageNumber(),
    "single": Single(),
}


def style_of(style: str | Style) -> Style:
    """A style by its name, with its defaults, or the style itself. Raises WorkerError for an unknown name."""
    if not isinstance(style, str):
        return style
    if style not in STYLES:
        raise WorkerError(f"there is no paging style {style!r}; there are {', '.join(STYLES)}")
    return STYLES[style]


def total_of(body: Any) -> int | None:
    """The number of all rows of a collection, where its body says it under one of the usual names."""
    found = (dig(body, path) for path in _TOTALS)
    return next((value for value in found if isinstance(value, int) and not isinstance(value, bool)), None)


def _target(answer: PageAnswer, url: str) -> PageRequest:
    """A URL that carries its own query, relative to where the answer came from (RFC 3986 section 5)."""
    try:
        return PageRequest(urljoin(answer.response.url, url), {})
    except ValueError:
        raise WorkerError(
            f"{answer.request.url}: the next page is said to be at {url[:200]!r}, which is no URL"
        ) from None


def _exhausted(answer: PageAnswer, limit: int | None, *, short_page_ends: bool) -> bool:
    if not answer.rows:
        return True
    if not short_page_ends:
        return False
    full = answer.largest if limit is None else min(limit, answer.largest)
    return len(answer.rows) < full


def _number(answer: PageAnswer, path: str) -> int:
    value = dig(answer.body, path)
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise WorkerError(f"{answer.request.url}: {path!r} is {str(value)[:200]!r} and no number") from None


def _is_more(value: Any, answer: PageAnswer) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > len(answer.rows)


def _is_cursor(value: Any) -> bool:
    """A text or a number that goes into a query as it is; 0 and the empty text are ends."""
    return isinstance(value, str | int) and not isinstance(value, bool) and bool(value)


def _holds(value: Any) -> bool:
    """Whether there is anything in a value: `{"href": null}` is as empty as null."""
    return any(map(_holds, value.values())) if isinstance(value, Mapping) else bool(value)
