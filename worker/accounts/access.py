"""The access token in hand: kept in memory, used until it lapses or the API rejects it. No call while it is good.

A token's age is counted on two clocks. Wall time is all that survives a restart, but somebody may set it; elapsed time
cannot be set, but begins anew with every process. The younger age is believed (`worker.clock.age_of`): a token sent too
late costs one rejected request, and the API's own word decides. Believing the older one, a clock that jumped ahead
would have every account refresh at once.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.clock import age_of
from worker.errors import WorkerError
from worker.log import bind

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.accounts.refresh import Refresher
    from worker.clock import Clock
    from worker.redact import Secret
    from worker.store.records import Grant
    from worker.store.store import Store

log = logging.getLogger(__name__)

#: A token this close to its end would lapse on the way. Seconds, and never more than this part of the lifetime.
MARGIN, MARGIN_PART = 1.0, 0.1
#: Seconds for which a generation that was refused although fresh is not refreshed again. Where a token names no
#: lifetime they stand for it; where it lives longer, a request that succeeds after them ends it.
REFUSED_AT_LEAST = 3600.0
#: … unless the API has taken that token nowhere since. Then it may be dead after all (revoked between the refresh and
#: the replay), and only a refresh can tell: after these seconds, as seldom as a provider that is down is asked.
REFUSED_PAUSE = 900.0


@dataclass(frozen=True)
class AccessToken:
    """An access token and the generation of the grant that it belongs to."""

    value: Secret
    token_type: str
    generation: int
    grant: Grant
    #: When this process came by it, on the monotonic clock: it is older than that for certain.
    taken_at: float


class TokenSource:
    """Hands out one account's access token. Threads may share it, and should: they then share the refresh."""

    def __init__(self, account_id: int, refresher: Refresher, store: Store, clock: Clock) -> None:
        self._account_id = account_id
        self._refresher = refresher
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._token: AccessToken | None = None
        #: Refused although fresh, as far as this source has seen.
        self._refused_generation: int | None = None
        #: … and taken elsewhere since.
        self._alive_generation: int | None = None
        #: How many new generations this source has seen.
        self.refreshes = 0

    def current(self) -> AccessToken:
        """The token to send; refreshed only when its own lifetime has lapsed. Raises as `Refresher.refresh` does."""
        token = self._token
        if token is not None and not self._lapsed(token):
            return token
        with self._lock:
            lapsed = self._token
            if lapsed is not None and not self._lapsed(lapsed):
                return lapsed
            # Somebody else may have refreshed since, even longer ago than a lifetime: the store says.
            grant = self._refresher.read(self._account_id)
            if lapsed is None or grant.generation != lapsed.generation:
                token = self._take(grant)
                if token is not None and not self._lapsed(token):
                    return token
            return self._renewed(grant.generation)

    def replace(self, rejected: AccessToken) -> AccessToken | None:
        """A token fresher than the rejected one; None when no refresh will help.

        None means: the API has already refused a fresh token of this generation, so the fault is not the token's.
        """
        with self._lock:
            token = self._token
            if token is not None and token.generation > rejected.generation and not self._lapsed(token):
                return token
            grant = self._refresher.read(self._account_id)
            if grant.generation > rejected.generation:
                taken = self._take(grant)
                if taken is not None and not self._lapsed(taken):
                    return taken
            elif self._known_refused(grant):
                return None
            return self._renewed(max(grant.generation, rejected.generation))

    def now(self) -> float:
        """The wall time: when a request is sent, for `refused`."""
        return self._clock.now()

    def refused(self, token: AccessToken, sent_at: float) -> None:
        """The API refused this token on the replay of a request sent at `sent_at`: remember it, for every process.

        Only if the token was fetched after that. One that another session fetched earlier is no proof: it may have
        died as early as the rejected one did, and what mends that (or tells that the grant is dead) is a refresh.
        """
        if token.grant.issued_at < sent_at:
            return
        self._refused_generation = token.generation
        if token.grant.refused_generation != token.generation:
            self._mark(token, refused=True)

    def accepted(self, token: AccessToken) -> None:
        """The API took this token: a mark as refused was not the token's fault, and is forgotten after a while.

        Not at once: an API that refuses one resource for ever and serves the others would cost a refresh each time.
        """
        if token.generation not in {token.grant.refused_generation, self._refused_generation}:
            return
        age = age_of(token.grant.issued_at, self._clock)
        if age is not None and age < REFUSED_AT_LEAST:
            if not (token.grant.refused_alive or self._alive_generation == token.generation):
                self._alive_generation = token.generation
                self._remember(lambda: self._store.grants.set_alive(token.grant))
            return
        self._mark(token, refused=False)
        with self._lock:
            self._refused_generation = None
            if self._token is token:
                self._token = None

    def _mark(self, token: AccessToken, *, refused: bool) -> None:
        self._remember(lambda: self._store.grants.set_refused(token.grant, refused=refused))

    def _remember(self, store: Callable[[], None]) -> None:
        try:
            store()
        except WorkerError as error:
            # The caller has an answer, and gets it.
            log.warning("a mark of the token could not be stored", extra={"reason": error.message})

    def _renewed(self, generation: int) -> AccessToken:
        token = self._take(self._refresher.refresh(self._account_id, generation))
        self.refreshes += 1
        assert token is not None  # a refresh stores an access token or raises
        return token

    def _take(self, grant: Grant) -> AccessToken | None:
        if grant.access_token is None:
            return None
        token = AccessToken(grant.access_token, grant.token_type, grant.generation, grant, self._clock.monotonic())
        self._token = token
        bind(generation=grant.generation)
        return token

    def _lapsed(self, token: AccessToken) -> bool:
        lifetime = token.grant.lifetime
        if lifetime is None:
            return False
        age = age_of(token.grant.issued_at, self._clock) or 0.0
        return max(age, self._clock.monotonic() - token.taken_at) >= lifetime - _margin(lifetime)

    def _known_refused(self, grant: Grant) -> bool:
        """Whether this generation is marked as refused though fresh, and could not have lapsed since."""
        if grant.generation not in {grant.refused_generation, self._refused_generation}:
            return False
        until = grant.lifetime if grant.lifetime is not None else REFUSED_AT_LEAST
        if not (grant.refused_alive or self._alive_generation == grant.generation):
            until = min(until, REFUSED_PAUSE)
        age = age_of(grant.issued_at, self._clock)
        # None: the clock was set back since, and a mark whose age is unknown must not hold for a year.
        return age is not None and age < until


def _margin(lifetime: float | None) -> float:
    return 0.0 if lifetime is None else min(MARGIN, lifetime * MARGIN_PART)
