"""Run history. A run's end is written only under its own fence: a zombie's result is refused, whatever it says."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlmodel import col

from worker.errors import FenceLost, UsageFault, WorkerError
from worker.states import FINISHED, RUN_MOVES, RunState
from worker.store.accounts import to_account
from worker.store.database import LOCKED, row_count, storable
from worker.store.records import Run, RunCounts
from worker.store.tables import AccountRow, RunRow, ScheduleRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.store.database import Database
    from worker.store.records import Claim, Due


@dataclass(frozen=True)
class RunEnd:
    """How an attempt ended."""

    state: RunState
    counts: RunCounts
    error: str | None = None
    #: With `retrying`: when the next attempt may start. With `interrupted`: now, or when the API had asked for. With
    #: `failed`: the earliest moment at which the API wants to hear of us again.
    next_due: float | None = None
    #: It could not do its work until a human acts, and is made up for then.
    missed: bool = False
    #: A newer fence than the store knows of, found in the sink: the store was restored from a backup.
    newer_fence: int = 0


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list."""

    job: str | None = None
    integration: str | None = None
    account: str | None = None
    state: str | None = None
    limit: int = 50


class Runs:
    """The run history."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def finish(self, claim: Claim, end: RunEnd, now: float) -> RunState:
        """Write an attempt's end; answers the state the run is in now.

        A job that is not on the schedule (any more) has nobody to try it again: such a run fails instead of retrying.
        Raises FenceLost, and writes nothing, when a newer run has begun or the account is gone.
        """
        with self._database.write() as session:
            schedule = session.get(ScheduleRow, (claim.job, claim.account.id), with_for_update=LOCKED)
            row = session.get(RunRow, claim.run_id)
            if row is None:
                raise FenceLost("the account was removed while its job ran; the results are refused")
            if schedule is not None and schedule.fence != claim.fence:
                raise FenceLost
            scheduled = schedule is not None and schedule.next_due is not None
            state = RunState.FAILED if end.state is RunState.RETRYING and not scheduled else end.state
            _move(row, state)
            row.finished_at, row.error = now, None if end.error is None else storable(end.error)
            row.rows += end.counts.rows
            row.requests += end.counts.requests
            row.refreshes += end.counts.refreshes
            if schedule is not None:
                _advance(schedule, state, claim, end, now)
            return state

    def skip(self, due: Due, reason: str, now: float, next_due: float | None) -> None:
        """Record a firing that was not run, and remember since when runs are missing.

        Does nothing when the reason may not hold any more: the firing was dealt with, or the account has changed since
        `due` was read. A consent that comes in between has just made it due; that is not to be put off.
        """
        with self._database.write() as session:
            schedule = session.get(ScheduleRow, (due.job, due.account.id), with_for_update=LOCKED)
            if schedule is None or schedule.fence != due.fence or schedule.running or schedule.parked != due.parked:
                return
            if (
                schedule.next_due != due.next_due
                or to_account(session.get_one(AccountRow, due.account.id)) != due.account
            ):
                return
            reason = storable(reason)
            waiting = session.get(RunRow, schedule.run_id) if schedule.run_id is not None else None
            if waiting is not None and waiting.state == RunState.RETRYING:
                _move(waiting, RunState.SKIPPED)
                waiting.error, waiting.finished_at = reason, now
            else:
                session.add(_skipped_row(due, reason, now))
            schedule.missed_since = schedule.missed_since or due.next_due or now
            schedule.next_due, schedule.attempts, schedule.run_id = next_due, 0, None

    def interrupt(self, due: Due, reason: str, now: float) -> bool:
        """Mark the run of a process that is gone; a new one is due at once. Answers whether there was one."""
        with self._database.write() as session:
            schedule = session.get(ScheduleRow, (due.job, due.account.id), with_for_update=LOCKED)
            if schedule is None or not schedule.running or schedule.fence != due.fence:
                return False
            row = session.get(RunRow, schedule.run_id) if schedule.run_id else None
            if row is not None and RunState(row.state) not in FINISHED:
                _move(row, RunState.INTERRUPTED)
                row.finished_at, row.error = now, reason
            # The fence moves: should the lost process wake up after all, its results are refused.
            schedule.fence += 1
            schedule.running, schedule.first, schedule.trigger = False, True, "interrupted"
            schedule.attempts, schedule.run_id = 0, None
            if schedule.next_due is not None:
                schedule.next_due = now
            return True

    def list(self, wanted: RunFilter) -> Sequence[Run]:
        """Runs, newest first."""
        query = select(RunRow, AccountRow).join(AccountRow, col(AccountRow.id) == col(RunRow.account_id))
        if wanted.job is not None:
            query = query.where(col(RunRow.job) == wanted.job)
        if wanted.integration is not None:
            query = query.where(col(AccountRow.integration) == wanted.integration)
        if wanted.account is not None:
            query = query.where(col(AccountRow.name) == wanted.account)
        if wanted.state is not None:
            query = query.where(col(RunRow.state) == wanted.state)
        with self._database.read() as session:
            rows = session.execute(query.order_by(col(RunRow.id).desc()).limit(wanted.limit))
            return [_to_run(row, account) for row, account in rows]

    def get(self, run_id: str) -> Run:
        """One run, by its id or the unique beginning of it. Raises UsageFault when there is none or several."""
        query = (
            select(RunRow, AccountRow)
            .join(AccountRow, col(AccountRow.id) == col(RunRow.account_id))
            .where(col(RunRow.id).startswith(run_id, autoescape=True))
            .limit(2)
        )
        with self._database.read() as session:
            found = list(session.execute(query))
            if len(found) != 1:
                raise UsageFault(
                    f"{'no run' if not found else 'several runs'} with id {run_id}", hint="worker runs list"
                )
            return _to_run(*found[0])

    def prune(self, before: float) -> int:
        """Forget runs that ended before a moment; each account's schedule row keeps its last success."""
        statement = delete(RunRow).where(col(RunRow.finished_at) < before, col(RunRow.state) != RunState.RETRYING)
        with self._database.write() as session:
            return row_count(session.execute(statement))


