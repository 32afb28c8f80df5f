"""Arlo, training management: events, registrations, contacts and orders, changed since the last run.

How a collection that changes is read to its end stands in `worker.jobs.keyset`. What is Arlo's own:

A merge takes a contact away without a word in any list of changes: `contactmergerequests/` tells, and GET on the
contact answers 308 to the one it became. Its row stays, with nothing but `Status` "Merged" and `MergedIntoContactID`.
Its registrations and orders get another contact, and whether that counts as a change is not documented; so the jobs
that own those tables read what belongs to the contact that is left once more. Each table is written by one job alone:
an older reading never takes the place of a newer one.

An order's lines come nested in it and have no time of their own. A line is current where its
`OrderLastModifiedDateTime` is that of its order.

Columns have the API's names. A time is stored in UTC with seven digits, so that text sorts as time does; one that came
with an offset has it beside it (`StartDateTime`, `StartDateTimeOffset`). A link to one resource gives its id
(`EventID`, `ContactID`). Amounts are exact decimals. `params`: `top` (rows per page, at most 250), `settle` (seconds).

Facts: developer.arlo.co/doc/api/2012-02-01/auth; docs/arlo.md says which pages, and what is inferred.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from worker import Context, job
from worker.errors import WorkerError
from worker.jobs.keyset import Batch, Place, Reading, clock_of, settled
from worker.jobs.linked_xml import api_exception, goes_on, inside, links, number_of, read_document, read_row, text_of
from worker.jobs.params import read_choices, read_number, refuse_unknown
from worker.jobs.ticks import MILLISECOND, SECOND, read_ticks, to_millisecond, utc_text
from worker.jobs.xml_body import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests
    from lxml import etree

    from worker.jobs.linked_xml import Kinds

#: The API's own limit of rows per page.
PAGE = 250
#: Seconds that the stored place stays behind the server's clock.
SETTLE = 2.0
#: Contacts in one filter: well within the length of a URL.
TOGETHER = 20
#: What `params` may hold; of `deletions` also `tables`.
PARAMS = ("top", "settle")
#: Columns that are neither text nor told by their names.
KINDS: Kinds = {
    **dict.fromkeys(("SubTotal", "TotalTax", "Total"), Decimal),
    **dict.fromkeys(("UnitAmount", "Quantity", "DiscountAmount", "TaxAmount", "LineAmount"), Decimal),
    "LineAmountsTaxInclusive": bool,
    "LineNumber": int,
    "ProgressPercent": float,
}
OLDEST_FIRST = "CreatedDateTime ASC,RequestID ASC"
NOT_FOUND = 404


@dataclass(frozen=True)
class Resource:
    """One collection of the API, which is also a table."""

    collection: str
    element: str
    key: str
    #: Title of the link to the contact that it belongs to.
    contact: str = ""
    #: Titles of further links that come expanded.
    nested: tuple[str, ...] = ()

    @property
    def expand(self) -> str:
        """Every prefix is listed, as the API wants it."""
        return ",".join([self.element, *(f"{self.element}/{path}" for path in self.nested)])


EVENTS = Resource("events", "Event", "EventID")
REGISTRATIONS = Resource("registrations", "Registration", "RegistrationID", contact="Contact")
CONTACTS = Resource("contacts", "Contact", "ContactID")
ORDERS = Resource("orders", "Order", "OrderID", contact="BillToContact", nested=("Lines", "Lines/OrderLine"))


@job(scopes=["read"])
def events(ctx: Context) -> None:
    """Copy events that were created or changed since the last run."""
    sync(ctx, EVENTS)


@job(scopes=["read"])
def registrations(ctx: Context) -> None:
    """Copy registrations that were created or changed since the last run, or whose contact was merged."""
    sync(ctx, REGISTRATIONS)


@job(scopes=["read"])
def contacts(ctx: Context) -> None:
    """Copy contacts that were created or changed since the last run, and retire those that were merged."""
    sync(ctx, CONTACTS)
    for merges in Merges(ctx) if ctx.since is None else ():
        ctx.emit("contact_merges", merges, key="RequestID")
        for merge in merges:
            ctx.emit("contacts", retired(ctx, merge), key="ContactID")


@job(scopes=["read"])
def orders(ctx: Context) -> None:
    """Copy orders with their lines that were created or changed since the last run, or whose contact was merged."""
    sync(ctx, ORDERS)


@job(scopes=["read"])
def deletions(ctx: Context) -> None:
    """Take away what is gone: list every id, table by table, and leave the difference to the sink and its brake."""
    everything = (EVENTS, REGISTRATIONS, CONTACTS, ORDERS)
    refuse_unknown(ctx, (*PARAMS, "tables"))
    tables = read_choices(ctx, "tables", [one.collection for one in everything])
    wanted = [one for one in everything if one.collection in tables]
    begun = ctx.cursor.get("begun")  # a run that was cut short inside of this table; the next begins with it
    first = next((place for place, one in enumerate(wanted) if one.collection == begun), 0)
    for resource in wanted[first:] + wanted[:first]:
        ctx.checkpoint(begun=resource.collection)
        name_all(ctx, resource)
    ctx.checkpoint(begun=None)


def name_all(ctx: Context, resource: Resource) -> None:
    """Say of every row of a table that it exists, and then that there are no others."""
    expand = "Order,Order/Lines" if resource is ORDERS else ""
    for found in Collection(ctx, resource).by_id(expand=expand):
        ctx.seen(resource.collection, map(number_of, found), key=resource.key)
        for order in inside(found) if resource is ORDERS else ():
            for lines in order_lines(ctx, order, int(text_of(order, "OrderID"))):
                ctx.seen("orderlines", map(number_of, lines), key="OrderLineID")
    if resource is CONTACTS:  # those that were merged keep their row
        for merges in Merges(ctx).all():
            ctx.seen("contacts", [merge["SourceContactID"] for merge in merges], key="ContactID")
    for table in (resource.collection, "orderlines") if resource is ORDERS else (resource.collection,):
        ctx.complete(table)


def sync(ctx: Context, resource: Resource) -> None:
    """Deliver every row behind the cursor, then what merges have given to another contact."""
    refuse_unknown(ctx, PARAMS)
    merges, owned = Merges(ctx), resource.contact and ctx.since is None  # a backfill leaves merges to the live runs
    if owned and not merges.begun:
        merges.begin_at_the_end()
    collection = Collection(ctx, resource)
    Reading(ctx, collection, collection.emit, merges.settle).run()
    if not owned:
        return
    for page in merges:
        into = sorted({int(merge["DestinationContactID"]) for merge in page})
        for first in range(0, len(into), TOGETHER):
            some = " or ".join(f"{resource.contact}/ContactID eq {one}" for one in into[first : first + TOGETHER])
            for found in collection.by_id(some, resource.expand):
                collection.emit(list(inside(found)))


class Collection:
    """Pages of one resource."""

    def __init__(self, ctx: Context, resource: Resource) -> None:
        self._ctx = ctx
        self._resource = resource
        self._top = min(int(read_number(ctx, "top", PAGE, least=1)), PAGE)

    def since(self, millisecond: int | None) -> Batch[etree._Element]:
        """See `keyset.Source`."""
        bounds = [] if millisecond is None else [f"LastModifiedDateTime ge {_literal(millisecond)}"]
        if self._ctx.until and (until := read_ticks(self._ctx.until)):
            bounds.append(f"LastModifiedDateTime lt {_literal(until[0])}")
        condition = " and ".join(bounds)
        return self._batch(condition, f"LastModifiedDateTime ASC,{self._resource.key} ASC")

    def within(self, millisecond: int, after: int) -> Batch[etree._Element]:
        """See `keyset.Source`."""
        start, end = _literal(millisecond), _literal(millisecond + MILLISECOND)
        within = f"LastModifiedDateTime ge {start} and LastModifiedDateTime lt {end}"
        return self._batch(f"({within}) and {self._resource.key} gt {after}", f"{self._resource.key} ASC")

    def by_id(self, condition: str = "", expand: str = "") -> Iterator[list[etree._Element]]:
        """Links to all rows that meet a condition, in the order of their ids: what goes meanwhile shifts no page."""
        key, after, more = self._resource.key, 0, True
        while more:
            numbers = f"{key} gt {after}"
            root, _ = self._page(f"({condition}) and {numbers}" if condition else numbers, f"{key} ASC", expand)
            found = links(root, self._resource.element)
            if not found:
                return
            yield found
            last = number_of(found[-1])
            if last is None or last <= after:
                raise WorkerError(f"{self._resource.collection} do not heed the filter {numbers}")
            after, more = last, goes_on(root) or len(found) >= self._top

    def emit(self, elements: list[etree._Element]) -> None:
        """Emit rows, and the lines of orders with them."""
        ctx, resource = self._ctx, self._resource
        rows = [read_row(element, KINDS) for element in elements]
        ctx.emit(resource.collection, rows, key=resource.key)
        if resource is ORDERS:
            for element, row in zip(elements, rows, strict=True):
                mark = {"OrderID": row["OrderID"], "OrderLastModifiedDateTime": row["LastModifiedDateTime"]}
                for found in order_lines(ctx, element, row["OrderID"], expand="OrderLine"):
                    lines = [read_row(line, KINDS) | mark for line in inside(found)]
                    ctx.emit("orderlines", lines, key="OrderLineID")

    def _batch(self, condition: str, order: str) -> Batch[etree._Element]:
        root, clock = self._page(condition, order, self._resource.expand)
        rows = [(_place_of(one, self._resource), one) for one in inside(links(root, self._resource.element))]
        return Batch(rows, bool(rows) and (goes_on(root) or len(rows) >= self._top), clock)

    def _page(self, condition: str, order: str, expand: str) -> tuple[etree._Element, int | None]:
        """A page, and the server's clock."""
        params: dict[str, Any] = {"expand": expand, "top": self._top, "orderby": order, "filter": condition}
        given = {name: value for name, value in params.items() if value}
        response = ask(self._ctx, f"{self._resource.collection}/", given)
        if len(response.content) > LARGEST and self._resource.nested and self._top > 1:
            self._top //= 2  # orders of very many lines: fewer at once, then
            return self._page(condition, order, expand)
        return read_document(response), clock_of(response)


