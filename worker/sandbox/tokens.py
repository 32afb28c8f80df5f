"""Codes, grants and tokens: issued, rotated, expired, revoked, and caught when they come back.

A *grant* is what one consent created: a family of refresh tokens of which only the newest is good, and the access
tokens that they brought. A spent member of the family that comes back proves that two parties hold it; then the whole
family ends (RFC 9700 section 4.14.2), unless it comes back within the grace period, where the answer that replaced it
is repeated word for word, so that a client which lost that answer goes on unharmed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.sandbox.settings import Settings
    from worker.sandbox.tally import Tally


class OAuthRefusal(Exception):
    """A token request is refused with an error code of RFC 6749 section 5.2."""

    def __init__(self, error: str, description: str = "") -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description


class TokenRejected(Exception):
    """An access token is refused by the API; `code` is empty when the request brought no token."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True)
class Grant:
    """What one consent created."""

    number: int
    user: str
    scopes: tuple[str, ...]
    requested: tuple[str, ...]
    expires_at: float
    #: Why it ended; empty while it is good.
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Consent:
    """What the consent page settled, kept behind an authorization code."""

    user: str
    scopes: tuple[str, ...]
    requested: tuple[str, ...]
    redirect_uri: str
    code_challenge: str
    nonce: str


@dataclass(slots=True)
class _Code:
    consent: Consent
    expires_at: float
    #: The grant that redeeming it created.
    grant: Grant | None = None


@dataclass(slots=True)
class _Refresh:
    grant: Grant
    spent_at: float | None = None
    successor: Issued | None = None


@dataclass(slots=True)
class Access:
    """One access token."""

    grant: Grant
    expires_at: float


@dataclass(frozen=True, slots=True)
class Issued:
    """What a token request brought."""

    grant: Grant
    access_token: str
    refresh_token: str | None
    #: Seconds, as claimed in the answer.
    expires_in: int
    issued_at: float
    nonce: str = ""


