"""Arlo, training management: events and registrations, changed since the last run.

The hard part is where to go on. The API sorts by LastModifiedDateTime, which has up to seven fraction digits, but its
filters take three; and a bulk change gives thousands of rows one moment, more than a page holds. So the place is kept
in full, as (moment, id), and asked for by its millisecond: rows up to the place come again and are passed over, and
nothing between two thousandths is lost. Where a whole page lies within one millisecond, that millisecond is read to
its end by id alone. Pages are never skipped by number: a row that changes meanwhile moves to the end and is met there.

A change that is being committed while the page is read may become visible with a moment that has been passed. The
stored place therefore stays `settle` seconds (default 2) behind the server's clock: rows newer than that are delivered
now and once more in the next run, where they replace themselves.

Columns have the API's names. A time is stored in UTC with seven digits, so that text sorts as time does; one that came
with an offset has it beside it (`StartDateTime`, `StartDateTimeOffset`). A link to one resource gives its id
(`EventID`, `ContactID`). `params`: `top` (rows per page, at most 250), `settle` (seconds).

Facts: developer.arlo.co/doc/api/2012-02-01/auth, pages synchronisationbestpractice, datetimeformats and
collectionresources.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from lxml import etree

from worker import Context, job
from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

#: The API's own limit of rows per page.
PAGE = 250
#: Bytes of a document; a page has a million or two. Its tree takes up to thirty times as much in memory.
LARGEST = 8 << 20
#: Seconds, see above.
SETTLE = 2.0
#: Seconds by which rows may lie ahead of the server's clock before the two clocks are taken for unrelated.
AHEAD = 60.0
#: Time is counted in ticks of 100 ns, the API's seventh digit.
SECOND, MILLISECOND = 10_000_000, 10_000
#: Less than any id.
BEFORE_ANY = -1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?", re.ASCII)
NUMBERS = frozenset({"ProgressPercent"})


@dataclass(frozen=True)
class Resource:
    """One collection of the API."""

    collection: str
    element: str
    key: str


class Place(NamedTuple):
    """How far the sync has come: every row up to this moment (ticks since 1970) and id has been delivered."""

    moment: int
    id: int

    @property
    def millisecond(self) -> int:
        """The first tick of the moment's millisecond: as fine as a filter can be."""
        return self.moment - self.moment % MILLISECOND


class Batch(NamedTuple):
    """One page of rows, sorted as the API does, with the place of each."""

    rows: list[tuple[Place, dict[str, Any]]]
    more: bool
    #: The server's clock in ticks; None when it does not tell.
    server_time: int | None


@job(scopes=["read"])
def events(ctx: Context) -> None:
    """Copy events that were created or changed since the last run."""
    sync(ctx, Resource("events", "Event", "EventID"))


@job(scopes=["read"])
def registrations(ctx: Context) -> None:
    """Copy registrations that were created or changed since the last run."""
    sync(ctx, Resource("registrations", "Registration", "RegistrationID"))


def sync(ctx: Context, resource: Resource) -> None:
    """Deliver every row behind the cursor, page by page, each with its checkpoint."""
    place = _stored_place(ctx)
    if place is not None and "drained" in ctx.cursor:  # the last run ended inside a crowded millisecond
        place = drain(ctx, resource, place)
    while True:
        batch = fetch(ctx, resource, "" if place is None else f"LastModifiedDateTime ge {_literal(place.millisecond)}")
        fresh = [(at, row) for at, row in batch.rows if place is None or at > place]
        before, place = place, (fresh[-1][0] if fresh else place)
        if place is None:
            return
        if fresh:
            ctx.emit(resource.collection, [row for _, row in fresh], key=resource.key)
            _checkpoint(ctx, _settled(ctx, place, batch.server_time))
        if not batch.more:
            return
        if before is not None and place.millisecond == before.millisecond:
            place = drain(ctx, resource, place)


