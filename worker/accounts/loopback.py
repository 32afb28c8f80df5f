"""The loopback listener of one enrolment (RFC 8252, section 7.3): 127.0.0.1, one answer, then closed.

The port is open while a human is at the consent page, and anything on this machine can reach it: a scanner, another
user, a web page that lets the browser ask for `http://127.0.0.1:PORT/callback?code=…`. So a request counts only if it
bears the state of this very attempt; all others are refused, and the wait goes on. Pages are fixed texts.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from worker.accounts.callback_server import LOOPBACK, CallbackServer, Reply
from worker.errors import EnrolmentFailed, Misconfigured
from worker.oauth.authorization import is_answer_to

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from worker.oauth.authorization import ExpectedCallback

_RECEIVED = Reply(200, "Thank you, the answer was received.")
_BEFORE = Reply(410, "The answer was received before.")
_NOTHING = Reply(404, "There is nothing here.")
_FOREIGN = Reply(400, "This is not the answer that is waited for. The enrolment goes on waiting.")


class LoopbackListener:
    """Waits for one redirect. Use as a context manager; the port is closed when the block ends."""

    def __init__(self, redirect_uri: str | None) -> None:
        #: Exactly as registered when the config names one, else a free port on 127.0.0.1.
        self.redirect_uri = redirect_uri or ""
        host, port, self._path = _place(redirect_uri)
        self._expected: ExpectedCallback | None = None
        self._answer: str | None = None
        #: Callbacks that belonged to no attempt of ours.
        self._refused = 0
        self._first = threading.Lock()
        self._arrived = threading.Event()
        try:
            self._server = CallbackServer((host, port), self._serve)
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

    def expect(self, expected: ExpectedCallback) -> None:
        """From now on the answer to this attempt is taken. To be called before anybody opens its address."""
        self._expected = expected

    def wait(self, seconds: float) -> str:
        """The address that the browser was sent to. Raises EnrolmentFailed after so many seconds without one."""
        if not self._arrived.wait(seconds):
            seen = f"; {self._refused} that came did not belong to this attempt" if self._refused else ""
            raise EnrolmentFailed(
                f"no answer came within {seconds:.0f} s{seen}; was the browser closed? Nothing was changed",
                hint="start again, with --paste where the browser is on another machine",
            )
        assert self._answer is not None
        return self._answer

    def _serve(self, target: str) -> Reply:
        """What to say to a GET of `target`, path and query as they came."""
        path, _, query = target.partition("?")
        if path != self._path or not query:
            return _NOTHING
        place = urlsplit(self.redirect_uri)
        address = f"{place.scheme}://{place.netloc}{target}"
        if self._expected is None or not is_answer_to(address, self._expected):
            self._refused += 1
            return _FOREIGN
        if not self._first.acquire(blocking=False):
            return _BEFORE
        self._answer = address
        # Set when the page is on its way, or cannot be sent: also for a browser that has hung up meanwhile.
        return Reply(_RECEIVED.status, _RECEIVED.text, self._arrived.set)


def _place(redirect_uri: str | None) -> tuple[str, int, str]:
    if redirect_uri is None:
        return "127.0.0.1", 0, "/callback"
    parts = urlsplit(redirect_uri)
    if parts.scheme != "http" or (parts.hostname or "") not in LOOPBACK or parts.port is None:
        raise Misconfigured(
            f"redirect_uri {redirect_uri} is not on this machine, so its answer cannot be received here",
            hint="use --paste; or register http://127.0.0.1:PORT/callback with the provider",
        )
    # Bound to the address, never to the name: `localhost` may be anything (RFC 8252, section 8.3).
    return "::1" if ":" in (parts.hostname or "") else "127.0.0.1", parts.port, parts.path or "/"
