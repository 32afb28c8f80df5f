"""HTTP messages as values: what a handler gets and what it answers.

An answer carries its `Delivery`: the bytes may be right and still arrive late, torn or not at all, and that is decided
by a handler (or a planned fault) and done by the connection.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Mapping

Manner = Literal["whole", "reset", "hang", "half", "drip"]


class DuplicateParameter(ValueError):
    """A parameter stands twice, which RFC 6749 section 3.1 and 3.2 forbid."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the bytes of an answer travel."""

    #: whole; reset: TCP reset instead of an answer; hang: silence; half: half of the body, then the connection ends;
    #: drip: the body in single bytes.
    manner: Manner = "whole"
    #: Seconds: before the answer (whole, reset, half), between bytes (drip), of silence (hang; 0 until the end).
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case; a repeated field is joined by a comma."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    def parameters(self) -> dict[str, str]:
        """The query's parameters; `DuplicateParameter` if one is repeated."""
        return unique_pairs(self.query)

    def form(self) -> dict[str, str]:
        """The fields of a form-encoded body; `DuplicateParameter` if one is repeated, empty for another media type."""
        if not self.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
            return {}
        return unique_pairs(self.body.decode("utf-8", "replace"))

    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer` (RFC 6750 section 2.1), None when there is none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None


@dataclass(slots=True)
class Response:
    """One answer."""

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    delivery: Delivery = Delivery()
    #: Bytes of filler sent after the body, so that an endless answer needs no memory here.
    filler: int = 0


def unique_pairs(encoded: str) -> dict[str, str]:
    """Form-encoded pairs as a dict; an empty value stays, a repeated name raises `DuplicateParameter`."""
    pairs = parse_qsl(encoded, keep_blank_values=True)
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DuplicateParameter(f"given more than once: {', '.join(twice)}")
    return found


def json_response(document: object, status: int = HTTPStatus.OK, *headers: tuple[str, str]) -> Response:
    """A JSON answer that no cache keeps (RFC 6749 section 5.1)."""
    fixed = [("Content-Type", "application/json; charset=utf-8"), ("Cache-Control", "no-store"), ("Pragma", "no-cache")]
    return Response(status, json.dumps(document).encode(), fixed + list(headers))


def html_response(page: str, status: int = HTTPStatus.OK) -> Response:
    """A page that is neither cached nor framed."""
    return Response(
        status,
        page.encode(),
        [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Frame-Options", "DENY"),
        ],
    )


def xml_response(document: str, status: int = HTTPStatus.OK, *headers: tuple[str, str]) -> Response:
    """An XML document of the API."""
    declared = f'<?xml version="1.0" encoding="utf-8"?>\n{document}'
    return Response(status, declared.encode(), [("Content-Type", "application/xml; charset=utf-8"), *headers])


def redirect(location: str, status: int = HTTPStatus.FOUND) -> Response:
    """A redirection that no cache keeps."""
    return Response(status, b"", [("Location", location), ("Cache-Control", "no-store")])
