"""Asking only for what has changed (RFC 9110 section 13).

A validator says which version of an answer a job has dealt with. It is JSON and belongs into the cursor: `checkpoint`
stores it together with the rows that it covers, never before them, or a crash in between would leave them out for good.

    answer = ctx.get("/prices", changed_since=ctx.cursor.get("prices"))
    if answer.status_code == 304:
        return
    ctx.emit("prices", answer.json(), key="sku")
    ctx.checkpoint(prices=validator(answer))

Every command imports this module, by way of `worker` itself: what it needs is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError

if TYPE_CHECKING:
    import requests

#: Nothing new (RFC 9110 section 15.4.5).
NOT_MODIFIED = 304
#: Seconds by which a Last-Modified must be older than its answer: it counts whole seconds, so what changes once more in
#: the same one does not show (RFC 9110 section 8.8.2.2). The minute is for servers whose clocks differ.
_SETTLED = 60.0
#: Characters; real ones have some dozen, and a cursor is not to be filled by a server.
_LONGEST = 1000


def validator(response: requests.Response) -> dict[str, str] | None:
    """What the answer says of its version; None when it says nothing that can be relied on.

    (None takes an older one out of the cursor: the next run then asks for everything.)
    """
    from worker.jobs.limit_fields import read_date  # noqa: PLC0415 - see the module's docstring

    fields = response.headers
    etag, modified = fields.get("ETag", ""), fields.get("Last-Modified", "")
    found = {"etag": etag} if 0 < len(etag) <= _LONGEST else {}
    changed_at, sent_at = read_date(modified), read_date(fields.get("Date", ""))
    if changed_at is not None and sent_at is not None and sent_at - changed_at >= _SETTLED:
        found["last_modified"] = modified.strip()
    first = response.history[0] if response.history else response
    return {"of": _mark(first.request.url), **found} if found else None


def conditions(known: Any, session: requests.Session, url: str, params: Mapping[str, Any] | None) -> dict[str, str]:
    """The header fields that make a GET conditional on a stored validator; none when it is of another address.

    Raises WorkerError for what is no validator.
    """
    if known is None:
        return {}
    if not isinstance(known, Mapping) or not all(
        isinstance(known.get(name, ""), str) for name in ("etag", "last_modified")
    ):
        raise WorkerError(
            f"changed_since takes what validator(answer) has made, not a {type(known).__name__}",
            hint="ctx.checkpoint(name=validator(answer)), and then ctx.get(…, changed_since=ctx.cursor.get(name))",
        )
    import requests  # noqa: PLC0415 - as above

    prepared = session.prepare_request(requests.Request("GET", url, params=params))
    if known.get("of") != _mark(prepared.url):
        return {}  # other parameters than last time: its versions say nothing about this one
    fields = {"If-None-Match": known.get("etag"), "If-Modified-Since": known.get("last_modified")}
    return {name: value for name, value in fields.items() if value}


def _mark(url: str | None) -> str:
    """An address as a cursor may hold it: it may have a key in it."""
    from hashlib import sha256  # noqa: PLC0415 - as above

    return sha256((url or "").encode()).hexdigest()[:16]
