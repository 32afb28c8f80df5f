"""Alerts: refreshes that fail for long without any verdict. What nobody knows is tried again, but not for ever unseen.

An unknown error never stops an account, so something else has to bound it: a human who looks. Not at once, because most
of what is down comes back; and not by the runs that fail, because some accounts have a run a day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.accounts.recovery import CLIENT_REFUSED
from worker.clock import span
from worker.events import AccountFailing, AccountRecovered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.accounts.client import Client
    from worker.clock import Clock
    from worker.events import Events
    from worker.store.records import Failing, Grant
    from worker.store.store import Store


class Alerts:
    """Tells of accounts that have been failing for longer than their integration's `alert_after`."""

    def __init__(self, store: Store, clients: Mapping[str, Client], clock: Clock, events: Events) -> None:
        self._store = store
        self._clients = clients
        self._clock = clock
        self._events = events

    def tell_overdue(self) -> None:
        """Tell of each account once, and again every day; the store knows who has been told."""
        for name, client in list(self._clients.items()):
            if self._store.incidents.find_open(name, CLIENT_REFUSED) is not None:
                continue  # told as an incident: one fault, and not one of each account
            for failing in self._store.failing.tell(name, client.integration.alert_after, self._clock.now()):
                self._tell(failing)

    def recovered(self, grant: Grant) -> None:
        """A grant, as it was before, has been refreshed: take the alarm back, if there was one."""
        if grant.alerted_at is None or grant.failing_since is None:
            return
        lasted = span(self._clock.now() - grant.failing_since)
        cause = f"a refresh succeeded, after {lasted} of failures"
        self._events.publish(AccountRecovered(grant.account.integration, grant.account.name, cause))

    def _tell(self, failing: Failing) -> None:
        account = failing.account
        self._events.publish(
            AccountFailing(
                account.integration,
                account.name,
                failing.since,
                failing.attempts,
                failing.last_answer,
                failing.words,
                remedy=f"worker accounts why {account.label}",
            )
        )