class Merges:
    """Merges of contacts since the last run, in pages. The cursor's name is `merges`; it is moved page by page.

    Requests are only ever added, in the order of their creation, so that here pages may be skipped by number.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.settle = float(read_number(ctx, "settle", SETTLE))

    @property
    def begun(self) -> bool:
        """Whether the cursor knows a place."""
        return "merges" in self._ctx.cursor

    def begin_at_the_end(self) -> None:
        """What was merged so far needs no mending: the rows are still to be read."""
        newest, _, _ = self._page({"orderby": "CreatedDateTime DESC", "top": 1})
        place = _created(newest[0]) - int(self.settle * SECOND) if newest else 0
        self._ctx.checkpoint(merges=utc_text(place))

    def all(self) -> Iterator[list[dict[str, Any]]]:
        """Every merge there was, in pages; the cursor stays."""
        for rows, _, _ in self._pages(0):
            yield rows

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        """Pages of merges behind the cursor; what is emitted for one is committed before the next is asked for."""
        found = read_ticks(str(self._ctx.cursor.get("merges", utc_text(0))))
        start, limit = to_millisecond(found[0]) if found else 0, None
        for rows, more, clock in self._pages(start):
            yield rows
            last = to_millisecond(_created(rows[-1]))
            behind = last if more else last + MILLISECOND
            held = settled(behind, clock, self.settle)
            limit = held if limit is None and held < behind else limit
            self._ctx.checkpoint(merges=utc_text(max(start, behind if limit is None else min(behind, limit))))

    def _pages(self, start: int) -> Iterator[tuple[list[dict[str, Any]], bool, int | None]]:
        """Pages from a moment on, each with whether another follows and the server's clock."""
        skip, more = 0, True
        condition = f"CreatedDateTime ge {_literal(start, 'datetimeoffset')}"
        while more:
            rows, more, clock = self._page({"filter": condition, "orderby": OLDEST_FIRST, "top": PAGE, "skip": skip})
            skip += len(rows)
            if rows:
                yield rows, more, clock

    def _page(self, params: dict[str, Any]) -> tuple[list[dict[str, Any]], bool, int | None]:
        given = {name: value for name, value in params.items() if value}
        response = ask(self._ctx, "contactmergerequests/", {"expand": "ContactMergeRequest", **given})
        root = read_document(response)
        rows = [_merge_row(read_row(one, KINDS)) for one in inside(links(root, "ContactMergeRequest"))]
        return rows, bool(rows) and (goes_on(root) or len(rows) >= params["top"]), clock_of(response)


