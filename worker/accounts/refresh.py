"""The refresh: one call per token lifetime, however many threads, processes and machines want the token.

    lock the account (a lock that dies with its holder)
    read the grant again           newer than the rejected one? use it: no call
    commit the intent              also proves that the store can be written
    POST once
    commit tokens, generation + 1  only then is the new token used

Whatever interrupts this, the store tells the truth about it: an intent without its process means "the refresh token of
this generation may have been spent". The next attempt sends it once more, and a refusal then is called what it most
likely is, lost in rotation, not revoked.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from worker.accounts.alerts import Alerts
from worker.accounts.canary import Fleet
from worker.accounts.failures import Attempt, Failures
from worker.accounts.keeping import PAUSES, Keeper, NotStored
from worker.accounts.recovery import claim_attempt, client_accepted
from worker.accounts.telling import remedy_for, tell_move
from worker.clock import rfc3339, span
from worker.errors import AccountPaused, Misconfigured, NeedsConsent, TamperedSecret, TryAgainLater
from worker.events import GrantRefreshed
from worker.oauth.token_request import refresh_request
from worker.oauth.verdict import TokenGranted
from worker.redact import Secret
from worker.states import AccountState
from worker.store.grants import GenerationMoved
from worker.store.locks import account_lock, process_note
from worker.store.records import SCOPE_MISSING, Finding, Grant, NewTokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.accounts.client import Client
    from worker.clock import Clock
    from worker.events import Events
    from worker.oauth.token_request import TokenRequest
    from worker.oauth.tokens import Tokens
    from worker.store.store import Store

#: Seconds between two looks at tokens that wait to be stored.
_LOOK = 0.1


class Refresher:
    """Refreshes grants. One for the whole process; threads may share it."""

    def __init__(
        self,
        store: Store,
        clients: Mapping[str, Client],
        clock: Clock,
        events: Events,
        store_pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._store = store
        self._clients = clients
        self._clock = clock
        self._events = events
        self._keeper = Keeper(store, clock, store_pauses)
        #: Refusals that are held, for operators who decide themselves.
        self.fleet = Fleet(store, clients, clock, events)
        self._failures = Failures(store, clock, events, self.fleet)
        self._alerts = Alerts(store, clients, clock, events)
        self._in_flight = 0
        self._settled = threading.Condition()

    def read(self, account_id: int) -> Grant:
        """The grant as stored; no call. Raises NeedsConsent when the account has none or a human must act."""
        grant = self._store.grants.read(account_id)
        self._refuse_unusable(grant)
        return grant

    def refresh(self, account_id: int, generation: int) -> Grant:
        """A grant newer than `generation`, by whoever refreshed it.

        Raises NeedsConsent (the grant is dead), Misconfigured (the client is at fault), TryAgainLater (no verdict yet;
        `after` in seconds), Busy (another process held the account's lock too long).
        """
        self._keeper.refuse_waiting(account_id)
        with self._counted(), ExitStack() as held:
            held.enter_context(self._store.locks.hold(account_lock(account_id)))
            while True:
                grant = self._store.grants.read(account_id)
                if grant.generation > generation:
                    return grant
                self._refuse_unusable(grant)
                try:
                    return self._refresh_locked(grant, held)
                except GenerationMoved:
                    continue  # a human consented meanwhile: read again

    def tend(self) -> None:
        """What is due although nobody asks for a token: canaries are probed, overdue alerts told. Every half minute."""
        self.fleet.probe(self._probe)
        self._alerts.tell_overdue()

    def wait_settled(self, seconds: float) -> bool:
        """Wait until no refresh is under way and all new tokens are stored; answers whether it came to that.

        A process that ends in between loses the tokens it was given.
        """
        deadline = time.monotonic() + seconds
        with self._settled:
            if not self._settled.wait_for(lambda: not self._in_flight, timeout=seconds):
                return False
        while self._keeper.waiting:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK)
        return True

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._settled:
            self._in_flight += 1
        try:
            yield
        finally:
            with self._settled:
                self._in_flight -= 1
                self._settled.notify_all()

    def _probe(self, account_id: int) -> None:
        """Refresh a held account, whoever else waits. Raises as `refresh`, and Busy when somebody has its lock.

        A consent that comes in between is as good as an answer about this account, and says nothing about the others.
        """
        with suppress(GenerationMoved), self._counted(), ExitStack() as held:
            held.enter_context(self._store.locks.hold(account_lock(account_id), patience=0))
            grant = self._store.grants.read(account_id)
            if grant.held:
                self._refresh_locked(grant, held)

    def _refresh_locked(self, grant: Grant, held: ExitStack) -> Grant:
        self._refuse_early(grant)
        client = self._clients.get(grant.account.integration)
        if client is None:
            raise Misconfigured(f"integration {grant.account.integration} is not in the configuration")
        self._refuse_unfinished(grant, client.timeouts.whole)
        if grant.unreadable:
            self._store.timeline.add(
                grant.account, "tampered", Finding("tampered", grant.unreadable), self._clock.now()
            )
        request = self._request(grant, client)
        claimed = claim_attempt(self._store, client.name, self._clock.now())
        # Read before this attempt counts: what earlier ones may have lost.
        doubt = self._earlier_doubt(grant)
        self._store.grants.begin_refresh(grant, process_note(), self._clock.now())
        asked_at = self._clock.now()
        try:
            answer = client.ask(request)
        except Misconfigured as error:
            # Nothing was sent: the intent must not cast doubt on this generation.
            finding = Finding("misconfigured", error.message, error.evidence)
            self._store.grants.fail_refresh(grant, finding, self._clock.now(), not_before=asked_at)
            self._failures.misconfigured(grant, error)
            raise
        if isinstance(answer, TokenGranted):
            return self._keep(grant, _new_tokens(answer.tokens, asked_at), held)
        raise self._failures.of(Attempt(grant, doubt, asked_at, claimed), answer)

    def _request(self, grant: Grant, client: Client) -> TokenRequest:
        """What is to be sent. Raises, and tells of it, when the settings, a secret or the discovery are amiss."""
        refresh_token = self._read_refresh_token(grant)
        integration = client.integration
        try:
            return refresh_request(
                client.token_url(),
                client.credentials(),
                refresh_token,
                redirect_uri=integration.redirect_uri if integration.refresh_sends_redirect_uri else None,
                extra=integration.token_params,
            )
        except Misconfigured as error:
            self._failures.misconfigured(grant, error)
            raise
        except TryAgainLater as error:
            # Nothing was sent: what an earlier attempt may have lost is as unknown as before.
            doubt = self._earlier_doubt(grant)
            raise self._failures.postponed(grant, {"detail": error.message}, error.after, doubt) from error

    def _keep(self, grant: Grant, tokens: NewTokens, held: ExitStack) -> Grant:
        """Store the tokens; until that has worked, this process holds the only copy and nobody uses it."""
        try:
            stored = self._keeper.keep(grant, tokens)
        except NotStored:
            self._keeper.rescue(grant, tokens, held.pop_all(), lambda kept: self._refreshed(grant, tokens, kept))
            raise
        self._refreshed(grant, tokens, stored)
        return stored

    def _refreshed(self, grant: Grant, tokens: NewTokens, stored: Grant) -> None:
        account = grant.account
        lifetime = None if tokens.lifetime is None else int(tokens.lifetime)
        rotated = tokens.refresh_token is not None
        self._events.publish(
            GrantRefreshed(account.integration, account.name, stored.generation, lifetime, rotated=rotated)
        )
        if account.state is not AccountState.ACTIVE and stored.account.state is AccountState.ACTIVE:
            tell_move(self._events, account.state, stored.account, Finding("settled", "the refresh token still works"))
        self._alerts.recovered(grant)
        client_accepted(self._store, self._events, account.integration, self._clock.now(), "a refresh succeeded")
        if grant.held:
            self.fleet.release(account.integration, f"canary {account.label} was refreshed")

    def _read_refresh_token(self, grant: Grant) -> Secret:
        try:
            return self._store.grants.read_refresh_token(grant)
        except NeedsConsent as error:
            self._flag(grant, Finding("no refresh token", error.message))
            raise
        except TamperedSecret as error:
            finding = Finding("tampered", f"its refresh token does not open: {error.message}", error.evidence)
            self._flag(grant, finding)
            raise NeedsConsent(f"{grant.account.label} needs consent: {finding.reason}", hint=error.hint) from error

    def _flag(self, grant: Grant, finding: Finding) -> None:
        account = self._store.grants.flag(grant, finding, self._clock.now())
        if account.state is AccountState.NEEDS_CONSENT:
            tell_move(self._events, grant.account.state, account, finding)

    def _earlier_doubt(self, grant: Grant) -> str:
        if grant.intent_started_at is not None:
            return f"a refresh begun at {rfc3339(grant.intent_started_at)} whose outcome is unknown"
        return self._store.grants.doubt_of(grant)

    def _refuse_unusable(self, grant: Grant) -> None:
        account = grant.account
        if account.state is AccountState.NEEDS_CONSENT and account.cause != SCOPE_MISSING:
            raise NeedsConsent(f"{account.label} needs consent: {account.reason}", hint=remedy_for(account))
        if account.state is AccountState.PAUSED:
            raise AccountPaused(
                f"{account.label} is paused", hint=f"worker accounts resume {account.integration} {account.name}"
            )
        if grant.held:
            raise self.fleet.waiting(account)

    def _refuse_early(self, grant: Grant) -> None:
        """No call before the time that the last failure named, whoever asks."""
        now = self._clock.now()
        if grant.not_before is not None and now < grant.not_before:
            wait = grant.not_before - now
            failing = f"failing since {rfc3339(grant.failing_since)}, {grant.failures} attempts"
            raise TryAgainLater(
                f"{grant.account.label}: the next refresh is due in {span(wait)} ({failing})", after=wait
            )

    def _refuse_unfinished(self, grant: Grant, longest: float) -> None:
        """Where a lock can be lost while its holder lives, that one is given the time to store what it was given."""
        if grant.attempt_begun_at is None:
            return
        wait = self._store.locks.may_outlive(grant.attempt_begun_at, self._clock.now(), longest)
        if wait > 0:
            begun = rfc3339(grant.attempt_begun_at)
            raise TryAgainLater(
                f"{grant.account.label}: whoever began a refresh at {begun} may still be at it; the next one may start"
                f" in {span(wait)}",
                after=wait,
            )


def _new_tokens(tokens: Tokens, asked_at: float) -> NewTokens:
    return NewTokens(
        access_token=Secret(tokens.access_token),
        refresh_token=None if tokens.refresh_token is None else Secret(tokens.refresh_token),
        token_type=tokens.token_type,
        lifetime=tokens.expires_in,
        issued_at=asked_at,
        scopes=tokens.scopes,
    )
