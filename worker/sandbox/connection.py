"""One HTTP/1.1 connection: reads requests, writes answers, and spoils them when their delivery says so.

Written by hand rather than on `http.server`, for two reasons: an answer must be able to end in a TCP reset or half way
through its body, and measurements of the client against this server should not measure this server.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

from worker.sandbox.messages import Request

if TYPE_CHECKING:
    from threading import Event

    from worker.sandbox.messages import Response

MAX_LINE = 65536
MAX_HEADERS = 100
MAX_BODY = 4 * 1024 * 1024
FILLER_BLOCK = b" " * 65536
#: How often a hanging connection looks whether the peer has gone, in seconds.
LOOK = 0.05


class BadRequest(Exception):
    """The bytes on the wire are no request that this server reads."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Wire:
    """What sending needs beside the answer."""

    connection: socket.socket
    stopping: Event
    date: str


def read_request(stream: BinaryIO, connection: socket.socket) -> tuple[Request, bool] | None:
    """The next request and whether the connection stays open after it; None when the peer has closed."""
    start = stream.readline(MAX_LINE)
    if not start.strip():
        return None
    try:
        method, target, version = start.decode("latin-1").split()
    except ValueError:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "malformed request line") from None
    headers = _read_headers(stream)
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = _read_body(stream, headers)
    path, _, query = target.partition("?")
    wish = headers.get("connection", "").lower()
    keep = "keep-alive" in wish if version == "HTTP/1.0" else "close" not in wish
    return Request(method, unquote(path), query, headers, body), keep


def _read_headers(stream: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(MAX_HEADERS):
        line = stream.readline(MAX_LINE).decode("latin-1").rstrip("\r\n")
        if not line:
            return headers
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "malformed header")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers")


def _read_body(stream: BinaryIO, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _read_chunks(stream)
    text = headers.get("content-length", "0")
    if not text.isdigit():
        raise BadRequest(HTTPStatus.BAD_REQUEST, "malformed Content-Length")
    if int(text) > MAX_BODY:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body too large")
    return stream.read(int(text))


def _read_chunks(stream: BinaryIO) -> bytes:
    body = bytearray()
    while True:
        try:
            size = int(stream.readline(MAX_LINE).split(b";")[0], 16)
        except ValueError:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "malformed chunk") from None
        if size < 0 or len(body) + size > MAX_BODY:
            raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body too large")
        body += stream.read(size)
        stream.readline(MAX_LINE)
        if not size:
            return bytes(body)


def send(wire: Wire, response: Response, *, head_only: bool, keep: bool) -> bool:
    """Write the answer as its delivery says; False when the connection is over."""
    delivery = response.delivery
    if delivery.manner == "hang":
        _hang(wire, delivery.delay)
        return False
    if delivery.manner == "reset":
        wire.stopping.wait(delivery.delay)
        reset(wire.connection)
        return False
    if delivery.manner != "drip" and delivery.delay:
        wire.stopping.wait(delivery.delay)
    head = _head(response, wire.date, keep=keep)
    body = b"" if head_only else response.body
    if delivery.manner == "half":
        wire.connection.sendall(head + body[: len(body) // 2])
        return False
    if delivery.manner == "drip":
        return _drip(wire, head, body, delivery.delay) and keep
    wire.connection.sendall(head + body)
    for sent in range(0, 0 if head_only else response.filler, len(FILLER_BLOCK)):
        wire.connection.sendall(FILLER_BLOCK[: response.filler - sent])
    return keep


def reset(connection: socket.socket) -> None:
    """Close so that the peer sees a connection reset instead of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _head(response: Response, date: str, *, keep: bool) -> bytes:
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {response.status} {phrase}", f"Date: {date}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    if response.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        lines.append(f"Content-Length: {len(response.body) + response.filler}")
    if not keep:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def _drip(wire: Wire, head: bytes, body: bytes, pause: float) -> bool:
    wire.connection.sendall(head)
    for position in range(len(body)):
        if wire.stopping.wait(pause):
            return False
        wire.connection.sendall(body[position : position + 1])
    return True


def _hang(wire: Wire, seconds: float) -> None:
    """Say nothing until the time is up, the peer has gone or the sandbox stops."""
    end = time.monotonic() + seconds if seconds else None
    while not wire.stopping.is_set() and (end is None or time.monotonic() < end):
        readable, _, _ = select.select([wire.connection], [], [], LOOK)
        if readable and not wire.connection.recv(1, socket.MSG_PEEK):
            return
        if readable:  # more bytes of a pipelining peer: nothing to learn from them
            wire.stopping.wait(LOOK)
