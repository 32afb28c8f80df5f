"""What the API's answer says about the token, read off a response without spoiling it for the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.accounts.bounded import is_read, load
from worker.oauth.rejection import read_rejection

if TYPE_CHECKING:
    import requests

    from worker.oauth.rejection import Rejection, RejectionRules

_ASKING = frozenset({401, 403})
#: Bytes of an error body that are searched for a code.
_LARGEST_ERROR_BODY = 1 << 16
#: Bytes, unpacked, of an error body that was to be a stream and is read because it ought to be short.
_LARGEST_EXPLANATION = 1 << 20


def read_answer(response: requests.Response, rules: RejectionRules) -> Rejection | None:
    """What the answer says about the token; None when it is not about the token.

    Raises requests.RequestException when a body that has to be read cannot be, or has no end.
    """
    status = response.status_code
    if status not in _ASKING and not any(rule.status == status for rule in rules.rejected_when):
        return None
    return read_rejection(
        status,
        _challenges(response),
        response.headers.get("Content-Type", ""),
        _small_body(response),
        rules=rules,
        headers=[f"{name}: {value}" for name, value in response.headers.items()],
    )


def _challenges(response: requests.Response) -> list[str]:
    """The WWW-Authenticate fields, apart: requests joins repeated ones, urllib3 keeps them."""
    fields = getattr(response.raw, "headers", None)
    apart = getattr(fields, "getlist", None)
    if apart is not None:
        return list(apart("WWW-Authenticate"))
    joined = response.headers.get("WWW-Authenticate")
    return [] if joined is None else [joined]


def _small_body(response: requests.Response) -> bytes:
    """The body as far as it may hold an error code; of a stream, a long one is left for the caller to read."""
    if not is_read(response) and not _is_small(response):
        return b""
    load(response, _LARGEST_EXPLANATION)
    return (response.content or b"")[:_LARGEST_ERROR_BODY]


def _is_small(response: requests.Response) -> bool:
    length = response.headers.get("Content-Length", "")
    if length.isdigit():
        return int(length) <= _LARGEST_ERROR_BODY
    # Sent in chunks, so its length shows at its end. JSON that explains an error does end.
    return "json" in response.headers.get("Content-Type", "").lower()
