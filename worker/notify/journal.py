"""Events as log lines. What needs a human is an error, and says what to do."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from worker.events import (
    AccountFailing,
    AccountMoved,
    AccountRecovered,
    GrantRefreshed,
    IncidentClosed,
    IncidentOpened,
    RefreshFailed,
)
from worker.states import AccountState

if TYPE_CHECKING:
    from worker.events import Event

log = logging.getLogger("worker.events")


def write(event: Event) -> None:
    """Log one event with all its facts. A run's end is logged where it ends."""
    facts = {name: value for name, value in asdict(event).items() if value not in ("", None, {})}
    match event:
        case AccountMoved(after=AccountState.NEEDS_CONSENT):
            log.error("account needs consent", extra=facts)
        case AccountMoved(after=AccountState.IN_DOUBT):
            log.warning("account in doubt", extra=facts)
        case AccountMoved():
            log.info("account is %s", event.after, extra=facts)
        case GrantRefreshed():
            log.info("grant refreshed", extra=facts)
        case RefreshFailed():
            log.warning("refresh failed", extra=facts)
        case AccountFailing():
            log.error("account has been failing for long", extra=facts)
        case AccountRecovered():
            log.warning("account has recovered", extra=facts)
        case IncidentOpened():
            log.error("incident opened", extra=facts)
        case IncidentClosed():
            log.warning("incident closed", extra=facts)


def complain(event: Event, error: Exception) -> None:
    """A listener failed: say so, and go on."""
    log.error("an event could not be passed on", extra={"event": type(event).__name__}, exc_info=error)
