"""A small API on WSGI for what the sandbox does not do: versions of an answer, quotas, pages without end, faults in the
middle. It is in the sandbox's place for `House`, with a token endpoint that refuses nobody.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from wsgiref.handlers import format_date_time
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment


@dataclass
class Reply:
    """One answer. Without `whole`, the connection ends in the middle of it."""

    body: Any = None
    status: str = "200 OK"
    headers: list[tuple[str, str]] = field(default_factory=list)
    whole: bool = True


class WsgiApi:
    """Answers by `reply`, a function of path and query; keeps path, query and header fields of what it was asked."""

    def __init__(self, reply: Callable[[str, dict[str, str]], Reply]) -> None:
        self.reply = reply
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self._server = make_server("127.0.0.1", 0, self._answer, _Quiet, _QuietHandler)
        self.api_base = f"http://127.0.0.1:{self._server.server_port}/"
        self.token_url = f"{self.api_base}token"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def grant(self, user: str, _scopes: list[str]) -> dict[str, str]:
        """Tokens that it takes: it takes all."""
        return {"access_token": f"access-{user}", "refresh_token": f"refresh-{user}"}

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
        fields = {name[5:].lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
        if environ["PATH_INFO"] == "/token":
            reply = Reply({"access_token": "access-again", "expires_in": 10**8})
        else:
            self.asked.append((environ["PATH_INFO"], query, fields))
            reply = self.reply(environ["PATH_INFO"], query)
        body = b"" if reply.body is None else json.dumps(reply.body).encode()
        length = len(body) if reply.whole else len(body) + 100
        start(reply.status, [("Content-Length", str(length)), ("Content-Type", "application/json"), *reply.headers])
        return [body]


class _Quiet(WSGIServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients break off on purpose."""


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


def http_date(moment: float) -> str:
    """A moment as header fields write it."""
    return format_date_time(moment)
