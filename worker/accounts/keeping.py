"""Keeping new tokens: between the provider's answer and the commit, this process holds the only copy.

A store that cannot be written in that moment (a disk that has filled up since the intent was committed) must not cost
the grant. So the storing is tried again, for half a minute by the one who waits for it, and after that by a thread of
its own for as long as the process lives. The account's lock stays held all the while: whoever came between would send
the spent refresh token once more, and a provider with reuse detection would end the grant for it. Nobody uses the new
access token before it is stored.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from worker.errors import Misconfigured, NeedsConsent, TryAgainLater, UsageFault
from worker.store.grants import GenerationMoved
from worker.store.locks import account_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from worker.clock import Clock
    from worker.redact import Secret
    from worker.store.records import Grant, NewTokens
    from worker.store.store import Store

log = logging.getLogger(__name__)

#: Seconds between the tries; the last one is repeated by the thread.
PAUSES = (0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 10.0)


class NotStored(TryAgainLater):
    """The account was refreshed, but the new tokens cannot be stored."""


class Keeper:
    """Stores new tokens, sooner or later. Threads may share it."""

    def __init__(self, store: Store, clock: Clock, pauses: tuple[float, ...] = PAUSES) -> None:
        self._store = store
        self._clock = clock
        self._pauses = pauses
        #: Accounts whose tokens are in memory only, with what the store says.
        self._waiting: dict[int, str] = {}

    @property
    def waiting(self) -> int:
        """How many accounts' tokens are in memory only."""
        return len(self._waiting)

    def refuse_waiting(self, account_id: int) -> None:
        """Raise NotStored while this account's tokens wait for a store that can be written."""
        words = self._waiting.get(account_id)
        if words is not None:
            raise NotStored(f"new tokens of this account wait to be stored: {words}", after=self._pauses[-1])

    def keep(self, grant: Grant, tokens: NewTokens) -> Grant:
        """Store the tokens. Raises NotStored (then `rescue` must follow), GenerationMoved, NeedsConsent."""
        for pause in (*self._pauses, None):
            try:
                return self._store_now(grant, tokens)
            except (Misconfigured, TryAgainLater) as error:
                if pause is None:
                    raise NotStored(
                        f"{grant.account.label} was refreshed, but the new tokens cannot be stored: {error}",
                        hint=error.hint,
                        after=self._pauses[-1],
                    ) from error
            time.sleep(pause)
            self._renew_lock(grant)
        raise AssertionError  # the last pause is None

    def _store_now(self, grant: Grant, tokens: NewTokens) -> Grant:
        """One try. A commit whose answer was lost with the connection may have taken place: then it was the one."""
        try:
            return self._store.grants.complete_refresh(grant, tokens, self._clock.now())
        except GenerationMoved:
            stored = self._store.grants.read(grant.account.id)
            if stored.generation == grant.generation + 1 and _same(stored.access_token, tokens.access_token):
                return stored
            raise

    def _renew_lock(self, grant: Grant) -> None:
        # A server that was restarted has forgotten who held what. Should somebody else have the lock by now, storing
        # these tokens first is all that can be done.
        with suppress(Misconfigured, TryAgainLater):
            self._store.locks.renew(account_lock(grant.account.id))

    def rescue(self, grant: Grant, tokens: NewTokens, held: ExitStack, stored: Callable[[Grant], None]) -> None:
        """Go on trying, in a thread of its own, which takes over the account's lock and lets go of it in the end."""
        self._waiting[grant.account.id] = "the store could not be written"
        log.critical(
            "new tokens are in memory only, until the store can be written",
            extra={"integration": grant.account.integration, "account": grant.account.name},
        )
        arguments = (grant, tokens, held, stored)
        name = f"keep-{grant.account.label}"
        try:
            threading.Thread(target=self._store_at_last, args=arguments, daemon=True, name=name).start()
        except RuntimeError:  # the machine gives us no thread: the one who waits stays with it
            self._store_at_last(*arguments)

    def _store_at_last(self, grant: Grant, tokens: NewTokens, held: ExitStack, stored: Callable[[Grant], None]) -> None:
        with held:
            try:
                kept = self._stored_at_last(grant, tokens)
            finally:
                del self._waiting[grant.account.id]
            if kept is not None:
                stored(kept)

    def _stored_at_last(self, grant: Grant, tokens: NewTokens) -> Grant | None:
        while True:
            time.sleep(self._pauses[-1])
            self._renew_lock(grant)
            try:
                return self._store_now(grant, tokens)
            except (GenerationMoved, NeedsConsent, UsageFault):
                # A human consented anew, or took the account away: these tokens are nobody's any more.
                return None
            except Exception as error:
                # Whatever it is, a fault of ours included: to give up would cost the only copy.
                if not isinstance(error, Misconfigured | TryAgainLater):
                    log.exception("new tokens could not be stored for a reason nobody expected; trying on")
                self._waiting[grant.account.id] = str(error)


def _same(one: Secret | None, other: Secret) -> bool:
    return one is not None and one.reveal() == other.reveal()
