"""What is POSTed to the provider: refresh, code redemption, revocation.

Client id and secret are form-encoded before they go into Basic (RFC 6749 section 2.3.1), which matters for secrets
with `%`, `+` or `:` in them, and is where most clients are wrong. They go into one place only, never into both.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote_plus

from worker.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.redact import Secret

ClientAuth = Literal["basic", "post", "none"]

_HEADERS = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are at the provider."""

    client_id: str
    client_secret: Secret | None = None
    #: How we prove it: Basic header, form fields, or not at all (public client).
    auth: ClientAuth = "basic"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One POST. Send `form` URL-encoded, follow no redirect, repeat nothing."""

    url: str
    headers: dict[str, str] = field(repr=False)
    form: dict[str, str] = field(repr=False)


def refresh_request(
    url: str,
    client: Client,
    refresh_token: Secret,
    *,
    redirect_uri: str | None = None,
    scopes: Sequence[str] = (),
    extra: Mapping[str, str] | None = None,
) -> TokenRequest:
    """Trade a refresh token (RFC 6749 section 6). `redirect_uri` only for providers that want it here too."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
    if redirect_uri:
        form["redirect_uri"] = redirect_uri
    if scopes:
        form["scope"] = " ".join(scopes)
    return _request(url, client, form, extra)


@dataclass(frozen=True, slots=True)
class Redemption:
    """An authorization code with what binds it to this attempt."""

    code: Secret
    redirect_uri: str
    code_verifier: Secret


def code_request(
    url: str, client: Client, redemption: Redemption, *, extra: Mapping[str, str] | None = None
) -> TokenRequest:
    """Redeem an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.5). To be sent once only."""
    form = {
        "grant_type": "authorization_code",
        "code": redemption.code.reveal(),
        "redirect_uri": redemption.redirect_uri,
        "code_verifier": redemption.code_verifier.reveal(),
    }
    return _request(url, client, form, extra)


def revocation_request(
    url: str, client: Client, token: Secret, *, hint: Literal["refresh_token", "access_token"] = "refresh_token"
) -> TokenRequest:
    """Give a token back (RFC 7009 section 2.1). 200 for an unknown token is success."""
    return _request(url, client, {"token": token.reveal(), "token_type_hint": hint}, None)


def _request(url: str, client: Client, form: dict[str, str], extra: Mapping[str, str] | None) -> TokenRequest:
    """Add the client's proof and the settings' own parameters; neither may replace what the protocol needs."""
    headers = dict(_HEADERS)
    if client.auth == "basic":
        pair = f"{quote_plus(client.client_id)}:{quote_plus(_secret(client))}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode('ascii')).decode('ascii')}"
    else:
        form = {**form, "client_id": client.client_id}
        if client.auth == "post":
            form["client_secret"] = _secret(client)
    taken = sorted(set(extra or {}) & ({*form, "client_id", "client_secret"}))
    if taken:
        raise Misconfigured(
            f"token_params sets {', '.join(taken)}, which the protocol itself sets",
            hint="remove it from token_params",
        )
    return TokenRequest(url, headers, {**form, **(extra or {})})


def _secret(client: Client) -> str:
    if not client.client_secret:
        raise Misconfigured(
            f'client_auth = "{client.auth}" needs a client secret, and there is none',
            hint='worker secrets set INTEGRATION client_secret, or client_auth = "none" for a public client',
        )
    return client.client_secret.reveal()
