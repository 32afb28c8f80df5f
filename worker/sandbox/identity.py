"""Who consented, and where everything is: ID token, userinfo and the discovery documents."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING

from worker.sandbox.messages import Response, json_response
from worker.sandbox.tokens import TokenRejected

if TYPE_CHECKING:
    from worker.sandbox.messages import Request
    from worker.sandbox.state import State
    from worker.sandbox.tokens import Issued

#: Seconds; IdentityServer3's default.
ID_TOKEN_TTL = 300

#: The provider's complete list.
SCOPES = (
    "openid",
    "profile",
    "offline_access",
    "read",
    "write",
    "roles",
    "all_claims",
    "events",
    "registrations",
    "contacts",
    "organisations",
    "regions",
    "timezones",
    "venues",
    "leads",
    "metadata",
)


def id_token(issued: Issued, state: State) -> str:
    """An ID token (OpenID Connect Core section 2) signed HS256 with the client secret; `sub` is the user name."""
    issued_at = int(issued.issued_at)
    claims: dict[str, object] = {
        "iss": state.issuer,
        "aud": state.config.client_id,
        "sub": issued.grant.user,
        "iat": issued_at,
        "nbf": issued_at,
        "exp": issued_at + ID_TOKEN_TTL,
        "amr": ["password"],
        "idp": "idsrv",
    }
    if "profile" in issued.grant.scopes:
        claims |= profile(issued.grant.user)
    if issued.nonce:
        claims["nonce"] = issued.nonce
    signed = f"{_part({'typ': 'JWT', 'alg': 'HS256'})}.{_part(claims)}"
    mac = hmac.new(state.settings.client_secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_text(mac)}"


def profile(user: str) -> dict[str, object]:
    """Claims of the scope `profile`."""
    return {"name": user.replace("-", " ").title(), "preferred_username": user}


def userinfo(request: Request, state: State) -> Response:
    """`connect/userinfo` (OpenID Connect Core section 5.3), needs the scope openid."""
    with state.lock:
        try:
            access = state.tokens.check(request.bearer(), state.now())
        except TokenRejected as rejected:
            error = f', error="{rejected.code}"' if rejected.code else ""
            return Response(401, b"", [("WWW-Authenticate", f'Bearer realm="{state.config.platform}"{error}')])
        if "openid" not in access.grant.scopes:
            field = 'Bearer error="insufficient_scope", scope="openid"'
            return Response(403, b"", [("WWW-Authenticate", field)])
        claims: dict[str, object] = {"sub": access.grant.user}
        return json_response(claims | (profile(access.grant.user) if "profile" in access.grant.scopes else {}))


def metadata(state: State) -> Response:
    """The discovery document (OpenID Connect Discovery section 3, RFC 8414 section 2)."""
    issuer = state.issuer
    return json_response(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/connect/authorize",
            "token_endpoint": f"{issuer}/connect/token",
            "revocation_endpoint": f"{issuer}/connect/revocation",
            "userinfo_endpoint": f"{issuer}/connect/userinfo",
            "jwks_uri": f"{issuer}/.well-known/jwks",
            "scopes_supported": list(SCOPES),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["HS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": state.settings.iss_advertised,
        }
    )


def _part(document: dict[str, object]) -> str:
    return _text(json.dumps(document, separators=(",", ":")).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
