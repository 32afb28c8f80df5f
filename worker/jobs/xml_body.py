"""An answer's XML, read in the one way that no answer can upset: no document type, so no entities, no other files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lxml import etree

if TYPE_CHECKING:
    import requests

#: Bytes of a document; a page of rows has a million or two. Its tree takes up to thirty times as much in memory.
LARGEST = 8 << 20


def read_xml(response: requests.Response) -> etree._Element:
    """The document's root. Raises ValueError that says what came instead of a plain XML document."""
    kind = response.headers.get("Content-Type", "")
    if "xml" not in kind.lower():
        raise ValueError(f"{kind[:100] or 'no content type'} instead of XML")
    return parse_xml(response.content)


def parse_xml(content: bytes) -> etree._Element:
    """The root of a plain document. Raises ValueError that says what is wrong."""
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


def local_name(element: etree._Element) -> str:
    """An element's name without its namespace."""
    return str(etree.QName(element).localname)
