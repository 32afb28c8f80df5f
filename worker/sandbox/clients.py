"""Who calls the token endpoint: client authentication, RFC 6749 section 2.3.1.

The credentials inside `Authorization: Basic` are form-encoded before they are joined by a colon. Many clients forget
that; this server decodes as the RFC says, so that one which forgets fails here and not in production.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from worker.sandbox.tokens import OAuthRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.sandbox.messages import Request
    from worker.sandbox.state import State


def authenticate(request: Request, form: Mapping[str, str], state: State) -> None:
    """Check id and secret in the header or in the body; `OAuthRefusal` with `invalid_client` otherwise.

    A client without a secret (`client_secret` set to "") is public: its id in the body is enough.
    """
    given_id, given_secret = _credentials(request, form)
    secret = state.settings.client_secret
    same_id = hmac.compare_digest(given_id.encode(), state.config.client_id.encode())
    same_secret = hmac.compare_digest(given_secret.encode(), secret.encode())
    if not (same_id and same_secret):
        raise OAuthRefusal("invalid_client")


def _credentials(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        return form.get("client_id", ""), form.get("client_secret", "")
    if scheme.lower() != "basic":
        raise OAuthRefusal("invalid_client")
    if "client_secret" in form:
        raise OAuthRefusal("invalid_request", "client credentials in header and body")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise OAuthRefusal("invalid_client") from None
    client_id, colon, secret = decoded.partition(":")
    if not colon or form.get("client_id", unquote_plus(client_id)) != unquote_plus(client_id):
        raise OAuthRefusal("invalid_client")
    return unquote_plus(client_id), unquote_plus(secret)
