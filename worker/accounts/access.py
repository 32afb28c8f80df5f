"""The access token in hand: kept in memory, used until it lapses or the API rejects it. No call while it is good.

A token's age is counted on two clocks. Wall time is all that survives a restart, but somebody may set it; the monotonic
clock cannot be set, but begins anew with every process. Whichever says first that the lifetime is over is believed: a
refresh too early costs one call, a refresh too late costs one rejected request and then the same call.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.log import bind

if TYPE_CHECKING:
    from worker.accounts.refresh import Refresher
    from worker.clock import Clock
    from worker.redact import Secret
    from worker.store.records import Grant
    from worker.store.store import Store

#: A token this close to its end would lapse on the way. Seconds, and never more than this part of the lifetime.
MARGIN, MARGIN_PART = 1.0, 0.1
#: How long a token without a lifetime is taken for good after the API has refused it although it was fresh.
UNKNOWN_LIFETIME = 3600.0


@dataclass(frozen=True)
class AccessToken:
    """An access token and the generation of the grant that it belongs to."""

    value: Secret
    token_type: str
    generation: int
    grant: Grant
    #: On the monotonic clock; None when the provider named no lifetime.
    lapses_at: float | None


class TokenSource:
    """Hands out one account's access token. Threads may share it, and should: they then share the refresh."""

    def __init__(self, account_id: int, refresher: Refresher, store: Store, clock: Clock) -> None:
        self._account_id = account_id
        self._refresher = refresher
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._token: AccessToken | None = None
        #: How many new generations this source has seen.
        self.refreshes = 0

    def current(self) -> AccessToken:
        """The token to send; refreshed only when its own lifetime has lapsed. Raises as `Refresher.refresh` does."""
        token = self._token
        if token is not None and not self._lapsed(token):
            return token
        with self._lock:
            token = self._token
            if token is None:
                token = self._take(self._refresher.read(self._account_id))
            if token is None or self._lapsed(token):
                token = self._renewed(self._generation(token))
            return token

    def replace(self, rejected: AccessToken) -> AccessToken | None:
        """A token fresher than the rejected one; None when no refresh will help.

        None means: the API has already refused a fresh token of this generation, so the fault is not the token's.
        """
        with self._lock:
            token = self._token
            if token is not None and token.generation > rejected.generation:
                return token
            grant = self._refresher.read(self._account_id)
            if grant.generation > rejected.generation:
                taken = self._take(grant)
                if taken is not None and not self._lapsed(taken):
                    return taken
            elif self._known_refused(grant):
                return None
            return self._renewed(max(grant.generation, rejected.generation))

    def refused(self, token: AccessToken) -> None:
        """The API refused this token on the replay, fresh as it was: remember it, for every process."""
        if token.grant.refused_generation != token.generation:
            self._store.grants.set_refused(token.grant, refused=True)

    def accepted(self, token: AccessToken) -> None:
        """The API took this token; should it have been marked as refused, it was not the token's fault after all."""
        if token.grant.refused_generation == token.generation:
            self._store.grants.set_refused(token.grant, refused=False)
            with self._lock:
                if self._token is token:
                    self._token = None

    def _renewed(self, generation: int) -> AccessToken:
        token = self._take(self._refresher.refresh(self._account_id, generation))
        self.refreshes += 1
        assert token is not None  # a refresh stores an access token or raises
        return token

    def _take(self, grant: Grant) -> AccessToken | None:
        if grant.access_token is None:
            return None
        left = None if grant.expires_at is None else grant.expires_at - self._clock.now() - _margin(grant.lifetime)
        lapses_at = None if left is None else self._clock.monotonic() + left
        token = AccessToken(grant.access_token, grant.token_type, grant.generation, grant, lapses_at)
        self._token = token
        bind(generation=grant.generation)
        return token

    def _generation(self, token: AccessToken | None) -> int:
        if token is not None:
            return token.generation
        return self._store.grants.read(self._account_id).generation

    def _lapsed(self, token: AccessToken) -> bool:
        expires_at = token.grant.expires_at
        if token.lapses_at is None or expires_at is None:
            return False
        if self._clock.monotonic() >= token.lapses_at:
            return True
        return self._clock.now() >= expires_at - _margin(token.grant.lifetime)

    def _known_refused(self, grant: Grant) -> bool:
        """Whether this generation is marked as refused though fresh, and could not have lapsed since."""
        if grant.refused_generation != grant.generation:
            return False
        lifetime = grant.lifetime if grant.lifetime is not None else UNKNOWN_LIFETIME
        return self._clock.now() < grant.issued_at + lifetime


def _margin(lifetime: float | None) -> float:
    return 0.0 if lifetime is None else min(MARGIN, lifetime * MARGIN_PART)
