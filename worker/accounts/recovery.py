"""The incident of a client that the authorization server refuses: one fault for all accounts of an integration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.events import IncidentClosed

if TYPE_CHECKING:
    from worker.events import Events
    from worker.store.store import Store

#: The incident's kind.
CLIENT_REFUSED = "client_refused"


def client_accepted(store: Store, events: Events, integration: str, now: float, cause: str) -> None:
    """The provider took the client's credentials: an open incident ends, and what was missed becomes due at once."""
    closed = store.incidents.close(integration, CLIENT_REFUSED, now)
    if closed is not None:
        store.schedule.wake_integration(integration, now)
        events.publish(IncidentClosed(integration, closed.kind, cause))
