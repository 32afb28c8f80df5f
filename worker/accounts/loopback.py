"""The loopback listener of one enrolment (RFC 8252, section 7.3): 127.0.0.1, one answer, then closed.

The port is open only while a human is at the consent page. Requests that are not the answer (a favicon, a scanner)
are refused and do not end the wait. The page it shows holds nothing of others and is not kept.
"""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from worker.errors import EnrolmentFailed, Misconfigured

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>headless-worker</title>
<body style="font: 1.1em system-ui; margin: 15vh auto; max-width: 32em; text-align: center">
<p>{text}</p><p style="color: #666">You can close this window. The terminal says how it went.</p></body></html>"""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class LoopbackListener:
    """Waits for one redirect. Use as a context manager; the port is closed when the block ends."""

    def __init__(self, redirect_uri: str | None) -> None:
        #: Exactly as registered when the config names one, else a free port on 127.0.0.1.
        self.redirect_uri = redirect_uri or ""
        host, port, self._path = _place(redirect_uri)
        self._answer: str | None = None
        self._first = threading.Lock()
        self._arrived = threading.Event()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                listener._serve(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Nothing: the query holds the code."""

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def handle_error(self, request: object, client_address: object) -> None:
                """Nothing: a browser that hangs up is no fault, and what it asked for holds the code."""

        try:
            self._server = Server((host, port), Handler)
        except OSError as error:
            raise Misconfigured(
                f"cannot listen on {host}:{port}: {error.strerror}", hint="use --paste, or free the port"
            ) from None
        if redirect_uri is None:
            self.redirect_uri = f"http://127.0.0.1:{self._server.server_address[1]}{self._path}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, seconds: float) -> str:
        """The address that the browser was sent to. Raises EnrolmentFailed after so many seconds without one."""
        if not self._arrived.wait(seconds):
            raise EnrolmentFailed(
                f"no answer came within {seconds:.0f} s; was the browser closed? Nothing was changed",
                hint="start again, with --paste where the browser is on another machine",
            )
        assert self._answer is not None
        return self._answer

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        found = parse_qs(parts.query)
        if parts.path != self._path or not ({"code", "error"} & found.keys()):
            _reply(request, 404, "There is nothing here.")
            return
        if not self._first.acquire(blocking=False):
            _reply(request, 410, "The answer was received before.")
            return
        place = urlsplit(self.redirect_uri)
        self._answer = f"{place.scheme}://{place.netloc}{request.path}"
        try:
            _reply(request, 200, "Thank you, the answer was received.")
        finally:
            # Also for a browser that has hung up meanwhile.
            self._arrived.set()


def _place(redirect_uri: str | None) -> tuple[str, int, str]:
    if redirect_uri is None:
        return "127.0.0.1", 0, "/callback"
    parts = urlsplit(redirect_uri)
    if parts.scheme != "http" or (parts.hostname or "") not in _LOOPBACK or parts.port is None:
        raise Misconfigured(
            f"redirect_uri {redirect_uri} is not on this machine, so its answer cannot be received here",
            hint="use --paste; or register http://127.0.0.1:PORT/callback with the provider",
        )
    # Bound to the address, never to the name: `localhost` may be anything (RFC 8252, section 8.3).
    return "::1" if ":" in (parts.hostname or "") else "127.0.0.1", parts.port, parts.path or "/"


def _reply(request: BaseHTTPRequestHandler, status: int, text: str) -> None:
    body = _PAGE.format(text=text).encode()
    request.send_response(status)
    for name, value in (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ("Connection", "close"),
    ):
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
