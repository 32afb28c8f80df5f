"""Run history. A run's end is written only under its own fence: a zombie's result is refused, whatever it says."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, select
from sqlmodel import col

from worker.errors import FenceLost, UsageFault, WorkerError
from worker.jobs.norms import remembered, unusual
from worker.states import FINISHED, RUN_MOVES, USABLE, RunState
from worker.store import crashes
from worker.store.accounts import to_account
from worker.store.database import LOCKED, row_count, storable
from worker.store.freshness import end_lateness
from worker.store.observed import NOTHING, Observed, write_down
from worker.store.records import Run, RunCounts
from worker.store.tables import AccountRow, RunRow, ScheduleRow
from worker.store.waits import honoured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.store.database import Database
    from worker.store.records import Claim, Due

#: Runs that are named where an id's beginning is that of several.
_CANDIDATES = 5
#: Digits of a run's id that say when it was made.
_TIME_DIGITS = 11
#: A run with its row of the schedule, both gone when the account is. Built once: it is asked at the end of every run.
_UNDER_WAY = (
    select(ScheduleRow, RunRow)
    .join(RunRow, col(RunRow.id) == bindparam("run_id"))
    .where(col(ScheduleRow.job) == bindparam("job"), col(ScheduleRow.account_id) == bindparam("account_id"))
    .with_for_update(of=ScheduleRow, **LOCKED)
)


@dataclass(frozen=True)
class RunEnd:
    """How an attempt ended."""

    state: RunState
    counts: RunCounts
    error: str | None = None
    #: When the next attempt, or with `interrupted` the next run, may start; None leaves it to the schedule.
    next_due: float | None = None
    #: It could not do its work until a human acts, and is made up for then.
    missed: bool = False
    #: The earliest moment at which the API wants to hear of this job again.
    not_before: float | None = None
    #: A newer fence than the store knows of, found in the sink: the store was restored from a backup.
    newer_fence: int = 0
    #: What it has shown of its tables.
    observed: Observed = NOTHING
    #: Not empty: a limit of rows has ended it, and it says nothing of how much there is or how fresh it is.
    cut_off: str = ""


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
            key = {"job": claim.job, "account_id": claim.account.id, "run_id": claim.run_id}
            found = session.execute(_UNDER_WAY, key).one_or_none()
            if found is None:
                raise FenceLost("the account was removed while its job ran; the results are refused")
            schedule, row = found
            if schedule.fence != claim.fence:
                raise FenceLost
            unscheduled = schedule.next_due is None
            state = RunState.FAILED if end.state is RunState.RETRYING and unscheduled else end.state
            _move(row, state)
            row.finished_at, row.error = now, None if end.error is None else storable(end.error)
            row.rows += end.counts.rows
            row.requests += end.counts.requests
            row.refreshes += end.counts.refreshes
            row.deleted += end.counts.deleted
            row.held += end.counts.held
            write_down(session, claim, end.observed, now)
            row.drift = [*(row.drift or ()), *end.observed.drift] or None
            if end.cut_off:
                row.note = storable(end.cut_off)
            elif state is RunState.SUCCEEDED:
                row.note = unusual(row.rows, schedule.recent_rows or ()) or None
                schedule.recent_rows = remembered(schedule.recent_rows, row.rows)
                end_lateness(session, schedule, claim, now)
            _advance(schedule, state, claim, end, now)
            if end.missed and schedule.next_due is not None and _mended(session, schedule, claim):
                schedule.next_due, schedule.trigger = honoured(schedule, now), "catch_up"
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
                session.add(_skipped_row(due, next_run_id(session, now), reason, now))
            schedule.missed_since = schedule.missed_since or due.next_due or now
            schedule.next_due = None if next_due is None else honoured(schedule, next_due)
            schedule.attempts, schedule.run_id = 0, None

    def interrupt(self, due: Due, reason: str, now: float, *, crashed: bool = True) -> RunState | None:
        """Mark the run of a process that is gone, or (not `crashed`) is about to go on purpose.

        Answers what became of it; None when no such run is under way. `worker.store.crashes` says what is due when.
        """
        with self._database.write() as session:
            schedule = session.get(ScheduleRow, (due.job, due.account.id), with_for_update=LOCKED)
            if schedule is None or not schedule.running or schedule.fence != due.fence:
                return None
            schedule.crashes += crashed
            failed = crashed and schedule.crashes >= crashes.TOO_MANY
            state = RunState.FAILED if failed else RunState.INTERRUPTED
            row = session.get(RunRow, schedule.run_id) if schedule.run_id else None
            if row is not None and RunState(row.state) not in FINISHED:
                _move(row, state)
                row.finished_at, row.error = now, crashes.cause(schedule.crashes if crashed else 0, reason)
            # The fence moves: should the lost process wake up after all, its results are refused.
            schedule.fence += 1
            schedule.running, schedule.attempts, schedule.run_id = False, 0, None
            _count(schedule, state, now)
            _put_off(schedule, now, crashed=crashed, failed=failed)
            return state

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
            .order_by(col(RunRow.id).desc())
            .limit(_CANDIDATES + 1)
        )
        with self._database.read() as session:
            found = [_to_run(row, account) for row, account in session.execute(query)]
        if not found:
            raise UsageFault(f"no run with id {run_id}", hint="worker runs list")
        if len(found) > 1:
            named = [f"{run.id} ({run.job} of {run.integration}/{run.account}, {run.state})" for run in found]
            more = ", …" if len(named) > _CANDIDATES else ""
            raise UsageFault(
                f"several runs with id {run_id}: {', '.join(named[:_CANDIDATES])}{more}", hint="worker runs show ID"
            )
        return found[0]

    def prune(self, before: float) -> int:
        """Forget runs that ended before a moment; each account's schedule row keeps its last success."""
        statement = delete(RunRow).where(col(RunRow.finished_at) < before, col(RunRow.state) != RunState.RETRYING)
        with self._database.write() as session:
            return row_count(session.execute(statement))


