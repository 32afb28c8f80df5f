"""The call to the token endpoint: sent once, never repeated by itself, never redirected.

What matters about a failure is whether the server may have acted on the request. A refused connection has changed
nothing. A connection that broke after the request was on its way may have rotated the refresh token, and the new one is
lost with the answer: that is `NoAnswer`, and the account is in doubt. Between the two lies the first byte of the form:
without it, a server cannot have acted.

Every call opens a connection of its own. A kept-alive one that the server has just closed would fail after sending,
which looks exactly like a lost answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import requests
from requests.exceptions import ContentDecodingError, InvalidHeader, InvalidSchema, InvalidURL, MissingSchema
from urllib3.exceptions import LocationValueError

from worker.accounts.bounded import UnreadableError
from worker.accounts.lone_call import Timeouts, read_whole, sent
from worker.accounts.network_words import what_happened
from worker.accounts.one_call import Form, Line
from worker.errors import Misconfigured
from worker.oauth.verdict import Outcome, Postponed, read_retry_after, read_token_answer
from worker.redact import scrub_patterns

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.clock import Clock
    from worker.oauth.dialect import Dialect
    from worker.oauth.token_request import TokenRequest

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


def ask(
    request: TokenRequest,
    timeouts: Timeouts,
    dialect: Dialect,
    clock: Clock,
    user_agent: str,
    *,
    hear: Callable[[requests.Response], None] | None = None,
) -> Outcome | NotSent | NoAnswer:
    """Send one token request and read its answer; `hear` is shown its header fields before that.

    Raises Misconfigured, with nothing sent, when the URL is none.
    """
    line = Line()
    form = Form(urlencode(request.form).encode(), line)
    headers = {**request.headers, "User-Agent": user_agent}
    response: requests.Response | None = None
    try:
        with sent("POST", request.url, timeouts, line, data=form, headers=headers) as response:
            if hear is not None:
                hear(response)
            body = read_whole(response, line)
            return read_token_answer(response.status_code, response.headers, body, now=clock.now(), dialect=dialect)
    except _UNSENDABLE as error:
        if form.begun:
            return NoAnswer(_evidence(error, response))
        raise Misconfigured(f"{request.url} cannot be asked for a token: {error}") from None
    except (UnreadableError, ContentDecodingError) as error:
        assert response is not None
        after = read_retry_after(response.headers.get("Retry-After", ""), now=clock.now())
        return Postponed(_evidence(error, response), after)
    except requests.RequestException as error:
        return NoAnswer(_evidence(error, response)) if form.begun else NotSent(_evidence(error, response))


def _evidence(error: Exception, response: requests.Response | None) -> dict[str, object]:
    evidence: dict[str, object] = {
        "summary": scrub_patterns(f"the token endpoint {what_happened(error)}"),
        "fault": type(error).__name__,
        "detail": scrub_patterns(str(error))[:300],
    }
    if response is not None:
        evidence["status"] = response.status_code
    return evidence
