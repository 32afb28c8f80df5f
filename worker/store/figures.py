"""Figures for monitoring: plain SQL on the driver, as in `snapshot`, so that they cost little every few seconds and
need no key. Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.store.snapshot import LATE, LOCK_WAIT, connected

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Rows = Sequence[tuple[Any, ...]]

#: Seconds after which the outbox gives up; see `worker.store.notifications`.
_OUTBOX = 86400.0
_ACCOUNTS = "SELECT integration, state, count(*) FROM account GROUP BY integration, state ORDER BY integration, state"
_RUNS = (
    "SELECT job, state, count(*), sum(rows), sum(deleted), max(finished_at) FROM run GROUP BY job, state"
    " ORDER BY job, state"
)
_FRESHNESS = (
    "SELECT s.job, a.integration, a.name, s.last_success FROM schedule s JOIN account a ON a.id = s.account_id"
    " WHERE s.next_due IS NOT NULL ORDER BY s.job, a.integration, a.name LIMIT ?"
)
_OLDEST = (
    "SELECT job, count(*), min(last_success), sum(CASE WHEN last_success IS NULL THEN 1 ELSE 0 END),"
    " sum(CASE WHEN running THEN 1 ELSE 0 END), sum(CASE WHEN parked <> '' THEN 1 ELSE 0 END)"
    " FROM schedule WHERE next_due IS NOT NULL GROUP BY job ORDER BY job"
)
_HELD = "SELECT job, count(*), sum(gone) FROM held_change WHERE state = 'held' GROUP BY job ORDER BY job"
_INCIDENTS = (
    "SELECT integration, kind, count(*) FROM incident WHERE closed_at IS NULL GROUP BY integration, kind"
    " ORDER BY integration, kind"
)
_WAITING = (
    "SELECT count(*) FROM notification n WHERE n.created_at > ? AND (NOT EXISTS"
    " (SELECT 1 FROM delivery d WHERE d.notification_id = n.id) OR EXISTS (SELECT 1 FROM delivery d"
    " WHERE d.notification_id = n.id AND d.delivered_at IS NULL AND d.given_up_at IS NULL))"
)
_FAILING = (
    "SELECT a.integration, count(*) FROM grant_ g JOIN account a ON a.id = g.account_id WHERE g.failures > 0"
    " GROUP BY a.integration ORDER BY a.integration"
)


@dataclass(frozen=True)
class Figures:
    """One look. Times are seconds since the epoch."""

    now: float
    #: integration, state, accounts
    accounts: Rows
    #: job, state, runs, rows, rows deleted, last end; of the history that is kept
    runs: Rows
    #: job, accounts, oldest success, accounts without one, running, parked
    jobs: Rows
    #: job, integration, account, last success
    freshness: Rows
    #: job, integration, account, last success, late since, failures
    late: Rows
    #: job, changes, rows
    held: Rows
    #: integration, kind, how many
    incidents: Rows
    #: integration, accounts
    failing: Rows
    #: Notifications that a route has not taken.
    waiting: int


def read_figures(url: str, path: Path | None, now: float, most: int, *, lock_wait: float = LOCK_WAIT) -> Figures:
    """All figures, with at most `most` rows of what there is for each account. Raises as `snapshot.take` does."""
    with connected(url, path, lock_wait) as ask:
        ((waiting,),) = ask(_WAITING, (now - _OUTBOX,))
        return Figures(
            now=now,
            accounts=ask(_ACCOUNTS, ()),
            runs=ask(_RUNS, ()),
            jobs=ask(_OLDEST, ()),
            freshness=ask(_FRESHNESS, (most,)),
            late=ask(LATE, (now, -1 if path is not None else None)),
            held=ask(_HELD, ()),
            incidents=ask(_INCIDENTS, ()),
            failing=ask(_FAILING, ()),
            waiting=waiting,
        )