def drain(ctx: Context, resource: Resource, place: Place) -> Place:
    """Deliver what is left of the place's millisecond in the order of ids; answers the place behind it."""
    start, end = place.millisecond, place.millisecond + MILLISECOND
    within = f"LastModifiedDateTime ge {_literal(start)} and LastModifiedDateTime lt {_literal(end)}"
    drained = int(ctx.cursor.get("drained", 0))
    more = True
    while more:
        condition = f"({within}) and {resource.key} gt {drained}"
        batch = fetch(ctx, resource, condition, order=f"{resource.key} ASC")
        if not batch.rows:
            break
        drained, more = batch.rows[-1][0].id, batch.more
        ctx.emit(resource.collection, [row for at, row in batch.rows if at > place], key=resource.key)
        if _settled(ctx, place, batch.server_time) == place:
            ctx.checkpoint(modified=utc_text(place.moment), id=place.id, drained=drained)
    behind = Place(end, BEFORE_ANY)
    _checkpoint(ctx, _settled(ctx, behind, batch.server_time))
    return behind


def fetch(ctx: Context, resource: Resource, condition: str, *, order: str = "") -> Batch:
    """One page, with the resources expanded in place."""
    top = min(int(ctx.params.get("top", PAGE)), PAGE)
    params: dict[str, Any] = {
        "expand": resource.element,
        "top": top,
        "orderby": order or f"LastModifiedDateTime ASC,{resource.key} ASC",
    }
    if condition:
        params["filter"] = condition
    response = ctx.get(
        f"{resource.collection}/", params=params, headers={"Accept": "application/xml"}, explain=api_exception
    )
    root = read_xml(response)
    rows = [(_place_of(row, resource), row) for row in _expanded(root, resource, response)]
    following = any(link.get("rel") == "next" for link in root)
    return Batch(rows, bool(rows) and (following or len(rows) >= top), _server_time(response))


def read_xml(response: requests.Response) -> etree._Element:
    """The document's root. Raises WorkerError for what is no plain XML document, or is an ApiException."""
    kind = response.headers.get("Content-Type", "")
    if "xml" not in kind.lower():
        raise WorkerError(f"{_address(response)} answered with {kind[:100] or 'no content type'} instead of XML")
    try:
        root = parse(response.content)
    except ValueError as error:
        raise WorkerError(f"{_address(response)} answered with {error}") from None
    if _name(root) == "ApiException":
        raise WorkerError(f"{_address(response)} answered with an ApiException: {_exception_text(root)}")
    return root


def parse(content: bytes) -> etree._Element:
    """The root of a plain document: no document type, so no entities. Raises ValueError that says what is wrong."""
    if len(content) > LARGEST:
        raise ValueError(f"XML of {len(content)} bytes, where {LARGEST} are the most that is read")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"broken XML: {error.msg}") from None
    info: Any = root.getroottree().docinfo
    if info.doctype:
        raise ValueError("a document type declaration, which is refused")
    return root


def api_exception(response: requests.Response) -> str:
    """`Code: Message` of an ApiException body; empty for any other."""
    try:
        root = parse(response.content)
    except ValueError:
        return ""
    return _exception_text(root) if _name(root) == "ApiException" else ""


def read_resource(element: etree._Element) -> dict[str, Any]:
    """A resource's elements as columns: see the module's docstring."""
    row: dict[str, Any] = {}
    for child in element:
        name = _name(child)
        if name == "Link":
            row |= _linked(child)
        elif len(child):
            row[name] = read_resource(child)
        else:
            row |= _columns(name, (child.text or "").strip())
    return row


def read_ticks(text: str) -> tuple[int, str] | None:
    """Ticks in UTC and the offset as it was written (`Z`, `+13:00`, or empty: then UTC is meant); None for no time."""
    found = TIME.fullmatch(text)
    if found is None:
        return None
    zone = found[3] or ""
    try:
        moment = datetime.fromisoformat(found[1] + (zone if zone not in {"", "Z"} else "+00:00"))
    except ValueError:  # month 13, hour 25
        return None
    return (moment - EPOCH) // timedelta(seconds=1) * SECOND + int((found[2] or "0").ljust(7, "0")[:7]), zone