def new_run_id(now: float) -> str:
    """An id that sorts by time: milliseconds since the epoch in 11 hexadecimal digits, and 40 random bits."""
    return f"{int(now * 1000):011x}{secrets.token_hex(5)}"


def new_run_row(claim: Claim, now: float, holder: str) -> RunRow:
    """The row of a run that starts now."""
    return RunRow(
        id=new_run_id(now),
        job=claim.job,
        account_id=claim.account.id,
        state=RunState.RUNNING,
        trigger=claim.trigger,
        fence=claim.fence,
        attempt=claim.attempt,
        due_at=claim.due_at,
        created_at=now,
        started_at=now,
        holder=holder,
    )


def resume_run_row(row: RunRow, claim: Claim, now: float, holder: str) -> RunRow:
    """The row of a run that goes on with its next attempt."""
    _move(row, RunState.RUNNING)
    row.fence, row.attempt, row.holder = claim.fence, claim.attempt, holder
    row.finished_at, row.started_at = None, row.started_at or now
    return row


def _advance(schedule: ScheduleRow, state: RunState, claim: Claim, end: RunEnd, now: float) -> None:
    """What the end of an attempt means for its row of the schedule."""
    schedule.running = False
    schedule.fence = max(schedule.fence, end.newer_fence)
    if state is RunState.SUCCEEDED:
        schedule.last_success = now
    if end.missed or state is RunState.SKIPPED:
        schedule.missed_since = schedule.missed_since or claim.due_at or now
    if state is not RunState.RETRYING:
        schedule.attempts, schedule.run_id = 0, None
    if state is RunState.INTERRUPTED:
        schedule.first, schedule.trigger = True, "interrupted"
    if end.next_due is not None and schedule.next_due is not None:
        failed = state is RunState.FAILED
        schedule.next_due = max(schedule.next_due, end.next_due) if failed else end.next_due


def _skipped_row(due: Due, reason: str, now: float) -> RunRow:
    return RunRow(
        id=new_run_id(now),
        job=due.job,
        account_id=due.account.id,
        state=RunState.SKIPPED,
        trigger=due.trigger,
        fence=due.fence,
        attempt=0,
        due_at=due.next_due,
        created_at=now,
        finished_at=now,
        error=reason,
    )


def _move(row: RunRow, after: RunState) -> None:
    before = RunState(row.state)
    if after not in RUN_MOVES[before]:
        raise WorkerError(f"run {row.id} cannot go from {before} to {after}")
    row.state = after


def _to_run(row: RunRow, account: AccountRow) -> Run:
    return Run(
        id=row.id,
        job=row.job,
        integration=account.integration,
        account=account.name,
        state=RunState(row.state),
        trigger=row.trigger,
        attempt=row.attempt,
        fence=row.fence,
        due_at=row.due_at,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        counts=RunCounts(row.rows, row.requests, row.refreshes),
        error=row.error,
        holder=row.holder,
    )
