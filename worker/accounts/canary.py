"""Held refusals at work: hold or flag, probe the canary, release or confirm. The policy stands in `fleet.py`.

Everything is in the store, so a crash at any moment leaves a state from which the next look goes on: the incident says
when the next probe is due, and a probe is claimed before it is made, so that two processes do not make the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.accounts.fleet import NEVER, MassRefusal
from worker.accounts.telling import code_of, remedy_for, tell_move
from worker.clock import rfc3339
from worker.errors import NeedsConsent, TryAgainLater, WorkerError
from worker.events import IncidentClosed, IncidentOpened
from worker.states import AccountState
from worker.store.holds import GRANTS_REFUSED
from worker.store.records import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.accounts.client import Client
    from worker.clock import Clock
    from worker.events import Events
    from worker.store.holds import Moved
    from worker.store.records import Account, Grant, Incident
    from worker.store.store import Store

#: Seconds for which a probe is somebody's, should he never come back from it.
_LEASE = 120.0
#: Seconds until the next look when there is nobody to probe, and at least those after a probe that told nothing: where
#: answers are lost, each probe may spend the refresh token of another account.
_PAUSE = 300.0


class _RefusedAgain(TryAgainLater):
    """The canary was refused, and it was not the last probe: `after` leads to the next one."""


class Fleet:
    """The refusals of all integrations. Threads may share it."""

    def __init__(self, store: Store, clients: Mapping[str, Client], clock: Clock, events: Events) -> None:
        self._store = store
        self._clients = clients
        self._clock = clock
        self._events = events

    def refused(self, grant: Grant, finding: Finding) -> WorkerError:
        """The provider has refused this grant: flag the account, or hold the refusal. Answers the error to raise."""
        incident = self._store.incidents.find_open(grant.account.integration, GRANTS_REFUSED) if grant.held else None
        if incident is not None:
            return self._canary_refused(grant, incident, finding)
        rule, now = self._rule(grant.account.integration), self._clock.now()
        outcome = self._store.holds.refuse(grant, finding, now, rule)
        account = outcome.account
        if outcome.held and outcome.incident is not None:
            if outcome.opened:
                told = outcome.incident
                self._events.publish(IncidentOpened(told.integration, told.kind, told.cause, told.remedy))
            tell_move(self._events, grant.account.state, account, finding)
            return self.waiting(account)
        # Also one that was flagged before, for a missing scope: then the grant still worked. A pause hides the state.
        if account.state is AccountState.NEEDS_CONSENT:
            tell_move(self._events, grant.account.state, account, finding)
        return NeedsConsent(
            f"{account.label} needs consent: {finding.reason}", hint=remedy_for(account), evidence=finding.evidence
        )

    def waiting(self, account: Account) -> TryAgainLater:
        """What a held account's callers are told."""
        incident = self._store.incidents.find_open(account.integration, GRANTS_REFUSED)
        at = None if incident is None else incident.not_before
        words = f", the next probe at {rfc3339(at)}" if at is not None else ""
        return TryAgainLater(
            f"{account.label} is held: many accounts of {account.integration} were refused at once{words}",
            after=_PAUSE if at is None else max(at - self._clock.now(), 1.0),
            hint=f"worker status; or decide: worker accounts release {account.integration}",
        )

    def probe(self, attempt: Callable[[int], None]) -> None:
        """Make the probes that are due: `attempt` refreshes one account by its number, in the ordinary way."""
        for incident in self._store.incidents.list():
            if incident.kind == GRANTS_REFUSED and (incident.not_before or 0.0) <= self._clock.now():
                self._probe_one(incident, attempt)

    def release(self, integration: str, reason: str) -> Sequence[Moved]:
        """The grants are good after all: everybody goes on, and tries for himself. Answers who was held."""
        moved = self._store.holds.release(integration, self._clock.now(), reason)
        self._tell(integration, moved, f"{reason}; {len(moved)} accounts go on")
        return moved

    def confirm(self, integration: str, reason: str) -> Sequence[Moved]:
        """The grants are dead: each account is flagged. Answers who was held."""
        moved = self._store.holds.confirm(integration, self._clock.now())
        self._tell(integration, moved, f"{reason}; {len(moved)} accounts need consent: worker accounts list")
        return moved

    def _tell(self, integration: str, moved: Sequence[Moved], cause: str) -> None:
        for one in moved:
            if one.account.state is not one.before:
                tell_move(self._events, one.before, one.account, one.finding)
        self._events.publish(IncidentClosed(integration, GRANTS_REFUSED, cause))

    def _rule(self, integration: str) -> MassRefusal:
        client = self._clients.get(integration)
        return NEVER if client is None else MassRefusal.of(client.integration)

    def _probe_one(self, incident: Incident, attempt: Callable[[int], None]) -> None:
        integration, now = incident.integration, self._clock.now()
        if integration not in self._clients:
            return
        if not self._store.incidents.claim(integration, GRANTS_REFUSED, now, now + _LEASE):
            return
        canaries = self._store.holds.canaries(integration)
        if not canaries and not self._store.holds.held(integration):
            self.release(integration, "nobody is held any more")
            return
        wait = _PAUSE
        if canaries:
            try:
                attempt(canaries[0])
            except _RefusedAgain as error:
                wait = error.after or 0.0
            except TryAgainLater as error:
                wait = max(error.after or 0.0, _PAUSE)
            except NeedsConsent:
                wait = 0.0  # consented anew, or taken away, at this very moment: the next one
            except WorkerError:
                pass  # the client's fault, told as an incident of its own
        self._store.holds.put_off(integration, self._clock.now() + wait)

    def _canary_refused(self, grant: Grant, incident: Incident, finding: Finding) -> WorkerError:
        label, integration, now = grant.account.label, grant.account.integration, self._clock.now()
        words = f"canary {label} is refused again ({code_of(finding.evidence)})"
        self._store.grants.fail_refresh(grant, Finding("canary", words, finding.evidence), now, not_before=now)
        at = self._rule(integration).next_probe(incident.opened_at, now)
        if at is not None:
            return _RefusedAgain(f"{words}; the next probe at {rfc3339(at)}", after=at - now)
        self.confirm(integration, words)
        return NeedsConsent(f"{label} needs consent: {words}", hint=remedy_for(grant.account))
