"""The HTTP of the loopback listener: GETs of a path, from a browser that means this host; everything else is refused.

It cannot be worn out. A connection says what it wants within seconds, in one request of bounded length, and is closed.
There are only so many at once: when one more comes, the oldest is closed, so that connections that say nothing cannot
keep the browser out. No answer repeats anything of the request.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

#: Names under which a browser may know this host. Any other is a page that has turned its own name to 127.0.0.1.
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
#: A browser opens a few connections; beyond this number the oldest makes room.
_MOST_CONNECTIONS = 64
#: Seconds of silence after which a connection is closed.
_PATIENCE = 10

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>headless-worker</title>
<body style="font: 1.1em system-ui; margin: 15vh auto; max-width: 32em; text-align: center">
<p>{text}</p><p style="color: #666">You can close this window. The terminal says how it went.</p></body></html>"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_REFUSED = "The request was refused."


@dataclass(frozen=True)
class Reply:
    """A page of one sentence."""

    status: int
    text: str
    #: Called when the page has been sent, or cannot be.
    done: Callable[[], None] = lambda: None


class CallbackServer(ThreadingHTTPServer):
    """Asks `serve` what to say to each GET, by its path and query. Raises OSError when it cannot listen."""

    request_queue_size = 128

    def __init__(self, place: tuple[str, int], serve: Callable[[str], Reply]) -> None:
        self.address_family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self.serve = serve
        self._open: dict[socket.socket, None] = {}
        self._lock = threading.Lock()
        super().__init__(place, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """See BaseServer."""
        with self._lock:
            oldest = next(iter(self._open)) if len(self._open) >= _MOST_CONNECTIONS else None
            if oldest is not None:
                del self._open[oldest]
            self._open[request] = None
        if oldest is not None:
            _hang_up(oldest)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """See BaseServer."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, and hang up on whoever is still there."""
        super().server_close()
        with self._lock:
            remaining = list(self._open)
        for one in remaining:
            _hang_up(one)

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a browser that hangs up is no fault, and what it asked for holds the code."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE
    server: CallbackServer

    def do_GET(self) -> None:
        """Answer, if it is a browser's request for a path on this host."""
        # As it came: the base class makes one slash of several.
        target = self.requestline.split()[1]
        if self.request_version == "HTTP/0.9" or not target.startswith("/") or not self._means_us():
            self._reply(Reply(400, _REFUSED))
            return
        reply = self.server.serve(target)
        try:
            self._reply(reply)
        finally:
            reply.done()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - both repeat the request
        """Refuse, in words that are always the same: the base class would repeat the request's own."""
        self._reply(Reply(405 if code == 501 else code, _REFUSED))  # noqa: PLR2004 - a method that we do not know

    def version_string(self) -> str:
        """Not the version of Python."""
        return "headless-worker"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the query holds the code."""

    def _means_us(self) -> bool:
        """Whether the Host field, of which there must be one (RFC 9112 section 3.2), names this host."""
        named = self.headers.get_all("Host") or []
        try:
            return len(named) == 1 and urlsplit(f"//{named[0].strip()}").hostname in LOOPBACK
        except ValueError:
            return False

    def _reply(self, reply: Reply) -> None:
        body = _PAGE.format(text=reply.text).encode()
        self.close_connection = True
        # Else a request in the manner of HTTP/0.9 would get the page without the fields that protect it.
        self.request_version = "HTTP/1.0"
        self.send_response(reply.status)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Security-Policy", _POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        if reply.status == 405:  # noqa: PLR2004 - RFC 9110 section 15.5.6
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
