"""The call to the token endpoint: sent once, never repeated by itself, never redirected.

What matters about a failure is whether the server may have acted on the request. A refused connection has changed
nothing. A connection that broke after the request was on its way may have rotated the refresh token, and the new one is
lost with the answer: that is `NoAnswer`, and the account is in doubt. Between the two lies the first byte of the form:
without it, a server cannot have acted.

Every call opens a connection of its own. A kept-alive one that the server has just closed would fail after sending,
which looks exactly like a lost answer.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import requests
from requests.exceptions import ContentDecodingError, InvalidHeader, InvalidSchema, InvalidURL, MissingSchema
from urllib3.exceptions import LocationValueError

from worker.accounts.netrc import given_only
from worker.accounts.one_call import Form, Line, LineAdapter
from worker.errors import Misconfigured
from worker.oauth.verdict import Outcome, Postponed, read_retry_after, read_token_answer
from worker.redact import scrub_patterns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.clock import Clock
    from worker.oauth.dialect import Dialect
    from worker.oauth.token_request import TokenRequest

#: Bytes of an answer; real ones have a few thousand.
LARGEST_ANSWER = 1 << 20
#: A server that drips an answer byte by byte is given this many read timeouts in all.
_WHOLE_ANSWER = 2.0
#: What requests says about an address or a header that cannot be sent at all.
_UNSENDABLE = (InvalidURL, InvalidSchema, MissingSchema, InvalidHeader, LocationValueError, UnicodeError)


@dataclass(frozen=True)
class NotSent:
    """The request never reached the server: nothing has changed there."""

    evidence: dict[str, object]


@dataclass(frozen=True)
class NoAnswer:
    """The request was sent, and no (whole) answer came: what the server did is unknown."""

    evidence: dict[str, object]


@dataclass(frozen=True)
class Timeouts:
    """Seconds to reach the server, and to wait for its answer."""

    connect: float
    read: float


def ask(
    request: TokenRequest, timeouts: Timeouts, dialect: Dialect, clock: Clock, user_agent: str
) -> Outcome | NotSent | NoAnswer:
    """Send one token request and read its answer. Raises Misconfigured, with nothing sent, when the URL is none."""
    line = Line()
    form = Form(urlencode(request.form).encode(), line)
    headers = {**request.headers, "User-Agent": user_agent}
    response: requests.Response | None = None
    try:
        with (
            _session(line) as session,
            _watched(line, timeouts),
            session.post(
                request.url,
                data=form,
                headers=headers,
                allow_redirects=False,
                stream=True,
                timeout=(timeouts.connect, timeouts.read),
            ) as response,
        ):
            body = _read_body(response, line)
            return read_token_answer(response.status_code, response.headers, body, now=clock.now(), dialect=dialect)
    except _UNSENDABLE as error:
        if form.begun:
            return NoAnswer(_evidence(error, response))
        raise Misconfigured(f"{request.url} cannot be asked for a token: {error}") from None
    except (_UnreadableError, ContentDecodingError) as error:
        assert response is not None
        after = read_retry_after(response.headers.get("Retry-After", ""), now=clock.now())
        return Postponed(_evidence(error, response), after)
    except (requests.RequestException, _BrokenOffError) as error:
        return NoAnswer(_evidence(error, response)) if form.begun else NotSent(_evidence(error, response))


class _UnreadableError(Exception):
    """An answer came, and it is none that can be read."""


class _BrokenOffError(Exception):
    """The answer ended before its end."""


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
    watchdog = threading.Timer(timeouts.connect + timeouts.read * _WHOLE_ANSWER, line.cut)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def _read_body(response: requests.Response, line: Line) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(8192):
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise _UnreadableError(f"the answer is longer than {LARGEST_ANSWER} bytes")
    if line.was_cut:
        raise _BrokenOffError("the answer came too slowly")
    length = response.headers.get("Content-Length", "")
    if not response.headers.get("Content-Encoding") and length.isdigit() and len(body) < int(length):
        raise _BrokenOffError(f"the answer broke off after {len(body)} of {length} bytes")
    return bytes(body)


def _evidence(error: Exception, response: requests.Response | None) -> dict[str, object]:
    fault = type(error).__name__.strip("_")
    evidence: dict[str, object] = {"fault": fault, "detail": scrub_patterns(str(error))[:300]}
    if response is not None:
        evidence["status"] = response.status_code
    return evidence
