"""PKCE (RFC 7636), method S256 only: `plain` protects from nobody who can read the request.

The verifier is fresh for each attempt and stays with us until the code is redeemed.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode

#: 256 bits, RFC 7636 section 7.1; they become the shortest verifier that section 4.1 allows, 43 characters.
_VERIFIER_BYTES = 32


def new_verifier(random_bytes: bytes | None = None) -> str:
    """A code verifier. `random_bytes` (32 to 96 of them) are for tests and for callers with a source of their own."""
    return _base64url(secrets.token_bytes(_VERIFIER_BYTES) if random_bytes is None else random_bytes)


def challenge_s256(verifier: str) -> str:
    """The code challenge of a verifier (RFC 7636 section 4.2)."""
    return _base64url(hashlib.sha256(verifier.encode("ascii")).digest())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
