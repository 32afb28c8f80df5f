"""What a refresh that brought no tokens does: to the grant, to the integration, and which error its caller gets.

GrantDead        flagged at once, or held when many are refused together (`fleet.py`); "lost in rotation" when an
                 earlier attempt may have spent the refresh token
ClientAtFault    an incident of the integration; the account keeps its state
Postponed        an answer that a pause mends; remembered when it may hide a rotation
NotSent          nothing has changed at the provider; a certificate that does not hold is an incident as well
NoAnswer         in doubt: the intent stays
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.accounts.backoff import wait_after
from worker.accounts.recovery import CERTIFICATE_REFUSED, CLIENT_REFUSED, report
from worker.accounts.telling import code_of, tell_move, words_of
from worker.accounts.token_endpoint import NoAnswer, NotSent
from worker.errors import Misconfigured, TryAgainLater
from worker.events import RefreshFailed
from worker.oauth.verdict import ClientAtFault, GrantDead, Postponed
from worker.states import AccountState
from worker.store.records import REVOKED, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.accounts.canary import Fleet
    from worker.clock import Clock
    from worker.errors import WorkerError
    from worker.events import Events
    from worker.store.records import Grant
    from worker.store.store import Store

    Failure = GrantDead | ClientAtFault | Postponed | NotSent | NoAnswer

_SUCCESSES, _SERVER_ERROR, _BUSY = range(200, 300), 500, 503
#: What OpenSSL calls a certificate that is expired, of another host, or from nobody whom we know.
_BAD_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"


@dataclass(frozen=True)
class Attempt:
    """One refresh that was begun."""

    grant: Grant
    #: What earlier attempts may have lost; empty when nothing.
    doubt: str
    asked_at: float
    #: It was the one attempt that the backoff of a refused client allowed.
    claimed: bool


class Failures:
    """Acts on failed refreshes. Threads may share it."""

    def __init__(self, store: Store, clock: Clock, events: Events, fleet: Fleet) -> None:
        self._store = store
        self._clock = clock
        self._events = events
        self._fleet = fleet

    def of(self, attempt: Attempt, answer: Failure) -> WorkerError:
        """Act on the answer; the error for the caller. Raises GenerationMoved when the grant has changed meanwhile."""
        grant = attempt.grant
        # A provider may repeat a token in its complaint about it.
        answer = replace(answer, evidence=self._store.scrubbed(answer.evidence))
        match answer:
            case GrantDead(evidence=evidence):
                return self._refused(attempt, evidence)
            case ClientAtFault(evidence=evidence):
                return self._client_refused(attempt, evidence)
            case Postponed(evidence=evidence, after=after):
                return self.postponed(grant, evidence, after, _ambiguity(evidence))
            case NotSent(evidence=evidence):
                self._look_at_certificate(attempt, evidence)
                return self.postponed(grant, evidence, None)
            case NoAnswer(evidence=evidence):
                return self._in_doubt(grant, evidence)

    def postponed(self, grant: Grant, evidence: dict[str, object], after: float | None, doubt: str = "") -> WorkerError:
        """Try again later: after what the other side asked for, and never sooner than our own backoff.

        `doubt` is what may hide a rotation of this generation.
        """
        wait = wait_after(grant.failures + 1, after, random.random())  # noqa: S311
        now = self._clock.now()
        finding = Finding("try again later", f"no new access token: {words_of(evidence)}", evidence)
        self._store.grants.fail_refresh(grant, finding, now, not_before=now + wait, doubt=doubt)
        return self._failed(grant, finding, wait)

    def misconfigured(self, grant: Grant, error: Misconfigured) -> None:
        """Nothing was sent, because the settings cannot be used: an incident that waits for nothing but a change."""
        integration, now = grant.account.integration, self._clock.now()
        finding = Finding("misconfigured", error.message, error.evidence)
        remedy = error.hint or f"look at [integrations.{integration}]"
        report(self._store, self._events, integration, CLIENT_REFUSED, finding, now=now, remedy=remedy, wait=0)

    def _refused(self, attempt: Attempt, evidence: dict[str, object]) -> WorkerError:
        word, doubt = code_of(evidence), attempt.doubt
        finding = Finding(REVOKED, f"the provider refuses the refresh token ({word})", evidence)
        if doubt and not attempt.grant.held:
            reason = f"lost in rotation: the provider refuses the refresh token ({word}) after {doubt}"
            finding = Finding("lost in rotation", reason, {**evidence, "after": doubt})
        if attempt.claimed:
            # A dead grant says nothing about the client: the next account may ask at once.
            self._store.incidents.release(attempt.grant.account.integration, CLIENT_REFUSED, self._clock.now())
        return self._fleet.refused(attempt.grant, finding)

    def _client_refused(self, attempt: Attempt, evidence: dict[str, object]) -> WorkerError:
        now, integration = self._clock.now(), attempt.grant.account.integration
        finding = Finding("client refused", f"the provider refuses the client itself ({code_of(evidence)})", evidence)
        remedy = f"worker secrets set {integration} client_secret; or look at [integrations.{integration}]"
        self._store.grants.fail_refresh(attempt.grant, finding, now, not_before=now, doubt=_ambiguity(evidence))
        asked_at = None if attempt.claimed else attempt.asked_at
        report(
            self._store, self._events, integration, CLIENT_REFUSED, finding, now=now, remedy=remedy, asked_at=asked_at
        )
        return Misconfigured(f"{integration}: {finding.reason}", hint=remedy, evidence=evidence)

    def _look_at_certificate(self, attempt: Attempt, evidence: dict[str, object]) -> None:
        """A certificate that does not hold is mended by a human, here or there: told at once, tried again all the same.

        Often it has expired, and is renewed within hours; nothing was sent, so trying is safe.
        """
        if _BAD_CERTIFICATE not in str(evidence.get("detail", "")):
            return
        integration = attempt.grant.account.integration
        finding = Finding("certificate", words_of(evidence), evidence)
        remedy = "worker doctor; if the provider's certificate is a private one, name its CA in REQUESTS_CA_BUNDLE"
        now = self._clock.now()
        report(self._store, self._events, integration, CERTIFICATE_REFUSED, finding, now=now, remedy=remedy, wait=0)

    def _in_doubt(self, grant: Grant, evidence: dict[str, object]) -> WorkerError:
        wait = wait_after(grant.failures + 1, None, random.random())  # noqa: S311
        now = self._clock.now()
        reason = f"no answer to a refresh ({words_of(evidence)}); whether the refresh token was spent is unknown"
        finding = Finding("no answer", reason, evidence)
        account = self._store.grants.leave_in_doubt(grant, finding, now, not_before=now + wait)
        if account.state is AccountState.IN_DOUBT and grant.account.state is AccountState.ACTIVE:
            tell_move(self._events, AccountState.ACTIVE, account, finding)
        return self._failed(grant, finding, wait)

    def _failed(self, grant: Grant, finding: Finding, wait: float) -> TryAgainLater:
        account = grant.account
        self._events.publish(RefreshFailed(account.integration, account.name, grant.generation, finding.reason, wait))
        return TryAgainLater(f"{account.label}: {finding.reason}", after=wait, evidence=finding.evidence)


def _ambiguity(evidence: Mapping[str, object]) -> str:
    """What about an answer without tokens may hide a rotation; empty when nothing does."""
    status = evidence.get("status")
    # From something between us and a server that has already rotated, or from one that fell over after it had.
    # Not 503: whoever says that he cannot serve has not served.
    ambiguous = isinstance(status, int) and (status in _SUCCESSES or status >= _SERVER_ERROR) and status != _BUSY
    return f"an answer {status} that nobody could read" if ambiguous else ""