class TokenKeeper:
    """All codes, grants and tokens; guarded by the lock of the state that holds it. `now` is seconds since 1970."""

    def __init__(self, settings: Callable[[], Settings], tally: Callable[[], Tally]) -> None:
        self._settings = settings
        self._tally = tally
        self._codes: dict[str, _Code] = {}
        self._refresh: dict[str, _Refresh] = {}
        self._access: dict[str, Access] = {}
        self._grants: list[Grant] = []
        self._expired_seen = 0

    def new_code(self, consent: Consent, now: float) -> str:
        """An authorization code, good once and for a short time."""
        code = secrets.token_hex(16)
        self._codes[code] = _Code(consent, now + self._settings().code_ttl)
        return code

    def redeem(self, code: str, redirect_uri: str, verifier: str, now: float) -> Issued:
        """Tokens for a code; a second use ends the grant that the first one created (RFC 6749 section 4.1.2)."""
        known = self._codes.get(code)
        if known is None:
            raise OAuthRefusal("invalid_grant")
        if known.grant is not None:
            self.end([known.grant], "code_reuse")
            raise OAuthRefusal("invalid_grant", "the code has been used")
        if now >= known.expires_at:
            raise OAuthRefusal("invalid_grant", "the code has expired")
        if redirect_uri != known.consent.redirect_uri:
            raise OAuthRefusal("unauthorized_client", "redirect_uri differs from the authorization request")
        if not verifier_fits(verifier, known.consent.code_challenge):
            raise OAuthRefusal("invalid_grant", "code_verifier does not fit the code_challenge")
        consent = known.consent
        known.grant = self.new_grant(consent.user, consent.scopes, consent.requested, now)
        return self.issue(known.grant, now, nonce=consent.nonce)

    def new_grant(self, user: str, scopes: tuple[str, ...], requested: tuple[str, ...], now: float) -> Grant:
        """A grant without tokens yet."""
        grant = Grant(len(self._grants) + 1, user, scopes, requested, now + self._settings().refresh_ttl)
        self._grants.append(grant)
        return grant

    def issue(self, grant: Grant, now: float, *, nonce: str = "", keep: str = "") -> Issued:
        """New tokens of a grant; `keep` is the refresh token that goes on when it does not rotate."""
        settings = self._settings()
        access_token, refresh_token = secrets.token_urlsafe(32), keep or None
        self._access[access_token] = Access(grant, now + settings.access_ttl)
        if refresh_token is None and "offline_access" in grant.scopes:
            refresh_token = secrets.token_hex(24)
            self._refresh[refresh_token] = _Refresh(grant)
        claimed = settings.access_ttl if settings.claimed_ttl is None else settings.claimed_ttl
        return Issued(grant, access_token, refresh_token, int(claimed), now, nonce)

    def refresh(self, token: str, now: float) -> Issued:
        """Tokens for a refresh token; rotation, grace and reuse detection as the settings say."""
        known, settings = self._refresh.get(token), self._settings()
        if known is None or known.grant.ended:
            if known is not None and known.spent_at is not None:
                self._tally().reuse_detected += 1
            raise OAuthRefusal("invalid_grant")
        if now >= known.grant.expires_at:
            raise OAuthRefusal("invalid_grant")
        if known.spent_at is not None:
            return self._repeat(known, now)
        issued = self.issue(known.grant, now, keep="" if settings.refresh_rotation else token)
        if settings.refresh_rotation:
            known.spent_at, known.successor = now, issued
        self._tally().refreshes[known.grant.user] += 1
        return issued

    def _repeat(self, known: _Refresh, now: float) -> Issued:
        """A spent refresh token has come back."""
        settings, tally = self._settings(), self._tally()
        if known.spent_at is not None and known.successor is not None and now < known.spent_at + settings.grace:
            tally.grace_repeats += 1
            return known.successor
        tally.reuse_detected += 1
        if settings.kill_on_reuse:
            self.end([known.grant], "reuse")
        raise OAuthRefusal("invalid_grant")

    def check(self, token: str | None, now: float) -> Access:
        """The access token's record; `TokenRejected` says what is wrong with it."""
        if token is None:
            raise TokenRejected("", "no access token")
        access = self._access.get(token)
        if access is None or access.grant.ended:
            raise TokenRejected("invalid_token", "The access token is invalid")
        if now < access.expires_at:
            return access
        self._expired_seen += 1
        if self._expired_seen % 2:  # the provider's documentation: either code may be used for an expired token
            raise TokenRejected("expired_token", "The access token has expired")
        raise TokenRejected("invalid_token", "The access token is invalid")

    def owner(self, token: str) -> str:
        """The user that a refresh or access token belongs to, good or not; empty when it is unknown."""
        known = self._refresh.get(token) or self._access.get(token)
        return known.grant.user if known else ""

    def revoke_token(self, token: str) -> None:
        """RFC 7009: a refresh token takes everything of its user along, an access token only itself."""
        if token in self._refresh:
            self.revoke_user(self._refresh[token].grant.user, "revoked_by_client")
        else:
            self._access.pop(token, None)

    def revoke_user(self, user: str, reason: str = "revoked") -> int:
        """End every grant of a user; how many there were."""
        return self.end((grant for grant in self._grants if grant.user == user), reason)

    def expire(self, user: str | None, now: float) -> int:
        """Let access tokens die now (of all users for None), whatever `expires_in` had said; how many died."""
        count = 0
        for access in self._access.values():
            if access.expires_at > now and user in {None, access.grant.user}:
                access.expires_at = now
                count += 1
        return count

    def end(self, grants: Iterable[Grant], reason: str) -> int:
        """End grants that are still good; how many."""
        count = 0
        for grant in grants:
            if not grant.ended:
                grant.ended = reason
                self._tally().ended_grants[reason] += 1
                count += 1
        return count

    def active_users(self, now: float) -> list[str]:
        """The user of each grant that is good, one entry per grant."""
        return [grant.user for grant in self._grants if not grant.ended and now < grant.expires_at]


def verifier_fits(verifier: str, challenge: str) -> bool:
    """RFC 7636 section 4.6, S256 only; a verifier without a challenge is refused as well (a downgrade)."""
    if not challenge:
        return not verifier
    digest = hashlib.sha256(verifier.encode("ascii", "replace")).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)
