"""Giving a token back to the provider (RFC 7009)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import requests

from worker.accounts.lone_call import call
from worker.accounts.network_words import what_happened
from worker.errors import TryAgainLater
from worker.oauth.token_request import revocation_request
from worker.oauth.verdict import read_retry_after

if TYPE_CHECKING:
    from worker.accounts.client import Client
    from worker.redact import Secret
    from worker.store.records import Account

#: RFC 9110 section 15.3.
_SUCCESSES = range(200, 300)

TokenKind = Literal["refresh_token", "access_token"]


def give_back(client: Client, account: Account, url: str, token: Secret, kind: TokenKind) -> None:
    """Revoke a token. Raises TryAgainLater, and the token is then still good, for every answer but a success.

    A token that the provider does not know counts as revoked there (section 2.2).
    """
    request = revocation_request(url, client.credentials(), token, hint=kind)
    headers = {**request.headers, "User-Agent": client.user_agent}
    try:
        answer = call("POST", request.url, client.timeouts, data=request.form, headers=headers)
    except requests.RequestException as error:
        raise TryAgainLater(
            f"the provider's revocation endpoint {what_happened(error)}; the grant is still valid and kept"
        ) from None
    if answer.status not in _SUCCESSES:
        raise TryAgainLater(
            f"the provider answered {answer.status} to the revocation; the grant is kept",
            after=read_retry_after(answer.headers.get("Retry-After", ""), now=client.now()),
            hint="try again; or remove the access at the provider, and then:"
            f" worker accounts remove {account.integration} {account.name} --keep-grant",
        )
