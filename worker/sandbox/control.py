"""The handles that tests, drills and the demo pull, in the same process or over HTTP.

Each operation is one function over the state; its keyword arguments are what the JSON body of
`POST /_control/<operation>` may hold, and its result is the JSON answer. The endpoints demand a random token as a
bearer, so that a web page in somebody's browser cannot drive them.
"""

from __future__ import annotations

import hmac
import inspect
import json
from typing import TYPE_CHECKING, Any

from worker.sandbox.control_rows import ROW_OPERATIONS
from worker.sandbox.faults import Fault
from worker.sandbox.identity import SCOPES
from worker.sandbox.messages import Response, json_response
from worker.sandbox.settings import BadControl, changed, shown
from worker.sandbox.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.sandbox.messages import Request
    from worker.sandbox.state import State

PREFIX = "/_control/"


def perform(state: State, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Carry out one operation; `BadControl` for an unknown one or arguments that do not fit."""
    function = OPERATIONS.get(operation)
    if function is None:
        raise BadControl(f"unknown operation {operation!r}; known are {', '.join(sorted(OPERATIONS))}")
    try:
        inspect.signature(function).bind(state, **arguments)
    except TypeError as fault:
        raise BadControl(f"{operation}: {fault}") from None
    with state.lock:
        state.dataset.settle(state.now())
        return function(state, **arguments)


def control(request: Request, state: State) -> Response:
    """`GET` or `POST /_control/<operation>`; arguments in the JSON body, or for GET in the query."""
    token = request.bearer() or ""
    if not hmac.compare_digest(token.encode(), state.config.control_token.encode()):
        return json_response({"error": "the control token is missing or wrong"}, 401, ("WWW-Authenticate", "Bearer"))
    operation = request.path[len(PREFIX) :].strip("/")
    try:
        if request.method == "GET" and operation not in READ_ONLY:
            raise BadControl(f"{operation} changes something: use POST")
        arguments = request.parameters() if request.method == "GET" else json.loads(request.body or b"{}")
        if not isinstance(arguments, dict):
            raise BadControl("the body must be a JSON object")
        return json_response(perform(state, operation, arguments))
    except ValueError as fault:  # BadControl, JSON that is none, a repeated parameter
        return json_response({"error": str(fault)}, 400)


def _stats(state: State) -> dict[str, Any]:
    users = state.tokens.active_users(state.now())
    return {
        **state.tally.shown(),
        "active_grants": len(users),
        "grants": {user: users.count(user) for user in dict.fromkeys(users)},
        "rows": state.dataset.tables.sizes(),
        "planned_faults": state.faults.shown(),
    }


def _reset_stats(state: State) -> dict[str, Any]:
    under_way = state.tally.token_calls_now
    state.tally = Tally(token_calls_now=under_way, peak_concurrent_token_calls=under_way)
    return {}


def _settings(state: State) -> dict[str, Any]:
    return shown(state.settings)


def _set(state: State, **settings: object) -> dict[str, Any]:
    state.settings = changed(state.settings, settings)
    return shown(state.settings)


def _grant(state: State, user: str, scopes: Sequence[str] = SCOPES) -> dict[str, Any]:
    unknown = [one for one in scopes if one not in SCOPES]
    if unknown or not user:
        raise BadControl(f"grant: unknown scope {', '.join(unknown)}" if unknown else "grant: user is empty")
    grant = state.tokens.new_grant(user, tuple(scopes), tuple(scopes), state.now())
    issued = state.tokens.issue(grant, state.now())
    return {
        "access_token": issued.access_token,
        "refresh_token": issued.refresh_token,
        "expires_in": issued.expires_in,
        "token_type": "Bearer",
        "scopes": list(scopes),
    }


def _revoke(state: State, user: str) -> dict[str, Any]:
    return {"revoked": state.tokens.revoke_user(user)}


def _expire(state: State, user: str = "all") -> dict[str, Any]:
    return {"expired": state.tokens.expire(None if user == "all" else user, state.now())}


def _advance(state: State, seconds: float) -> dict[str, Any]:
    if not isinstance(seconds, int | float):
        raise BadControl(f"advance: {seconds!r} is no number of seconds")
    state.offset += seconds
    return {"now": state.now()}


def _fault(state: State, where: str, kind: str, **options: Any) -> dict[str, Any]:
    unknown = sorted(set(options) - set(Fault.__slots__))
    if unknown:
        raise BadControl(f"fault: unknown option {', '.join(unknown)}; known are {', '.join(Fault.__slots__)}")
    if "retry_after" in options:
        options["retry_after"] = "" if options["retry_after"] is None else str(options["retry_after"])
    state.faults.add(Fault(where=where, kind=kind, **options))
    return {"planned": state.faults.shown()}


def _clear_faults(state: State) -> dict[str, Any]:
    return {"cleared": state.faults.clear()}


OPERATIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "stats": _stats,
    "reset_stats": _reset_stats,
    "settings": _settings,
    "set": _set,
    "grant": _grant,
    "revoke": _revoke,
    "expire": _expire,
    "advance": _advance,
    "fault": _fault,
    "clear_faults": _clear_faults,
    **ROW_OPERATIONS,
}
#: Operations that GET may ask for.
READ_ONLY = ("stats", "settings", "rows")
