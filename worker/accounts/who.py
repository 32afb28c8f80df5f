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
#: Answers that another question a moment later may turn into a better one (RFC 9110, sections 15.5.9 and 15.6; RFC 6585
#: section 4).
_PASSING = frozenset({408, 425, 429, *range(500, 600)})


class NotTold(EnrolmentFailed):
    """The provider did not say who consented, which is no lie either: what it granted is good."""

    def __init__(self, message: str, *, passing: bool, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        #: Whether asking again may help.
        self.passing = passing


def identify(client: Client, tokens: Tokens, nonce: str | None, now: float) -> dict[str, str]:
    """`subject` and `label` of who consented; empty when the provider offers neither way.

    Raises NotTold when the identity URL does not say, EnrolmentFailed for an ID token that is not to be trusted.
    """
    claims: Mapping[str, object] | None = None
    if tokens.id_token is not None:
        claims = _read(client, tokens.id_token, nonce, now)
    elif (url := client.identity_url()) is not None:
        claims = _ask(client, url, tokens)
    if claims is None:
        return {}
    try:
        identity = identity_of(dict(claims), subject_claim=client.integration.identity_claim)
    except EnrolmentFailed as error:
        raise NotTold(error.message, passing=False, hint=error.hint) from None
    return {"subject": identity.subject, "label": identity.label}


def identify_imported(client: Client, tokens: Tokens, now: float) -> dict[str, str]:
    """The same for tokens that an operator has brought: no browser could have slipped in somebody else's.

    So an ID token that is not to be trusted merely says nothing. Raises NotTold.
    """
    try:
        return identify(client, tokens, None, now)
    except NotTold:
        raise
    except EnrolmentFailed as error:
        raise NotTold(error.message, passing=False, hint=error.hint) from None


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
        "User-Agent": client.user_agent,
        **client.integration.headers,
        client.integration.token_header: field_value(client.integration.token_header, tokens.access_token),
        "Accept": "application/json",
    }
    hint = "look at identity_url and the scopes"
    try:
        answer = call("GET", url, client.timeouts, headers=headers)
        claims = json.loads(answer.body) if answer.status == _OK else None
    except (requests.RequestException, ValueError, RecursionError) as error:
        words = f"the identity URL gave no answer that can be read ({type(error).__name__})"
        raise NotTold(words, passing=True, hint=hint) from None
    if not isinstance(claims, dict):
        words = f"the identity URL answered {answer.status}"
        raise NotTold(words, passing=answer.status in _PASSING, hint=hint)
    return claims
