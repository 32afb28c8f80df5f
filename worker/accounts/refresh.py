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

import random
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from worker.accounts.backoff import wait_after
from worker.accounts.keeping import PAUSES, Keeper, NotStored
from worker.accounts.recovery import CLIENT_REFUSED, client_accepted
from worker.accounts.token_endpoint import NoAnswer, NotSent
from worker.clock import rfc3339, span
from worker.errors import Misconfigured, NeedsConsent, TryAgainLater, WorkerError
from worker.events import AccountMoved, GrantRefreshed, IncidentOpened, RefreshFailed
from worker.oauth.token_request import refresh_request
from worker.oauth.verdict import ClientAtFault, GrantDead, Postponed, TokenGranted
from worker.redact import Secret
from worker.states import AccountState
from worker.store.grants import GenerationMoved
from worker.store.locks import process_note
from worker.store.records import SCOPE_MISSING, Finding, Grant, NewTokens
from worker.store.store import account_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.accounts.client import Client
    from worker.clock import Clock
    from worker.events import Events
    from worker.oauth.tokens import Tokens
    from worker.store.store import Store

    Failure = GrantDead | ClientAtFault | Postponed | NotSent | NoAnswer

#: Seconds between two looks at tokens that wait to be stored.
_LOOK = 0.1
_SUCCESSES, _SERVER_ERROR, _BUSY = range(200, 300), 500, 503


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
                try:
                    return self._refresh_locked(grant, held)
                except GenerationMoved:
                    continue  # a human consented meanwhile: read again

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

    def _refresh_locked(self, grant: Grant, held: ExitStack) -> Grant:
        self._refuse_unusable(grant)
        self._refuse_early(grant)
        client = self._clients.get(grant.account.integration)
        if client is None:
            raise Misconfigured(f"integration {grant.account.integration} is not in the configuration")
        refresh_token = self._read_refresh_token(grant)
        try:
            request = refresh_request(
                client.token_url(),
                client.credentials(),
                refresh_token,
                redirect_uri=client.integration.redirect_uri if client.integration.refresh_sends_redirect_uri else None,
                extra=client.integration.token_params,
            )
        except Misconfigured as error:
            self._report_client(grant.account.integration, Finding("misconfigured", error.message), error.hint, wait=0)
            raise
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
            raise
        if isinstance(answer, TokenGranted):
            return self._keep(grant, _new_tokens(answer.tokens, asked_at), held)
        raise self._failure(grant, answer, doubt)

    def _failure(self, grant: Grant, answer: Failure, doubt: str) -> WorkerError:
        # A provider may repeat a token in its complaint about it.
        answer = replace(answer, evidence=self._store.scrubbed(answer.evidence))
        match answer:
            case GrantDead(evidence=evidence):
                return self._flagged(grant, evidence, doubt)
            case ClientAtFault(evidence=evidence):
                return self._client_refused(grant, evidence)
            case Postponed(evidence=evidence, after=after):
                return self._postponed(grant, evidence, after, _ambiguity(evidence))
            case NotSent(evidence=evidence):
                return self._postponed(grant, evidence, None, "")
            case NoAnswer(evidence=evidence):
                return self._in_doubt(grant, evidence)

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
        if account.state is AccountState.IN_DOUBT and stored.account.state is AccountState.ACTIVE:
            self._tell_move(grant, AccountState.ACTIVE, "the refresh token still works")
        client_accepted(self._store, self._events, account.integration, self._clock.now(), "a refresh succeeded")

    def _read_refresh_token(self, grant: Grant) -> Secret:
        try:
            return self._store.grants.read_refresh_token(grant)
        except NeedsConsent as error:
            finding = Finding("no refresh token", error.message, {})
            self._flag(grant, finding)
            raise

    def _earlier_doubt(self, grant: Grant) -> str:
        if grant.intent_started_at is not None:
            return f"a refresh begun at {rfc3339(grant.intent_started_at)} whose outcome is unknown"
        return self._store.grants.doubt_of(grant)

    def _flagged(self, grant: Grant, evidence: dict[str, object], doubt: str) -> WorkerError:
        word = evidence.get("error") or evidence.get("status")
        if doubt:
            reason = f"lost in rotation: the provider refuses the refresh token ({word}) after {doubt}"
            finding = Finding("lost in rotation", reason, {**evidence, "after": doubt})
        else:
            finding = Finding("revoked", f"the provider refuses the refresh token ({word})", evidence)
        self._flag(grant, finding)
        return NeedsConsent(
            f"{grant.account.label} needs consent: {finding.reason}", hint=_remedy(grant), evidence=finding.evidence
        )

    def _flag(self, grant: Grant, finding: Finding) -> None:
        account = self._store.grants.flag(grant, finding, self._clock.now())
        # Also one that was flagged before, for a missing scope: then the grant still worked. A pause hides the state.
        if account.state is AccountState.NEEDS_CONSENT:
            self._tell_move(grant, account.state, finding.reason, _remedy(grant), finding.evidence)

    def _client_refused(self, grant: Grant, evidence: dict[str, object]) -> WorkerError:
        now, integration = self._clock.now(), grant.account.integration
        earlier = self._store.incidents.find_open(integration, CLIENT_REFUSED)
        wait = wait_after((earlier.occurrences if earlier else 0) + 1, None, random.random(), first=30.0)  # noqa: S311
        word = evidence.get("error") or evidence.get("status")
        finding = Finding("client refused", f"the provider refuses the client itself ({word})", evidence)
        remedy = f"worker secrets set {integration} client_secret; or look at [integrations.{integration}]"
        self._store.grants.fail_refresh(grant, finding, now, not_before=now, doubt=_ambiguity(evidence))
        self._report_client(integration, finding, remedy, wait=wait)
        return Misconfigured(f"{integration}: {finding.reason}", hint=remedy, evidence=evidence)

    def _report_client(self, integration: str, finding: Finding, remedy: str, *, wait: float) -> None:
        now = self._clock.now()
        opened = self._store.incidents.report(
            integration, CLIENT_REFUSED, finding, now, remedy=remedy, not_before=now + wait
        )
        if opened:
            self._events.publish(IncidentOpened(integration, CLIENT_REFUSED, finding.reason, remedy))

    def _postponed(self, grant: Grant, evidence: dict[str, object], after: float | None, ambiguous: str) -> WorkerError:
        wait = wait_after(grant.failures + 1, after, random.random())  # noqa: S311
        now = self._clock.now()
        finding = Finding("try again later", f"no new access token: {_words(evidence)}", evidence)
        self._store.grants.fail_refresh(grant, finding, now, not_before=now + wait, doubt=ambiguous)
        return self._failed(grant, finding, wait)

    def _in_doubt(self, grant: Grant, evidence: dict[str, object]) -> WorkerError:
        wait = wait_after(grant.failures + 1, None, random.random())  # noqa: S311
        now = self._clock.now()
        reason = f"no answer to a refresh ({_words(evidence)}); whether the refresh token was spent is unknown"
        finding = Finding("no answer", reason, evidence)
        self._store.grants.leave_in_doubt(grant, finding, now, not_before=now + wait)
        if grant.account.state is AccountState.ACTIVE:
            self._tell_move(grant, AccountState.IN_DOUBT, reason)
        return self._failed(grant, finding, wait)

    def _failed(self, grant: Grant, finding: Finding, wait: float) -> TryAgainLater:
        account = grant.account
        self._events.publish(RefreshFailed(account.integration, account.name, grant.generation, finding.reason, wait))
        return TryAgainLater(f"{account.label}: {finding.reason}", after=wait, evidence=finding.evidence)

    def _refuse_unusable(self, grant: Grant) -> None:
        account = grant.account
        if account.state is AccountState.NEEDS_CONSENT and account.cause != SCOPE_MISSING:
            raise NeedsConsent(f"{account.label} needs consent: {account.reason}", hint=_remedy(grant))
        if account.state is AccountState.PAUSED:
            raise WorkerError(
                f"{account.label} is paused", hint=f"worker accounts resume {account.integration} {account.name}"
            )

    def _refuse_early(self, grant: Grant) -> None:
        """No call before the time that the last failure named, whoever asks: not of this account, not of the client."""
        now = self._clock.now()
        if grant.not_before is not None and now < grant.not_before:
            wait = grant.not_before - now
            failing = f"failing since {rfc3339(grant.failing_since)}, {grant.failures} attempts"
            raise TryAgainLater(
                f"{grant.account.label}: the next refresh is due in {span(wait)} ({failing})", after=wait
            )
        incident = self._store.incidents.find_open(grant.account.integration, CLIENT_REFUSED)
        if incident is not None and incident.not_before is not None and now < incident.not_before:
            raise Misconfigured(f"{incident.integration}: {incident.cause}", hint=incident.remedy)

    def _tell_move(
        self,
        grant: Grant,
        after: AccountState,
        cause: str,
        remedy: str = "",
        evidence: Mapping[str, object] | None = None,
    ) -> None:
        account = grant.account
        self._events.publish(
            AccountMoved(account.integration, account.name, account.state, after, cause, remedy, evidence or {})
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


def _ambiguity(evidence: Mapping[str, object]) -> str:
    """What about an answer without tokens may hide a rotation; empty when nothing does."""
    status = evidence.get("status")
    # From something between us and a server that has already rotated, or from one that fell over after it had.
    # Not 503: whoever says that he cannot serve has not served.
    ambiguous = isinstance(status, int) and (status in _SUCCESSES or status >= _SERVER_ERROR) and status != _BUSY
    return f"an answer {status} that nobody could read" if ambiguous else ""


def _remedy(grant: Grant) -> str:
    return f"worker enroll {grant.account.integration} {grant.account.name}"


def _words(evidence: Mapping[str, object]) -> str:
    """The few words of evidence that belong into a sentence."""
    parts = (evidence.get(name) for name in ("status", "error", "error_description", "fault", "detail"))
    return ", ".join(str(part) for part in parts if part) or "no details"