def retired(ctx: Context, merge: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a contact that was merged and of the one that is left, as the API has them now."""
    source = merge["SourceContactID"]
    gone = {
        "ContactID": source,
        "UniqueIdentifier": merge["SourceUniqueIdentifier"],
        "Status": "Merged",
        "MergedIntoContactID": merge["DestinationContactID"],
        "LastModifiedDateTime": merge["CreatedDateTime"],
    }
    try:
        response = ask(ctx, f"contacts/{source}/", {})  # 308 to the contact that is left, however often it was merged
    except WorkerError as error:
        if error.evidence.get("status") != NOT_FOUND:
            raise
        return [gone]
    left = read_row(read_document(response), KINDS)
    if left.get("ContactID") == source:  # the request is there, and the merge is not
        return [left]
    return [gone | {"MergedIntoContactID": left.get("ContactID")}, left]


def order_lines(
    ctx: Context, order: etree._Element, number: int, *, expand: str = ""
) -> Iterator[list[etree._Element]]:
    """Links to an order's lines, in pages: as they came nested in it if that was all of them.

    Where it was not, all are asked for: in which order they are nested is not documented, so none can be skipped.
    """
    for lines in links(order, "Lines"):
        if len(lines) and not goes_on(lines[0]):
            yield links(lines[0], "OrderLine")
        else:
            yield from _line_pages(ctx, number, expand)


def _line_pages(ctx: Context, number: int, expand: str) -> Iterator[list[etree._Element]]:
    count, more = 0, True
    while more:
        params = {"expand": expand, "orderby": "OrderLineID ASC", "top": PAGE, "skip": count}
        given = {name: value for name, value in params.items() if value}
        root = read_document(ask(ctx, f"orders/{number}/lines/", given))
        found = links(root, "OrderLine")
        yield found
        count, more = count + len(found), bool(found) and goes_on(root)


def ask(ctx: Context, path: str, params: dict[str, Any]) -> requests.Response:
    """One request. Raises WorkerError in the API's own words, TryAgainLater for what passes."""
    return ctx.get(path, params=params, headers={"Accept": "application/xml"}, explain=api_exception)


def _merge_row(row: dict[str, Any]) -> dict[str, Any]:
    """A merge request with its two contacts as columns."""
    flat = {name: value for name, value in row.items() if not isinstance(value, dict)}
    for side in ("Source", "Destination"):
        info = row.get(f"{side}ContactInfo") or {}
        flat |= {f"{side}{name}": info.get(name) for name in ("ContactID", "UniqueIdentifier")}
    if not isinstance(flat.get("DestinationContactID"), int) or not isinstance(flat.get("SourceContactID"), int):
        raise WorkerError(f"the contact merge request {flat.get('RequestID')} does not name its contacts")
    return flat


def _created(merge: dict[str, Any]) -> int:
    found = read_ticks(str(merge.get("CreatedDateTime") or ""))
    if found is None:
        raise WorkerError(f"the contact merge request {merge.get('RequestID')} has no CreatedDateTime")
    return found[0]


def _place_of(element: etree._Element, resource: Resource) -> Place:
    found = read_ticks(text_of(element, "LastModifiedDateTime"))
    number = text_of(element, resource.key)
    if found is None or not (number.isascii() and number.isdigit()):
        raise WorkerError(f"{resource.element} {number} has no {resource.key} or LastModifiedDateTime")
    return Place(found[0], int(number))


def _literal(ticks: int, function: str = "datetime") -> str:
    return f"{function}('{utc_text(ticks, digits=3)}')"
