"""Whose clock is wrong: an incident as long as ours and an authorization server's differ by more than a minute.

Each client keeps what the last answer said (`Client.skew`). It is looked at when the refresh has ended and its tokens
are stored, never in between: nothing may come between an answer and its commit.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from worker.clock import span
from worker.errors import WorkerError
from worker.events import GrantRefreshed, IncidentClosed, IncidentOpened, RefreshFailed
from worker.store.records import CLOCK_SKEW, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.accounts.client import Client
    from worker.clock import Clock
    from worker.events import Event, Events
    from worker.oauth.clock_skew import ClockSkew
    from worker.store.store import Store

log = logging.getLogger(__name__)

REMEDY = "set the clock, and keep it right: timedatectl set-ntp true; then: worker doctor"


class ClockWatch:
    """A listener: hears of refreshes, opens and closes incidents."""

    def __init__(self, store: Store, clients: Mapping[str, Client], clock: Clock, events: Events) -> None:
        self._store = store
        self._clients = clients
        self._clock = clock
        self._events = events

    def hear(self, event: Event) -> None:
        """A refresh has ended. Never raises: the refresh is what counts."""
        if not isinstance(event, GrantRefreshed | RefreshFailed):
            return
        client = self._clients.get(event.integration)
        if client is None or client.skew is None:
            return
        try:
            self._settle(event.integration, client.skew)
        except WorkerError as error:
            log.warning("the state of the clock could not be recorded", extra={"reason": error.message})

    def _settle(self, integration: str, skew: ClockSkew) -> None:
        now = self._clock.now()
        if not skew.wrong:
            if self._store.incidents.close(integration, CLOCK_SKEW, now) is not None:
                self._events.publish(IncidentClosed(integration, CLOCK_SKEW, f"the clock agrees with {skew.origin}"))
            return
        finding = Finding(CLOCK_SKEW, sentence(skew), {"ahead_seconds": round(skew.ahead), "of": skew.origin})
        if self._store.incidents.report(integration, CLOCK_SKEW, finding, now, remedy=REMEDY, not_before=now):
            self._events.publish(IncidentOpened(integration, CLOCK_SKEW, finding.reason, REMEDY))


def sentence(skew: ClockSkew) -> str:
    """`the local clock is 2 h 3 min ahead of https://auth.example.com`."""
    return f"the local clock is {span(skew.ahead)} {'ahead of' if skew.ahead > 0 else 'behind'} {skew.origin}"
