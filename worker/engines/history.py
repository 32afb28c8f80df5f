"""Forgetting old history, without trusting the clock that says it is old.

A clock that jumps a year ahead would have a history of ninety days forgotten in one go. So its age is counted by the
reading that nobody can set, nothing is forgotten while an authorization server contradicts our clock, and a process has
to have run for a while first: by then it has heard from one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from worker.store.records import CLOCK_SKEW

if TYPE_CHECKING:
    from worker.clock import Clock
    from worker.store.store import Store

log = logging.getLogger(__name__)


def forget(store: Store, clock: Clock, keep: float) -> int:
    """Forget runs and routine entries older than `keep` seconds; answers how many."""
    if any(incident.kind == CLOCK_SKEW for incident in store.incidents.list()):
        return 0
    before = min(clock.now(), clock.steady()) - keep
    forgotten = store.runs.prune(before) + store.timeline.prune(before) + store.notifications.prune(before, clock.now())
    if forgotten:
        log.info("old history was forgotten", extra={"rows": forgotten})
    return forgotten
