"""A call that stands alone: one connection, one answer, bounded in bytes and in time, no redirect, nothing repeated.

This is how everything but the API is asked: token and revocation endpoint, metadata, identity. Each of them is a host
that may be broken or in the wrong hands, and none of their real answers is long.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from worker.accounts.bounded import BrokenOffError, read_bounded
from worker.accounts.netrc import given_only
from worker.accounts.one_call import Line, LineAdapter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Bytes of an answer; real ones have a few thousand.
LARGEST_ANSWER = 1 << 20
#: A server that drips an answer byte by byte is given this many read timeouts in all.
_WHOLE_ANSWER = 2.0


@dataclass(frozen=True)
class Timeouts:
    """Seconds to reach the server, and to wait for its answer."""

    connect: float
    read: float

    @property
    def whole(self) -> float:
        """Seconds after which a call has ended, whatever the server does."""
        return self.connect + self.read * _WHOLE_ANSWER


@dataclass(frozen=True)
class WholeAnswer:
    """An answer that has arrived to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    #: Seconds until the header fields were there.
    seconds: float = 0.0


def call(method: str, url: str, timeouts: Timeouts, **request: Any) -> WholeAnswer:
    """Ask once. `request`: `headers` and `data` as `requests` takes them. Raises requests.RequestException, ValueError
    for a URL that is none.
    """
    line = Line()
    with sent(method, url, timeouts, line, **request) as response:
        body = read_whole(response, line)
        return WholeAnswer(response.status_code, response.headers, body, response.elapsed.total_seconds())


@contextmanager
def sent(method: str, url: str, timeouts: Timeouts, line: Line, **request: Any) -> Iterator[requests.Response]:
    """The answer as far as its header fields; `read_whole` reads its body. Raises as `call`."""
    with (
        _session(line) as session,
        _watched(line, timeouts),
        session.request(
            method, url, allow_redirects=False, stream=True, timeout=(timeouts.connect, timeouts.read), **request
        ) as response,
    ):
        if line.was_cut:  # the end of a line looks like the end of the header fields
            raise _too_slow()
        yield response


def read_whole(response: requests.Response, line: Line) -> bytes:
    """The body. Raises UnreadableError when it is too long, BrokenOffError when it is not all there."""
    body = read_bounded(response, LARGEST_ANSWER)
    if line.was_cut:
        raise _too_slow()
    length = response.headers.get("Content-Length", "")
    if not response.headers.get("Content-Encoding") and length.isdigit() and len(body) < int(length):
        raise BrokenOffError(f"the answer broke off after {len(body)} of {length} bytes")
    return body


def _too_slow() -> BrokenOffError:
    return BrokenOffError("the answer came too slowly")


@contextmanager
def _session(line: Line) -> Iterator[requests.Session]:
    with requests.Session() as session:
        # Set, and not merged: netrc must not put other credentials in place of the client's.
        session.auth = given_only
        for scheme in ("http://", "https://"):
            session.mount(scheme, LineAdapter(line))
        yield session


@contextmanager
def _watched(line: Line, timeouts: Timeouts) -> Iterator[None]:
    """Cut the line in the end: the read timeout restarts with every byte, so it alone would let an answer drip on."""
    watchdog = threading.Timer(timeouts.whole, line.cut)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
