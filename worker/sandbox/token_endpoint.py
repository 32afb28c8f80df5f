"""`connect/token` and `connect/revocation`: the calls that the client is supposed to make as rarely as possible.

Errors are IdentityServer3's: always HTTP 400, also for `invalid_client`, and mostly without a description.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from worker.sandbox.canned import canned, spoiled
from worker.sandbox.clients import authenticate
from worker.sandbox.faults import AFTER
from worker.sandbox.identity import id_token
from worker.sandbox.messages import DuplicateParameter, Response, json_response
from worker.sandbox.tokens import OAuthRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.sandbox.messages import Request
    from worker.sandbox.state import State
    from worker.sandbox.tokens import Issued

GRANT_TYPES = ("authorization_code", "refresh_token")


def token(request: Request, state: State) -> Response:
    """POST `connect/token`: a planned fault first, then the delay, then the grant; all of it counted."""
    form = _lenient_form(request)
    grant_type = form.get("grant_type", "")
    grant_type = grant_type if grant_type in GRANT_TYPES else "other"
    with state.lock:
        user = state.tokens.owner(form.get("refresh_token", ""))
        fault = state.faults.take("token", user=user, grant_type=grant_type, path=request.path)
        state.tally.enter_token_call()
        if fault:
            state.tally.faults[f"token:{fault.kind}"] += 1
    outcome = "sandbox_fault"
    try:
        if fault and fault.kind not in AFTER:
            outcome, response = f"fault:{fault.kind}", canned(fault, request, state.config.platform, state.port)
        else:
            state.pause(state.settings.token_delay)
            with state.lock:
                outcome, response = _answered(request, state)
        return spoiled(fault, response) if fault and fault.kind in AFTER else response
    finally:
        with state.lock:
            state.tally.token_calls[grant_type][outcome] += 1
            state.tally.leave_token_call()


def _answered(request: Request, state: State) -> tuple[str, Response]:
    """Outcome for the statistics, and the answer."""
    try:
        form = request.form()
        authenticate(request, form, state)
        issued = _issued(form, state)
    except DuplicateParameter as fault:
        return "invalid_request", json_response({"error": "invalid_request", "error_description": str(fault)}, 400)
    except OAuthRefusal as refusal:
        return refusal.error, _refusal(refusal)
    return "granted", json_response(_token_answer(issued, form, state))


def _issued(form: Mapping[str, str], state: State) -> Issued:
    grant_type = form.get("grant_type", "")
    if grant_type not in GRANT_TYPES:
        raise OAuthRefusal("unsupported_grant_type" if grant_type else "invalid_request")
    if grant_type == "refresh_token":
        if not form.get("refresh_token"):
            raise OAuthRefusal("invalid_request", "refresh_token is missing")
        return state.tokens.refresh(form["refresh_token"], state.now())
    if not form.get("code"):
        raise OAuthRefusal("invalid_grant")
    verifier = form.get("code_verifier", "")
    return state.tokens.redeem(form["code"], form.get("redirect_uri", ""), verifier, state.now())


def _token_answer(issued: Issued, form: Mapping[str, str], state: State) -> dict[str, object]:
    """The fields in the provider's order; `scope` only where RFC 6749 section 5.1 demands it: it was narrowed."""
    grant, document = issued.grant, dict[str, object]()
    if "openid" in grant.scopes:
        document["id_token"] = id_token(issued, state)
    document |= {"access_token": issued.access_token, "expires_in": issued.expires_in, "token_type": "Bearer"}
    if issued.refresh_token:
        document["refresh_token"] = issued.refresh_token
    if grant.scopes != grant.requested and form.get("grant_type") == "authorization_code":
        document["scope"] = " ".join(grant.scopes)
    return document


def revocation(request: Request, state: State) -> Response:
    """POST `connect/revocation` (RFC 7009): 200 and empty, for an unknown token too."""
    try:
        form = request.form()
        with state.lock:
            authenticate(request, form, state)
            state.tokens.revoke_token(_token_to_revoke(form))
            state.tally.revocations += 1
    except DuplicateParameter as fault:
        return json_response({"error": "invalid_request", "error_description": str(fault)}, HTTPStatus.BAD_REQUEST)
    except OAuthRefusal as refusal:
        return _refusal(refusal)
    return Response(HTTPStatus.OK, b"", [("Cache-Control", "no-store")])


def _token_to_revoke(form: Mapping[str, str]) -> str:
    if not form.get("token"):
        raise OAuthRefusal("invalid_request", "token is missing")
    if form.get("token_type_hint", "refresh_token") not in {"refresh_token", "access_token"}:
        raise OAuthRefusal("unsupported_token_type")
    return form["token"]


def _refusal(refusal: OAuthRefusal) -> Response:
    document = {"error": refusal.error}
    if refusal.description:
        document["error_description"] = refusal.description
    return json_response(document, HTTPStatus.BAD_REQUEST)


def _lenient_form(request: Request) -> Mapping[str, str]:
    """The form for statistics and fault conditions, where a malformed one is nobody's."""
    try:
        return request.form()
    except DuplicateParameter:
        return {}
