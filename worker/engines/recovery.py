"""What a process that is gone has left behind: runs that nobody ends, refreshes whose outcome nobody knows.

A run or refresh is under way as long as its lock is held, and the lock dies with its holder. So whoever gets the lock
of a run that the record says is under way knows that its process is gone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from worker.errors import Busy, WorkerError
from worker.states import RunState
from worker.store.locks import account_lock, run_lock

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from worker.store.store import Store

log = logging.getLogger(__name__)

#: A row of the schedule: job and account id.
Key = tuple[str, int]


def recover(store: Store, now: float, ours: AbstractSet[Key]) -> None:
    """Mark what was interrupted, so that it starts again first. `ours` are the runs that this process has in hand."""
    _recover_runs(store, now, ours)
    _recover_refreshes(store, now)


def _recover_runs(store: Store, now: float, ours: AbstractSet[Key]) -> None:
    for due in store.schedule.running():
        if (due.job, due.account.id) in ours:
            continue
        try:
            with store.locks.hold(run_lock(due.job, due.account.id), patience=0):
                state = store.runs.interrupt(due, "the process that ran it is gone", now)
        except Busy:
            continue
        facts = {"job": due.job, "integration": due.account.integration, "account": due.account.name}
        if state is RunState.FAILED:
            log.error("run took its process with it again; it waits", extra={**facts, "crashes": due.crashes + 1})
        elif state is not None and due.crashes:
            log.warning("run was interrupted again; it starts in a while, alone", extra=facts)
        elif state is not None:
            log.warning("run was interrupted; it starts again first", extra=facts)


def _recover_refreshes(store: Store, now: float) -> None:
    count = 0
    for account_id in store.grants.open_intents():
        try:
            with store.locks.hold(account_lock(account_id), patience=0):
                # Under the lock: nobody begins a refresh meanwhile, which is not interrupted at all.
                count += store.grants.interrupted(now, frozenset({account_id}))
        except Busy:
            continue
    if count:
        log.warning("refreshes were interrupted; the next use of these accounts settles them", extra={"count": count})


def abandon(store: Store, now: float, left: AbstractSet[Key]) -> int:
    """Mark the runs that this process leaves behind as it ends; answers how many. Their results are refused."""
    reason = "the process shut down before the run had ended"
    try:
        rows = [due for due in store.schedule.running() if (due.job, due.account.id) in left]
        return sum(store.runs.interrupt(due, reason, now, crashed=False) is not None for due in rows)
    except WorkerError as error:
        # The next start finds them without their process and does the same.
        log.error("runs that were left behind could not be marked", extra={"error": error.message, "hint": error.hint})
        return len(left)
