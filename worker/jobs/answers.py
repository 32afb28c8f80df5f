"""What an API's answer means for the run: a success is handed on, a pause mends what is transient, the rest is said
in the API's own words. Tokens are not the subject here: the session has already refreshed and replayed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.errors import TryAgainLater, WorkerError
from worker.jobs.addresses import plain
from worker.jobs.json_body import read_json
from worker.jobs.limit_fields import LONGEST_WAIT, exhausted_for, read_date, read_quotas
from worker.redact import scrub_patterns

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

#: Request timeout, too many requests; every 5xx counts as well (RFC 9110 section 15).
_TRANSIENT = frozenset({408, 425, 429})
_SERVER_ERROR = 500
#: What an API answers whose limit is used up: RFC 6585 section 4, and GitHub.
_TOO_MANY, _FORBIDDEN = 429, 403
#: Characters of a body shown in an error: a sentence or two, not a page.
_EXCERPT = 300
#: Levels of an error's JSON that are searched for it.
_DEEPEST = 5
#: Where JSON APIs put their sentence: RFC 9457, OAuth, and the usual shapes.
_SENTENCES = ("detail", "error_description", "message", "Message", "title", "error", "errors")


def require_success(
    response: requests.Response, *, now: float, explain: Callable[[requests.Response], str] | None = None
) -> requests.Response:
    """The response itself when its status is 2xx.

    Raises TryAgainLater for what a pause mends (`is_passing`), WorkerError otherwise. `now` is a wall time in seconds,
    used only for dates in an answer that has no Date.
    """
    if 200 <= response.status_code < 300:  # noqa: PLR2004 - the class of successes, RFC 9110 section 15.3
        return response
    sentence = (explain(response) if explain is not None else "") or _sentence(response)
    url = plain(response.url)
    message = f"{response.request.method or 'GET'} {url} answered {response.status_code}"
    reason = f" {_one_line(response.reason)}" if response.reason else ""
    text = scrub_patterns(f"{message}{reason}{': ' + sentence if sentence else ''}")
    evidence: dict[str, object] = {"status": response.status_code, "url": scrub_patterns(url)}
    if is_passing(response, now):
        raise TryAgainLater(text, after=asked_wait(response, now), evidence=evidence)
    raise WorkerError(text, evidence=evidence)


def is_passing(response: requests.Response, now: float) -> bool:
    """Whether a pause mends it: 408, 425, 429, 5xx, and a 403 that says how long."""
    status = response.status_code
    if status == _FORBIDDEN:
        return asked_wait(response, now) is not None
    return status in _TRANSIENT or status >= _SERVER_ERROR


def asked_wait(response: requests.Response, now: float) -> float | None:
    """Seconds for which the other side wants to be left alone: its Retry-After, or with a 429 or 403 until something is
    left of every quota; None when it did not say.
    """
    asked = retry_after(response, now)
    if asked is None and response.status_code in {_TOO_MANY, _FORBIDDEN}:
        return exhausted_for(read_quotas(response.headers, now))
    return asked


def retry_after(response: requests.Response, now: float) -> float | None:
    """Seconds to wait as the answer's Retry-After says, whole (RFC 9110 section 10.2.3); None when it makes no sense.

    A date is measured against the answer's own Date, so that a clock that is off here does no harm.
    """
    text = response.headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= len(str(LONGEST_WAIT)) else None
    moment = read_date(text)
    if moment is None:
        return None
    sent = read_date(response.headers.get("Date", ""))
    wait = max(0.0, moment - (now if sent is None else sent))
    return wait if wait < LONGEST_WAIT else None


def server_time(response: requests.Response) -> float | None:
    """The answer's Date as seconds since the epoch, whole seconds; None when it has none."""
    return read_date(response.headers.get("Date", ""))


def _sentence(response: requests.Response) -> str:
    try:
        return _one_line(_from_json(read_json(response), _DEEPEST))
    except ValueError:
        if "html" in response.headers.get("Content-Type", "").lower():
            return ""
        # Of a body of megabytes no more is decoded than is shown.
        return _one_line(response.content[: 4 * _EXCERPT].decode(response.encoding or "utf-8", "replace"))
    except LookupError:  # an encoding that nobody knows
        return ""


def _from_json(body: Any, deepest: int) -> str:
    if isinstance(body, str):
        return body
    if isinstance(body, list) and body and deepest:
        return _from_json(body[0], deepest - 1)
    if isinstance(body, dict) and deepest:
        return next((text for name in _SENTENCES if (text := _from_json(body.get(name), deepest - 1))), "")
    return ""


def _one_line(text: str) -> str:
    """Fit for a terminal and a log: blanks for whatever does not print."""
    printed = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * _EXCERPT])
    return " ".join(printed.split())[:_EXCERPT]
