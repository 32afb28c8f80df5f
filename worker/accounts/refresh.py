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
from typing import TYPE_CHECKING

from worker.accounts.backoff import wait_after
from worker.accounts.token_endpoint import NoAnswer, NotSent
from worker.clock import rfc3339, span
from worker.errors import Misconfigured, NeedsConsent, TryAgainLater, WorkerError
from worker.events import AccountMoved, GrantRefreshed, IncidentClosed, IncidentOpened, RefreshFailed
from worker.oauth.token_request import refresh_request
from worker.oauth.verdict import ClientAtFault, GrantDead, Postponed, TokenGranted
from worker.redact import Secret
from worker.states import AccountState
from worker.store.grants import GenerationMoved
from worker.store.locks import process_note
from worker.store.records import SCOPE_MISSING, Finding, Grant, NewTokens
from worker.store.store import account_lock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.accounts.client import Client
    from worker.clock import Clock
    from worker.events import Events
    from worker.oauth.tokens import Tokens
    from worker.oauth.verdict import Outcome
    from worker.store.store import Store

#: The incident of a client that the authorization server refuses.
CLIENT_REFUSED = "client_refused"
#: Answers that may come from something between us and a server that has already rotated.
_AMBIGUOUS_STATUSES = {200, 502, 504}
#: Seconds between the tries to store tokens that are already spent for: for half a minute a full disk may be mended.
_STORE_PAUSES = (0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 10.0)


class Refresher:
    """Refreshes grants. One for the whole process; threads may share it."""

    def __init__(self, store: Store, clients: Mapping[str, Client], clock: Clock, events: Events) -> None:
        self._store = store
        self._clients = clients
        self._clock = clock
        self._events = events
        self._stopping = threading.Event()
        #: Tokens that were received and could not be stored: the account's only copy.
        self._unsaved: dict[int, tuple[Grant, NewTokens]] = {}

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
        with self._store.locks.hold(account_lock(account_id)):
            while True:
                grant = self._save_leftovers(account_id) or self._store.grants.read(account_id)
                if grant.generation > generation:
                    return grant
                try:
                    return self._refresh_locked(grant)
                except GenerationMoved:
                    continue  # a human consented meanwhile: read again

    def _refresh_locked(self, grant: Grant) -> Grant:
        self._refuse_unusable(grant)
        self._refuse_early(grant)
        client = self._clients.get(grant.account.integration)
        if client is None:
            raise Misconfigured(f"integration {grant.account.integration} is not in the configuration")
        request = refresh_request(
            client.token_url(),
            client.credentials(),
            self._read_refresh_token(grant),
            redirect_uri=client.integration.redirect_uri if client.integration.refresh_sends_redirect_uri else None,
            extra=client.integration.token_params,
        )
        # Read before this attempt counts: what earlier ones may have lost.
        doubt = self._earlier_doubt(grant)
        self._store.grants.begin_refresh(grant, process_note(), self._clock.now())
        asked_at = self._clock.now()
        return self._settle(grant, client.ask(request), asked_at, doubt)

    def _settle(self, grant: Grant, answer: Outcome | NotSent | NoAnswer, asked_at: float, doubt: str) -> Grant:
        match answer:
            case TokenGranted(tokens=tokens):
                return self._keep(grant, _new_tokens(tokens, asked_at))
            case GrantDead(evidence=evidence):
                raise self._flagged(grant, evidence, doubt)
            case ClientAtFault(evidence=evidence):
                raise self._client_refused(grant, evidence)
            case Postponed(evidence=evidence, after=after):
                status = evidence.get("status")
                ambiguous = f"an answer {status} that nobody could read" if status in _AMBIGUOUS_STATUSES else ""
                raise self._postponed(grant, evidence, after, ambiguous)
            case NotSent(evidence=evidence):
                raise self._postponed(grant, evidence, None, "")
            case NoAnswer(evidence=evidence):
                raise self._in_doubt(grant, evidence)

    def _keep(self, grant: Grant, tokens: NewTokens) -> Grant:
        """Store the tokens; until that has worked, this process holds the only copy and nobody uses it."""
        self._unsaved[grant.account.id] = (grant, tokens)
        for pause in (*_STORE_PAUSES, None):
            try:
                stored = self._store.grants.complete_refresh(grant, tokens, self._clock.now())
            except (Misconfigured, TryAgainLater) as error:
                if pause is None or self._stopping.wait(pause):
                    raise TryAgainLater(
                        f"{grant.account.label} was refreshed, but the new tokens cannot be stored: {error}",
                        hint=error.hint,
                    ) from error
                continue
            break
        del self._unsaved[grant.account.id]
        self._events.publish(
            GrantRefreshed(
                grant.account.integration,
                grant.account.name,
                stored.generation,
                None if tokens.lifetime is None else int(tokens.lifetime),
                rotated=tokens.refresh_token is not None,
            )
        )
        self._tell_move(grant, stored.account.state, "the refresh token still works")
        closed = self._store.incidents.close(grant.account.integration, CLIENT_REFUSED, self._clock.now())
        if closed is not None:
            self._store.schedule.wake_integration(closed.integration, self._clock.now())
            self._events.publish(IncidentClosed(closed.integration, closed.kind, "a refresh succeeded"))
        return stored

    def _save_leftovers(self, account_id: int) -> Grant | None:
        leftover = self._unsaved.get(account_id)
        if leftover is None:
            return None
        try:
            return self._keep(*leftover)
        except GenerationMoved:
            del self._unsaved[account_id]
            return None

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
        self._tell_move(grant, account.state, finding.reason, _remedy(grant), finding.evidence)

    def _client_refused(self, grant: Grant, evidence: dict[str, object]) -> WorkerError:
        now, integration = self._clock.now(), grant.account.integration
        earlier = self._store.incidents.find_open(integration, CLIENT_REFUSED)
        wait = wait_after((earlier.occurrences if earlier else 0) + 1, None, random.random(), first=30.0)  # noqa: S311
        word = evidence.get("error") or evidence.get("status")
        finding = Finding("client refused", f"the provider refuses the client itself ({word})", evidence)
        remedy = f"worker secrets set {integration} client_secret; or look at [integrations.{integration}]"
        self._store.grants.fail_refresh(grant, finding, now, not_before=now)
        opened = self._store.incidents.report(
            integration, CLIENT_REFUSED, finding, now, remedy=remedy, not_before=now + wait
        )
        if opened:
            self._events.publish(IncidentOpened(integration, CLIENT_REFUSED, finding.reason, remedy))
        return Misconfigured(f"{integration}: {finding.reason}", hint=remedy, evidence=evidence)

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
        if after is not account.state:
            event = AccountMoved(account.integration, account.name, account.state, after, cause, remedy, evidence or {})
            self._events.publish(event)


def _new_tokens(tokens: Tokens, asked_at: float) -> NewTokens:
    return NewTokens(
        access_token=Secret(tokens.access_token),
        refresh_token=None if tokens.refresh_token is None else Secret(tokens.refresh_token),
        token_type=tokens.token_type,
        lifetime=tokens.expires_in,
        issued_at=asked_at,
        scopes=tokens.scopes,
    )


def _remedy(grant: Grant) -> str:
    return f"worker enroll {grant.account.integration} {grant.account.name}"


def _words(evidence: Mapping[str, object]) -> str:
    """The few words of evidence that belong into a sentence."""
    parts = (evidence.get(name) for name in ("status", "error", "error_description", "fault", "detail"))
    return ", ".join(str(part) for part in parts if part) or "no details"