def new_run_id(now: float, newest: str = "") -> str:
    """An id that sorts by time: milliseconds since the epoch in 11 hexadecimal digits, and 40 random bits.

    It comes after `newest`, whatever was done to the clock since that one was made.
    """
    moment = max(int(now * 1000), int(newest[:_TIME_DIGITS], 16) + 1 if newest else 0)
    return f"{min(moment, 16**_TIME_DIGITS - 1):0{_TIME_DIGITS}x}{secrets.token_hex(5)}"


def next_run_id(session: Session, now: float) -> str:
    """An id for a run that begins in this transaction."""
    return new_run_id(now, session.scalar(select(func.max(col(RunRow.id)))) or "")


def _advance(schedule: ScheduleRow, state: RunState, claim: Claim, end: RunEnd, now: float) -> None:
    """What the end of an attempt means for its row of the schedule."""
    schedule.running = False
    schedule.fence = max(schedule.fence, end.newer_fence)
    if state is RunState.SUCCEEDED and not end.cut_off:
        schedule.last_success = now
    if state is not RunState.INTERRUPTED:
        schedule.crashes = 0  # its process is there to tell how it ended
    _count(schedule, state, now)
    if end.missed or state is RunState.SKIPPED:
        schedule.missed_since = schedule.missed_since or claim.due_at or now
    if state is not RunState.RETRYING:
        schedule.attempts, schedule.run_id = 0, None
    if state is RunState.INTERRUPTED:
        schedule.first, schedule.trigger = True, "interrupted"
    schedule.not_before = end.not_before
    if schedule.next_due is not None:
        schedule.next_due = honoured(schedule, schedule.next_due if end.next_due is None else end.next_due)


def _count(schedule: ScheduleRow, state: RunState, now: float) -> None:
    """Count failures in a row; a run that was skipped, cut short or is still being tried says nothing."""
    if state is RunState.SUCCEEDED:
        schedule.failures, schedule.failing_since = 0, None
    elif state in {RunState.FAILED, RunState.TIMED_OUT}:
        schedule.failures, schedule.failing_since = schedule.failures + 1, schedule.failing_since or now


def _put_off(schedule: ScheduleRow, now: float, *, crashed: bool, failed: bool) -> None:
    """When the run that was cut off is made again."""
    schedule.first = not crashed or schedule.crashes < crashes.SUSPECT
    schedule.trigger = "schedule" if failed else "interrupted"
    if crashed and not schedule.first:
        schedule.not_before = max(schedule.not_before or now, now + crashes.pause_after(schedule.crashes))
    if schedule.next_due is not None:
        schedule.next_due = honoured(schedule, schedule.next_due if failed else now)


def _mended(session: Session, schedule: ScheduleRow, claim: Claim) -> bool:
    """Whether a human has acted while the run was still on its way to its end: then nobody else wakes this row."""
    account = to_account(session.get_one(AccountRow, claim.account.id))
    moved = schedule.last_started is not None and account.state_since > schedule.last_started
    return moved and account.usable and account.state in USABLE and not schedule.parked


def _skipped_row(due: Due, run_id: str, reason: str, now: float) -> RunRow:
    return RunRow(
        id=run_id,
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


def check_move(run_id: str, before: str, after: RunState) -> None:
    """Raise WorkerError for a change of a run's state that `RUN_MOVES` does not allow."""
    if after not in RUN_MOVES[RunState(before)]:
        raise WorkerError(f"run {run_id} cannot go from {before} to {after}")


def _move(row: RunRow, after: RunState) -> None:
    check_move(row.id, row.state, after)
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
        counts=RunCounts(row.rows, row.requests, row.refreshes, row.deleted, row.held),
        error=row.error,
        holder=row.holder,
        note=row.note or "",
        drift=tuple(row.drift or ()),
    )
