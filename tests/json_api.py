"""A JSON API that wants a token of a running sandbox: collections with `since`, `limit` and `after` (the place of the
last row, so that pages do not shift), and what hangs below a row at COLLECTION/ID/NAME.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from worker.sandbox.tokens import TokenRejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.sandbox import Sandbox


class JsonApi:
    """Serves `collections` at `/v1/NAME`; a context manager."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.collections: dict[str, list[dict[str, Any]]] = {}
        #: Paths with query, as they were asked for and answered with 200.
        self.asked: list[str] = []
        #: Called with the number of each answered page.
        self.after_page: Callable[[int], Any] = lambda _number: None
        #: Seconds since 1970 for the Date header; None: no such header.
        self.date: float | None = None
        #: Rows are sorted by their time, else by their id.
        self.by_time = True
        self._sandbox = sandbox
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.base = f"http://127.0.0.1:{self._server.server_port}/v1/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fill(self, name: str, count: int, *, minutes: bool = False) -> None:
        """Rows that changed one second (or minute) after the other, every two at the same time."""
        self.collections[name] = [
            {"id": number, "name": f"{name} {number}", "updated_at": self.time(number // 2 * (60 if minutes else 1))}
            for number in range(1, count + 1)
        ]

    def moment(self, seconds: int) -> float:
        """Seconds after the beginning of 2026, as seconds since 1970."""
        return datetime(2026, 1, 1, tzinfo=UTC).timestamp() + seconds

    def time(self, seconds: int) -> str:
        """The same as the API writes it."""
        return datetime.fromtimestamp(self.moment(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def refuses(self, token: str) -> str:
        """Why a token is no good; empty when it is."""
        try:
            self._sandbox._state.tokens.check(token, self._sandbox._state.now())
        except TokenRejected as rejected:
            return rejected.code or "no token"
        return ""

    def page(self, path: str, query: dict[str, str]) -> dict[str, Any] | None:
        """One page; None when there is no such place."""
        name, *below = path.removeprefix("/v1/").strip("/").split("/")
        rows = self.collections.get("/".join([name, *below[1:]]))
        if rows is None:
            return None
        if below:
            rows = [row for row in rows if str(row["parent"]) == below[0]]
        chosen = [row for row in rows if row.get("updated_at", "") >= query.get("since", "")]
        chosen.sort(key=self._place)
        if "after" in query:
            chosen = [row for row in chosen if self._place(row) > tuple(json.loads(query["after"]))]
        rows = chosen[: int(query.get("limit", 2))]
        more = len(chosen) > len(rows)
        return {"data": rows, "meta": {"next": json.dumps(self._place(rows[-1])) if more else None}}

    def _place(self, row: dict[str, Any]) -> tuple[str, int]:
        return (row.get("updated_at", "") if self.by_time else "", row["id"])


class _Handler(BaseHTTPRequestHandler):
    api: JsonApi
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for an answer

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        refused = self.api.refuses(self.headers.get("Authorization", "").removeprefix("Bearer "))
        if refused:
            self._answer(401, {"error": refused}, ("WWW-Authenticate", f'Bearer error="{refused}"'))
            return
        page = self.api.page(asked.path, {name: values[-1] for name, values in parse_qs(asked.query).items()})
        if page is None:
            self._answer(404, {"message": "no such place"})
            return
        self.api.asked.append(self.path.removeprefix("/v1"))
        self._answer(200, page)
        self.api.after_page(len(self.api.asked))

    def _answer(self, status: int, body: object, *headers: tuple[str, str]) -> None:
        content = json.dumps(body).encode()
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.api.date is not None:
            self.send_header("Date", formatdate(self.api.date, usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def handle_one_request(self) -> None:
        super().handle_one_request()
        if not self.wfile.closed:
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Nothing is said."""