def utc_text(ticks: int, digits: int = 7) -> str:
    """A moment as RFC 3339 in UTC, always with as many digits."""
    seconds, rest = divmod(ticks, SECOND)
    text = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{f'{rest:07d}'[:digits]}Z"


def _stored_place(ctx: Context) -> Place | None:
    if "modified" not in ctx.cursor:
        return None
    found = read_ticks(str(ctx.cursor["modified"]))
    if found is None:
        raise WorkerError(f"the cursor's modified is {ctx.cursor['modified']!r} and no time")
    return Place(found[0], int(ctx.cursor.get("id", 0)))


def _checkpoint(ctx: Context, place: Place | None) -> None:
    if place is None:
        ctx.checkpoint(drained=None)
    else:
        ctx.checkpoint(modified=utc_text(place.moment), id=place.id, drained=None)


def _settled(ctx: Context, place: Place, server_time: int | None) -> Place | None:
    """The place to store: `place`, held back behind the server's clock. None to leave the stored one."""
    if server_time is None or place.moment > server_time + AHEAD * SECOND:
        return place
    held = Place(server_time - int(float(ctx.params.get("settle", SETTLE)) * SECOND), BEFORE_ANY)
    if place <= held:
        return place
    stored = _stored_place(ctx)
    return held if stored is None or stored < held else None


def _expanded(root: etree._Element, resource: Resource, response: requests.Response) -> Iterator[dict[str, Any]]:
    for link in root:
        if _name(link) != "Link" or link.get("title") != resource.element:
            continue
        if not len(link):
            raise WorkerError(f"{_address(response)} lists {link.get('href')} without its fields: it was not expanded")
        yield read_resource(link[0])


def _place_of(row: dict[str, Any], resource: Resource) -> Place:
    found = read_ticks(str(row.get("LastModifiedDateTime") or ""))
    number = row.get(resource.key)
    if found is None or not isinstance(number, int):
        raise WorkerError(f"{resource.element} {number} has no {resource.key} or LastModifiedDateTime")
    return Place(found[0], number)


def _columns(name: str, text: str) -> dict[str, Any]:
    if not text:
        return {name: None}
    if name.endswith("ID") and text.isascii() and text.isdigit():
        return {name: int(text)}
    if name in NUMBERS:
        return {name: _number(text)}
    found = read_ticks(text) if name.endswith("DateTime") else None
    if found is None:
        return {name: text}
    ticks, zone = found
    return {name: utc_text(ticks)} | ({f"{name}Offset": zone} if zone not in {"", "Z"} else {})


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _linked(link: etree._Element) -> dict[str, Any]:
    """The id of the one resource that a link leads to; links to collections end in no number."""
    number = (link.get("href") or "").rstrip("/").rpartition("/")[2]
    title = link.get("title")
    return {f"{title}ID": int(number)} if title and number.isascii() and number.isdigit() else {}


def _literal(ticks: int) -> str:
    return f"datetime('{utc_text(ticks, digits=3)}')"


def _server_time(response: requests.Response) -> int | None:
    try:
        return int(parsedate_to_datetime(response.headers["Date"]).timestamp()) * SECOND
    except (KeyError, ValueError, TypeError):
        return None


def _exception_text(root: etree._Element) -> str:
    parts = {_name(child): (child.text or "").strip() for child in root}
    return ": ".join(part for part in (parts.get("Code"), parts.get("Message")) if part) or "without a message"


def _name(element: etree._Element) -> str:
    return str(etree.QName(element).localname)


def _address(response: requests.Response) -> str:
    return response.url.partition("?")[0]
