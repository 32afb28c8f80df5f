"""A webhook's other side, accounts to be told of, and routes that lead there."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from worker.config.sections.notify import EVENTS
from worker.notify.message import Composer
from worker.notify.route import Route
from worker.notify.sender import Desk
from worker.notify.webhook import Webhook
from worker.redact import Secret
from worker.store.notifications import Addressee
from worker.store.records import Consent, Finding, NewTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.redact import Scrubber
    from worker.store.records import Grant
    from worker.store.store import Store
    from worker.testing.manual_clock import ManualClock

SIGNING = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
DEAD = Finding("revoked", "the provider refuses the refresh token (invalid_grant)", {"status": 400})


class Receiver:
    """Takes what is posted, and answers as it is told."""

    def __init__(self) -> None:
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.headers: dict[str, str] = {}
        #: While it is clear, no answer is given.
        self.open = threading.Event()
        self.open.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.taken.append(({name.lower(): value for name, value in self.headers.items()}, body))
                receiver.open.wait(60)
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def documents(self) -> list[dict[str, Any]]:
        """What was posted."""
        return [json.loads(body) for _, body in self.taken]

    def close(self) -> None:
        self.open.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receivers() -> Iterator[Callable[[], Receiver]]:
    """Makes receivers, and ends them."""
    made: list[Receiver] = []

    def make() -> Receiver:
        made.append(Receiver())
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def receiver(receivers: Callable[[], Receiver]) -> Receiver:
    """One receiver."""
    return receivers()


@pytest.fixture
def desk(sqlite_store: Store, clock: ManualClock, scrubber: Scrubber) -> Desk:
    """What senders work with."""
    return Desk(sqlite_store, clock, Composer(scrubber, sqlite_store.notifications.jobs_waiting), timeout=20.0)


@pytest.fixture
def webhook(clock: ManualClock) -> Callable[..., Route]:
    """A route to a receiver."""

    def make(receiver: Receiver, name: str = "ops", remind: float = 0.0) -> Route:
        return Route(Addressee(name, EVENTS), Webhook(receiver.url, lambda: SIGNING, clock, "test"), remind)

    return make


@pytest.fixture
def enrolled(sqlite_store: Store, clock: ManualClock) -> Callable[..., Grant]:
    """Enrols an account."""

    def make(account: str = "acme") -> Grant:
        tokens = NewTokens(Secret("first-access"), Secret("first-refresh"), "Bearer", 3600.0, clock.now(), None)
        consent = Consent("arlo", account, tokens, ("read",), {"subject": "s1"}, "paste")
        return sqlite_store.grants.store_consent(consent, clock.now())

    return make


@pytest.fixture
def flag(sqlite_store: Store, clock: ManualClock, enrolled: Callable[..., Grant]) -> Callable[..., None]:
    """Enrols an account, and has its grant refused."""

    def make(account: str = "acme", finding: Finding = DEAD) -> None:
        sqlite_store.grants.flag(enrolled(account), finding, clock.now())

    return make


def until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Wait for something that has to come."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} never came")


@pytest.fixture(name="until")
def waiting() -> Callable[..., Any]:
    """See `until`."""
    return until
