"""Who consented: asked of the ID token, or of the identity URL where the provider has no ID tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import requests

from worker.accounts.clock_watch import sentence
from worker.accounts.lone_call import call
from worker.errors import EnrolmentFailed
from worker.oauth.bearer import field_value
from worker.oauth.identity import identity_of, read_id_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.accounts.client import Client
    from worker.oauth.tokens import Tokens

_OK = 200


def identify(client: Client, tokens: Tokens, nonce: str | None, now: float) -> dict[str, str]:
    """`subject` and `label` of who consented; empty when the provider offers neither way. Raises EnrolmentFailed."""
    claims: Mapping[str, object] | None = None
    if tokens.id_token is not None:
        claims = _read(client, tokens.id_token, nonce, now)
    elif (url := client.identity_url()) is not None:
        claims = _ask(client, url, tokens)
    if claims is None:
        return {}
    identity = identity_of(dict(claims), subject_claim=client.integration.identity_claim)
    return {"subject": identity.subject, "label": identity.label}


def _read(client: Client, id_token: str, nonce: str | None, now: float) -> Mapping[str, object]:
    client_id = client.integration.client_id
    try:
        return read_id_token(id_token, issuer=client.issuer(), client_id=client_id, nonce=nonce, now=now)
    except EnrolmentFailed as error:
        if client.skew is None or not client.skew.wrong:
            raise
        hint = "set the clock: timedatectl set-ntp true; then start the enrolment again"
        raise EnrolmentFailed(f"{error.message}; {sentence(client.skew)}", hint=hint, evidence=error.evidence) from None


def _ask(client: Client, url: str, tokens: Tokens) -> Mapping[str, object]:
    headers = {
        **client.integration.headers,
        client.integration.token_header: field_value(client.integration.token_header, tokens.access_token),
        "Accept": "application/json",
    }
    try:
        answer = call("GET", url, client.timeouts, headers=headers)
        claims = json.loads(answer.body) if answer.status == _OK else None
    except (requests.RequestException, ValueError, RecursionError) as error:
        raise EnrolmentFailed(f"the identity URL gave no answer that can be read ({type(error).__name__})") from None
    if not isinstance(claims, dict):
        raise EnrolmentFailed(f"the identity URL answered {answer.status}", hint="look at identity_url and the scopes")
    return claims
