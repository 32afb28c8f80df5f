"""XML whose resources hang together by links, as Arlo's do: a collection is an element full of `Link`s, a resource that
was expanded stands inside its link, `rel="next"` says that a page is not the last, and `ApiException` is an error.

A resource becomes a row: its elements are columns by their names, a link to one resource gives that one's id, a time
is stored in UTC and the offset that it came with stands in a column beside it.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError
from worker.jobs.ticks import read_ticks, utc_text
from worker.jobs.xml_body import local_name, parse_xml, read_xml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import requests
    from lxml import etree

    #: What a column's text is read as, by the column's name; the rest is text, unless its name ends in ID or DateTime.
    Kinds = Mapping[str, type[Decimal | float | int | bool]]

_FLAGS = {"true": True, "false": False}


def read_document(response: requests.Response) -> etree._Element:
    """The document's root. Raises WorkerError for what is no plain XML document, or is an ApiException."""
    try:
        root = read_xml(response)
    except ValueError as error:
        raise WorkerError(f"{_address(response)} answered with {error}") from None
    if local_name(root) == "ApiException":
        raise WorkerError(f"{_address(response)} answered with an ApiException: {_exception_text(root)}")
    return root


def api_exception(response: requests.Response) -> str:
    """`Code: Message` of an ApiException body; empty for any other."""
    try:
        root = parse_xml(response.content)
    except ValueError:
        return ""
    return _exception_text(root) if local_name(root) == "ApiException" else ""


def links(root: etree._Element, title: str) -> list[etree._Element]:
    """The links of that title, in their order."""
    return [child for child in root if local_name(child) == "Link" and child.get("title") == title]


def inside(found: Iterable[etree._Element]) -> Iterator[etree._Element]:
    """The resources that stand in links. Raises WorkerError for a link that holds none."""
    for link in found:
        if not len(link):
            raise WorkerError(f"the answer lists {link.get('href')} without its fields: it was not expanded")
        yield link[0]


def goes_on(root: etree._Element) -> bool:
    """Whether another page of the collection follows."""
    return any(link.get("rel") == "next" for link in root)


def number_of(link: etree._Element) -> int | None:
    """The id of the one resource that a link leads to; a link to a collection ends in no number."""
    number = (link.get("href") or "").rstrip("/").rpartition("/")[2]
    return int(number) if number.isascii() and number.isdigit() else None


def text_of(element: etree._Element, name: str) -> str:
    """The text of the element of that name inside; empty without one."""
    return next(((child.text or "").strip() for child in element if local_name(child) == name), "")


def read_row(element: etree._Element, kinds: Kinds) -> dict[str, Any]:
    """A resource as columns: see the module's docstring."""
    row: dict[str, Any] = {}
    for child in element:
        name = local_name(child)
        if name == "Link":
            title, number = child.get("title"), number_of(child)
            row |= {f"{title}ID": number} if title and number is not None else {}
        elif len(child):
            row[name] = read_row(child, kinds)
        else:
            row |= _columns(name, (child.text or "").strip(), kinds)
    return row


def _columns(name: str, text: str, kinds: Kinds) -> dict[str, Any]:
    if not text:
        return {name: None}
    if name.endswith("DateTime") and (found := read_ticks(text)) is not None:
        ticks, zone = found
        return {name: utc_text(ticks)} | ({f"{name}Offset": zone} if zone not in {"", "Z"} else {})
    kind = kinds.get(name)
    if kind is bool:
        return {name: _FLAGS.get(text.lower(), text)}
    if kind is None:
        whole = name.endswith("ID") and text.isascii() and text.isdigit()
        return {name: int(text) if whole else text}
    try:
        return {name: kind(text)}
    except (ValueError, InvalidOperation):  # what it is not is kept as it came
        return {name: text}


def _exception_text(root: etree._Element) -> str:
    return ": ".join(part for part in (text_of(root, "Code"), text_of(root, "Message")) if part) or "without a message"


def _address(response: requests.Response) -> str:
    return response.url.partition("?")[0]
