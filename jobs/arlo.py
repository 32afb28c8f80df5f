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

Facts: developer.arlo.co/doc/api/2012-02-01/auth, pages synchronisationbestpractice, datetimeformats,
collectionresources and resources/contactmergerequests. docs/arlo.md says what is inferred.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from worker import Context, job
from worker.errors import WorkerError
from worker.jobs.keyset import BEFORE_ANY, Batch, Place, Reading, clock_of, settled
from worker.jobs.linked_xml import api_exception, expanded, goes_on, links, read_document, read_row, text_of
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
#: Columns that are neither text nor told by their names.
KINDS: Kinds = {
    **dict.fromkeys(("SubTotal", "TotalTax", "Total"), Decimal),
    **dict.fromkeys(("UnitAmount", "Quantity", "DiscountAmount", "TaxAmount", "LineAmount"), Decimal),
    "LineAmountsTaxInclusive": bool,
    "LineNumber": int,
    "ProgressPercent": float,
}
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
    for merges in Merges(ctx):
        ctx.emit("contact_merges", merges, key="RequestID")
        for merge in merges:
            ctx.emit("contacts", retired(ctx, merge), key="ContactID")


@job(scopes=["read"])
def orders(ctx: Context) -> None:
    """Copy orders with their lines that were created or changed since the last run, or whose contact was merged."""
    sync(ctx, ORDERS)


def sync(ctx: Context, resource: Resource) -> None:
    """Deliver every row behind the cursor, then what merges have given to another contact."""
    merges = Merges(ctx)
    if resource.contact and not merges.begun:
        merges.begin_at_the_end()
    collection = Collection(ctx, resource)
    Reading(ctx, collection, collection.emit, merges.settle).run()
    if not resource.contact:
        return
    for page in merges:
        into = sorted({int(merge["DestinationContactID"]) for merge in page})
        for first in range(0, len(into), TOGETHER):
            some = " or ".join(f"{resource.contact}/ContactID eq {one}" for one in into[first : first + TOGETHER])
            for rows in collection.by_id(f"({some})"):
                collection.emit(rows)


class Collection:
    """Pages of one resource, expanded in place."""

    def __init__(self, ctx: Context, resource: Resource) -> None:
        self._ctx = ctx
        self._resource = resource
        self._top = min(int(ctx.params.get("top", PAGE)), PAGE)

    def since(self, millisecond: int | None) -> Batch[etree._Element]:
        """See `keyset.Source`."""
        condition = "" if millisecond is None else f"LastModifiedDateTime ge {_literal(millisecond)}"
        return self._page(condition, f"LastModifiedDateTime ASC,{self._resource.key} ASC")

    def within(self, millisecond: int, after: int) -> Batch[etree._Element]:
        """See `keyset.Source`."""
        start, end = _literal(millisecond), _literal(millisecond + MILLISECOND)
        within = f"LastModifiedDateTime ge {start} and LastModifiedDateTime lt {end}"
        return self._page(f"({within}) and {self._resource.key} gt {after}", f"{self._resource.key} ASC")

    def by_id(self, condition: str) -> Iterator[list[etree._Element]]:
        """All rows that meet a condition, page by page in the order of their ids."""
        after, more = BEFORE_ANY + 1, True
        while more:
            batch = self._page(f"{condition} and {self._resource.key} gt {after}", f"{self._resource.key} ASC")
            if not batch.rows:
                return
            yield [row for _, row in batch.rows]
            if batch.rows[-1][0].id <= after:
                raise WorkerError(f"{self._resource.collection} do not heed the filter on {self._resource.key}")
            after, more = batch.rows[-1][0].id, batch.more

    def emit(self, elements: list[etree._Element]) -> None:
        """Emit rows, and the lines of orders with them."""
        ctx, resource = self._ctx, self._resource
        rows = [read_row(element, KINDS) for element in elements]
        ctx.emit(resource.collection, rows, key=resource.key)
        if resource is ORDERS:
            for element, row in zip(elements, rows, strict=True):
                ctx.emit("orderlines", list(order_lines(ctx, element, row)), key="OrderLineID")

    def _page(self, condition: str, order: str) -> Batch[etree._Element]:
        params: dict[str, Any] = {"expand": self._resource.expand, "top": self._top, "orderby": order}
        if condition:
            params["filter"] = condition
        response = ask(self._ctx, f"{self._resource.collection}/", params)
        if (
            len(response.content) > LARGEST and self._resource.nested and self._top > 1
        ):  # orders of very many lines: fewer at once, then
            self._top //= 2
            return self._page(condition, order)
        root = read_document(response)
        rows = [(_place_of(one, self._resource), one) for one in expanded(root, self._resource.element)]
        return Batch(rows, bool(rows) and (goes_on(root) or len(rows) >= self._top), clock_of(response))


