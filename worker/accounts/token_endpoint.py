"""The call to the token endpoint: sent once, never repeated by itself, never redirected.

What matters about a failure is whether the server may have acted on the request. A refused connection has changed
nothing. A connection that broke after the request was on its way may have rotated the refresh token, and the new one is
lost with the answer: that is `NoAnswer`, and the account is in doubt.

Every call opens a connection of its own. A kept-alive one that the server has just closed would fail after sending,
which looks exactly like a lost answer.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError

from worker.errors import Misconfigured
from worker.oauth.verdict import Outcome, read_token_answer
from worker.redact import scrub_patterns

if TYPE_CHECKING:
    from worker.clock import Clock
    from worker.oauth.dialect import Dialect
    from worker.oauth.token_request import TokenRequest

#: Bytes of an answer; real ones have a few thousand.
LARGEST_ANSWER = 1 << 20
#: A server that drips an answer byte by byte is given this many read timeouts in all.
_WHOLE_ANSWER = 2.0


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
    """Send one token request and read its answer. Raises Misconfigured when the URL is none."""
    with requests.Session() as session:
        # Set, and not merged: netrc must not put other credentials in place of the client's.
        session.auth = _as_it_is
        session.headers["User-Agent"] = user_agent
        session.mount("http://", HTTPAdapter(max_retries=0))
        session.mount("https://", HTTPAdapter(max_retries=0))
        try:
            response = session.post(
                request.url,
                data=dict(request.form),
                headers=dict(request.headers),
                allow_redirects=False,
                stream=True,
                timeout=(timeouts.connect, timeouts.read),
            )
        except requests.RequestException as error:
            return _no_response(error, request.url)
        with response:
            try:
                body = _read_body(response, clock.monotonic() + timeouts.read * _WHOLE_ANSWER, clock)
            except (requests.RequestException, _TooMuchError) as error:
                return NoAnswer(_evidence(error, status=response.status_code))
            return read_token_answer(response.status_code, response.headers, body, now=clock.now(), dialect=dialect)


class _TooMuchError(Exception):
    """The answer was too long, or took too long."""


def _read_body(response: requests.Response, deadline: float, clock: Clock) -> bytes:
    body = bytearray()
    # The read timeout restarts with every byte: a watchdog ends a dripped answer.
    watchdog = threading.Timer(max(deadline - clock.monotonic(), 0), response.raw.close)
    watchdog.daemon = True
    watchdog.start()
    try:
        for chunk in response.iter_content(8192):
            body += chunk
            if len(body) > LARGEST_ANSWER:
                raise _TooMuchError(f"the answer is longer than {LARGEST_ANSWER} bytes")
            if clock.monotonic() > deadline:
                raise _TooMuchError("the answer came too slowly")
    except (AttributeError, ValueError, OSError) as error:
        # What reading raises when the watchdog has closed the connection under it.
        raise _TooMuchError(f"the answer came too slowly ({type(error).__name__})") from None
    finally:
        watchdog.cancel()
    length = response.headers.get("Content-Length", "")
    if not response.headers.get("Content-Encoding") and length.isdigit() and len(body) < int(length):
        raise _TooMuchError(f"the answer broke off after {len(body)} of {length} bytes")
    return bytes(body)


def _no_response(error: requests.RequestException, url: str) -> NotSent | NoAnswer:
    if isinstance(
        error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema | requests.exceptions.MissingSchema
    ):
        raise Misconfigured(f"{url} is no URL that can be asked for a token: {error}") from None
    return NotSent(_evidence(error)) if _never_sent(error) else NoAnswer(_evidence(error))


def _never_sent(error: requests.RequestException) -> bool:
    """Whether the failure came before the first byte of the request: connecting, the proxy, the TLS handshake."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError | requests.exceptions.SSLError):
        return True
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError)


def _evidence(error: Exception, *, status: int | None = None) -> dict[str, object]:
    evidence: dict[str, object] = {"fault": type(error).__name__, "detail": scrub_patterns(str(error))[:300]}
    if status is not None:
        evidence["status"] = status
    return evidence


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
