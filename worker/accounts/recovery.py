"""Incidents of an integration: one fault for all its accounts, told once, over with the first refresh that succeeds.

While the client itself is refused, the accounts of all processes share one backoff: whoever comes first after it takes
the one attempt that it allows, and the others are refused without a call.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from worker.accounts.backoff import wait_after
from worker.errors import Misconfigured
from worker.events import IncidentClosed, IncidentOpened

if TYPE_CHECKING:
    from worker.events import Events
    from worker.store.records import Finding
    from worker.store.store import Store

#: The client's credentials, or its settings, are refused.
CLIENT_REFUSED = "client_refused"
#: The token endpoint's certificate is refused by us.
CERTIFICATE_REFUSED = "certificate_refused"
#: Seconds for which the one attempt that a backoff allows is somebody's, should he never come back from it.
_LEASE = 120.0
#: Seconds of the first backoff.
_FIRST = 30.0


def client_accepted(store: Store, events: Events, integration: str, now: float, cause: str) -> None:
    """The provider took the client's credentials: open incidents end, and what was missed becomes due at once."""
    for kind in (CLIENT_REFUSED, CERTIFICATE_REFUSED):
        closed = store.incidents.close(integration, kind, now, wake=True)
        if closed is not None:
            events.publish(IncidentClosed(integration, closed.kind, cause))


def claim_attempt(store: Store, integration: str, now: float) -> bool:
    """Take the one attempt that a refused client's backoff allows; answers whether there is such an incident.

    Raises Misconfigured while the backoff lasts, or when somebody else has taken the attempt.
    """
    incident = store.incidents.find_open(integration, CLIENT_REFUSED)
    if incident is None:
        return False
    waiting = incident.not_before is not None and now < incident.not_before
    if waiting or not store.incidents.claim(integration, CLIENT_REFUSED, now, now + _LEASE):
        raise Misconfigured(f"{integration}: {incident.cause}", hint=incident.remedy)
    return True


def report(  # noqa: PLR0913 - the incident, and when its question was asked
    store: Store,
    events: Events,
    integration: str,
    kind: str,
    finding: Finding,
    *,
    now: float,
    remedy: str,
    asked_at: float | None = None,
    wait: float | None = None,
) -> None:
    """Open an incident and tell of it, or count one more occurrence; the next attempt waits (`wait` seconds, if given).

    Questions that were on their way together (`asked_at`) count as one.
    """
    earlier = store.incidents.find_open(integration, kind)
    if wait is None:
        wait = wait_after((earlier.occurrences if earlier else 0) + 1, None, random.random(), first=_FIRST)  # noqa: S311
    opened = store.incidents.report(
        integration, kind, finding, now, remedy=remedy, not_before=now + wait, asked_at=asked_at
    )
    if opened:
        events.publish(IncidentOpened(integration, kind, finding.reason, remedy))
