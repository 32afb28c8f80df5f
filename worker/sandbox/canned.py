"""The answers of planned faults that replace a handler's own."""

from __future__ import annotations

import gzip
import io
import random
from http import HTTPStatus
from typing import TYPE_CHECKING

from worker.sandbox.faults import AFTER, DEFAULT_DRIP
from worker.sandbox.messages import Delivery, Response, html_response, json_response, redirect, xml_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.sandbox.faults import Fault
    from worker.sandbox.messages import Manner, Request

RATE_LIMIT_MESSAGE = "You have exceeded the allowed number of requests. Please wait before retrying."
ELSEWHERE = "/_elsewhere"
BOMB_BLOCK = b"\0" * 65536

#: Ten entities of ten: 10^8 copies when expanded.
XML_BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE Events [<!ENTITY a0 "arlo">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
    + "]>\n<Events>&a8;</Events>"
)


def rate_limited(retry_after: int | str) -> Response:
    """The documented answer to too many requests: JSON, although the API speaks XML."""
    seconds = int(retry_after) if str(retry_after).isdigit() else 60
    document = {"error": "rate_limit_exceeded", "message": RATE_LIMIT_MESSAGE, "retryAfter": seconds}
    return json_response(document, HTTPStatus.TOO_MANY_REQUESTS, ("Retry-After", str(retry_after)))


def challenge(platform: str, code: str = "", message: str = "", scopes: str = "") -> tuple[str, str]:
    """The documented `WWW-Authenticate` field: scheme Basic even for bearer tokens, `error_message`, `scopes`."""
    parts = {"realm": platform, "error": code, "error_message": message, "scopes": scopes}
    return "WWW-Authenticate", "Basic " + ", ".join(f'{name}="{value}"' for name, value in parts.items() if value)


def spoiled(fault: Fault, response: Response) -> Response:
    """The handler's own answer with the delivery of an `AFTER` kind."""
    pause = fault.delay or (DEFAULT_DRIP if fault.kind == "drip" else 0.0)
    response.delivery = Delivery(AFTER[fault.kind], pause)
    return response


def canned(fault: Fault, request: Request, platform: str, port: int) -> Response:
    """The answer of a `BEFORE` kind."""
    response = _answer(fault, request, platform, port)
    if fault.status:
        response.status = fault.status
    if fault.retry_after and not any(name == "Retry-After" for name, _ in response.headers):
        response.headers.append(("Retry-After", fault.retry_after))
    if response.delivery == Delivery() and fault.delay:
        response.delivery = Delivery("whole", fault.delay)
    return response


def _answer(fault: Fault, request: Request, platform: str, port: int) -> Response:
    if fault.kind in _SILENCE:
        return Response(HTTPStatus.OK, delivery=Delivery(_SILENCE[fault.kind], fault.delay))
    if fault.kind == "redirect":
        target = fault.location or f"http://localhost:{port}{ELSEWHERE}{request.path}"
        return redirect(target, HTTPStatus.TEMPORARY_REDIRECT)
    if fault.kind == "http_429":
        return rate_limited(fault.retry_after or 60)
    if fault.kind in _BY_SIZE:
        return _BY_SIZE[fault.kind](fault.size)
    if fault.kind in _REJECTIONS:
        status, code, message, scopes = _REJECTIONS[fault.kind]
        return Response(status, b"", [challenge(platform, code, message, scopes)])
    return _FIXED[fault.kind]()


def gzip_bomb(size: int) -> bytes:
    """A compressed body that unpacks to `size` bytes."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as bomb:
        for done in range(0, size, len(BOMB_BLOCK)):
            bomb.write(BOMB_BLOCK[: size - done])
    return packed.getvalue()


def _garbage() -> Response:
    return Response(HTTPStatus.OK, b"\xff\xfe\x00" + random.Random(1).randbytes(600), [_JSON])


def _proxy_page() -> Response:
    page = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1><hr>proxy</body></html>"
    return html_response(page, HTTPStatus.BAD_GATEWAY)


def _exception(status: HTTPStatus, message: str) -> Callable[[], Response]:
    body = f"<ApiException><Code>{status.phrase.replace(' ', '')}</Code><Message>{message}</Message></ApiException>"
    return lambda: xml_response(body, status)


_JSON = ("Content-Type", "application/json; charset=utf-8")

_SILENCE: dict[str, Manner] = {"timeout": "hang", "reset_before": "reset"}

_BY_SIZE: dict[str, Callable[[int], Response]] = {
    "huge": lambda size: Response(HTTPStatus.OK, b'{"padding": "', [_JSON], filler=size),
    "gzip_bomb": lambda size: Response(HTTPStatus.OK, gzip_bomb(size), [_JSON, ("Content-Encoding", "gzip")]),
}

_REJECTIONS = {
    "invalid_token": (HTTPStatus.UNAUTHORIZED, "invalid_token", "The access token is invalid", ""),
    "expired_token": (HTTPStatus.UNAUTHORIZED, "expired_token", "The access token has expired", ""),
    "insufficient_scope": (
        HTTPStatus.FORBIDDEN,
        "insufficient_scope",
        "The access token does not have the required scope",
        "all_claims",
    ),
}

_FIXED: dict[str, Callable[[], Response]] = {
    "http_500": lambda: json_response({"error": "server_error"}, HTTPStatus.INTERNAL_SERVER_ERROR),
    "http_503": lambda: json_response({"error": "temporarily_unavailable"}, HTTPStatus.SERVICE_UNAVAILABLE),
    "html": _proxy_page,
    "garbage": _garbage,
    "unauthorized": lambda: Response(HTTPStatus.UNAUTHORIZED),
    "forbidden": _exception(HTTPStatus.FORBIDDEN, "You are not permitted to access this resource."),
    "invalid_client": lambda: json_response({"error": "invalid_client"}, HTTPStatus.BAD_REQUEST),
    "invalid_grant": lambda: json_response({"error": "invalid_grant"}, HTTPStatus.BAD_REQUEST),
    "xml_bomb": lambda: Response(HTTPStatus.OK, XML_BOMB.encode(), [("Content-Type", "application/xml")]),
}
