"""Taking a firing: the schedule's row and all that belongs to it in one SELECT, then two writes.

A daemon does little else but this and the record of how it went. So the statements are built once and name their
columns: built anew and read into mapped objects, they would take several times as long as the database itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, insert, select, update
from sqlmodel import SQLModel, col

from worker.states import RunState
from worker.store.accounts import ACCOUNT_COLUMNS, to_account
from worker.store.database import LOCKED
from worker.store.records import Claim
from worker.store.runs import check_move, new_run_id
from worker.store.tables import AccountRow, RunRow, ScheduleRow

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.store.records import Due

_RUN, _SCHEDULE = SQLModel.metadata.tables["run"], SQLModel.metadata.tables["schedule"]
_ROW = (_SCHEDULE.c.job == bindparam("of_job"), _SCHEDULE.c.account_id == bindparam("of_account"))
_STANDING = (
    select(
        *ACCOUNT_COLUMNS,
        col(ScheduleRow.fence),
        col(ScheduleRow.running),
        col(ScheduleRow.next_due),
        col(ScheduleRow.attempts),
        col(ScheduleRow.run_id),
        col(RunRow.state).label("run_state"),
        select(func.max(col(RunRow.id))).correlate(None).scalar_subquery().label("newest_run"),
    )
    .select_from(ScheduleRow)
    .join(AccountRow, col(AccountRow.id) == col(ScheduleRow.account_id))
    .outerjoin(RunRow, col(RunRow.id) == col(ScheduleRow.run_id))
    .where(*_ROW)
    .with_for_update(of=ScheduleRow, **LOCKED)
)
_BEGIN = insert(_RUN)
_RESUME = update(_RUN).where(_RUN.c.id == bindparam("of_run")).values(state=RunState.RUNNING, finished_at=None)
_TAKE = (
    update(_SCHEDULE)
    .where(*_ROW)
    # What the other side asked for has passed, or somebody runs this by hand.
    .values(running=True, not_before=None, first=False, trigger="schedule", missed_since=None)
)


def take(session: Session, due: Due, now: float, next_due: float | None, *, holder: str, trigger: str) -> Claim | None:
    """Take the firing; None when somebody else was faster, or it is not due any more.

    A run that waits for its retry goes on as the same run with the next attempt.
    """
    key = {"of_job": due.job, "of_account": due.account.id}
    found = session.execute(_STANDING, key).one_or_none()
    if found is None or found.fence != due.fence or found.running:
        return None
    if found.next_due is None and due.next_due is not None:
        return None  # taken off the schedule meanwhile; to claim it would put it back
    goes_on = found.attempts > 0 and found.run_state is not None
    claim = Claim(
        run_id=found.run_id if goes_on else new_run_id(now, found.newest_run or ""),
        job=due.job,
        account=to_account(found),
        fence=found.fence + 1,
        attempt=found.attempts + 1 if goes_on else 1,
        trigger=trigger,
        due_at=due.next_due,
    )
    attempt = {"fence": claim.fence, "attempt": claim.attempt, "holder": holder}
    if goes_on:
        check_move(claim.run_id, found.run_state, RunState.RUNNING)
        session.execute(_RESUME, {"of_run": claim.run_id, **attempt})
    else:
        session.execute(_BEGIN, _new_run(claim, now) | attempt)
    taken = {"fence": claim.fence, "attempts": claim.attempt, "run_id": claim.run_id}
    session.execute(_TAKE, key | taken | {"next_due": next_due, "last_started": now})
    return claim


def _new_run(claim: Claim, now: float) -> dict[str, object]:
    return {
        "id": claim.run_id,
        "job": claim.job,
        "account_id": claim.account.id,
        "state": RunState.RUNNING,
        "trigger": claim.trigger,
        "due_at": claim.due_at,
        "created_at": now,
        "started_at": now,
    }