class Merges:
    """Merges of contacts since the last run, in pages. The cursor's name is `merges`; it is moved page by page.

    Requests are only ever added, in the order of their creation, so that here pages may be skipped by number.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.settle = float(ctx.params.get("settle", SETTLE))

    @property
    def begun(self) -> bool:
        """Whether the cursor knows a place."""
        return "merges" in self._ctx.cursor

    def begin_at_the_end(self) -> None:
        """What was merged so far needs no mending: the rows are still to be read."""
        newest, _ = self._page({"orderby": "CreatedDateTime DESC", "top": 1})
        place = _created(newest[0]) - int(self.settle * SECOND) if newest else 0
        self._ctx.checkpoint(merges=utc_text(place))

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        """Pages of merge requests; what is emitted for one is committed before the next is asked for."""
        found = read_ticks(str(self._ctx.cursor.get("merges", utc_text(0))))
        start = to_millisecond(found[0]) if found else 0
        skip, limit = 0, None
        more = True
        while more:
            params = {"filter": f"CreatedDateTime ge {_literal(start, 'datetimeoffset')}", "top": PAGE, "skip": skip}
            rows, answer = self._page(params | {"orderby": "CreatedDateTime ASC,RequestID ASC"})
            if not rows:
                return
            skip, more = skip + len(rows), len(rows) >= PAGE or goes_on(answer[0])
            yield rows
            last = _created(rows[-1])
            behind = to_millisecond(last) if more else to_millisecond(last) + MILLISECOND
            held = settled(behind, answer[1], self.settle)
            limit = held if limit is None and held < behind else limit
            self._ctx.checkpoint(merges=utc_text(max(start, behind if limit is None else min(behind, limit))))

    def _page(self, params: dict[str, Any]) -> tuple[list[dict[str, Any]], tuple[etree._Element, int | None]]:
        response = ask(self._ctx, "contactmergerequests/", {"expand": "ContactMergeRequest", **params})
        root = read_document(response)
        rows = [_merge_row(read_row(one, KINDS)) for one in expanded(root, "ContactMergeRequest")]
        return rows, (root, clock_of(response))


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


def order_lines(ctx: Context, order: etree._Element, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An order's lines: those that came nested, and the pages behind them."""
    mark = {"OrderID": row["OrderID"], "OrderLastModifiedDateTime": row["LastModifiedDateTime"]}
    count, more = 0, False
    for link in links(order, "Lines"):
        nested = list(expanded(link[0], "OrderLine")) if len(link) else []
        yield from (read_row(line, KINDS) | mark for line in nested)
        count, more = len(nested), not len(link) or goes_on(link[0])
    while more:
        params = {"expand": "OrderLine", "orderby": "OrderLineID ASC", "top": PAGE, "skip": count}
        response = ask(ctx, f"orders/{row['OrderID']}/lines/", params)
        root = read_document(response)
        lines = list(expanded(root, "OrderLine"))
        yield from (read_row(line, KINDS) | mark for line in lines)
        count, more = count + len(lines), bool(lines) and goes_on(root)


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
