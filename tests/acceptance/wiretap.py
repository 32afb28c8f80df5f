"""Between the program and its provider: forwards token requests, and keeps every secret that passes.

What travels is the whole truth about what is secret: the verifier never leaves the process in any other way.
"""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

#: Form fields and answer members whose value is a secret.
SECRET_FIELDS = ("code", "code_verifier", "refresh_token", "client_secret", "token")
SECRET_MEMBERS = ("access_token", "refresh_token", "id_token")


class Wiretap:
    """A forwarding server on 127.0.0.1; use as a context manager."""

    def __init__(self, behind: str) -> None:
        self.secrets: dict[str, set[str]] = {}
        netloc, tap = urlsplit(behind).netloc, self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                tap._note_request(self.headers.get("Authorization", ""), body)
                connection = http.client.HTTPConnection(netloc, timeout=30)
                try:
                    connection.request("POST", self.path, body, dict(self.headers))
                    answer = connection.getresponse()
                    content = answer.read()
                except (http.client.HTTPException, OSError):
                    # The server broke off; so do we.
                    self.close_connection = True
                    return
                finally:
                    connection.close()
                tap._note_answer(content)
                self.send_response(answer.status)
                for name in ("Content-Type", "Retry-After", "WWW-Authenticate"):
                    if answer.getheader(name):
                        self.send_header(name, answer.getheader(name))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _note(self, kind: str, value: object) -> None:
        if isinstance(value, str) and value:
            self.secrets.setdefault(kind, set()).add(value)

    def _note_request(self, authorization: str, body: bytes) -> None:
        self._note("basic credentials", authorization.partition(" ")[2])
        form = parse_qs(body.decode())
        for name in SECRET_FIELDS:
            self._note(name, form.get(name, [""])[0])

    def _note_answer(self, content: bytes) -> None:
        try:
            answer = json.loads(content)
        except ValueError:
            return
        if isinstance(answer, dict):
            for name in SECRET_MEMBERS:
                self._note(name, answer.get(name))
