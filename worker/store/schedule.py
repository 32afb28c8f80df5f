"""The schedule: one row for each job and account, with when it is due, what runs, and the fence.

A claim takes the next firing in one transaction: fence + 1, "next after now" as the new due time, a run row. Firings
that were missed meanwhile (restart, sleep, overload) are thereby one run, never dropped and never piled up. While a
run is under way its row is not due; a firing that passes meanwhile leaves `next_due` in the past, so the next run
starts as soon as this one ends.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from sqlalchemy import Integer, bindparam, func, select, update
from sqlmodel import col

from worker.jobs.window import MARK
from worker.states import RunState
from worker.store.accounts import ACCOUNT_COLUMNS, to_account
from worker.store.catch_up import wake_integration
from worker.store.claims import take
from worker.store.crashes import SUSPECT
from worker.store.database import LOCKED, alone, row_count, storable
from worker.store.records import Backfill, Due
from worker.store.tables import AccountRow, RunRow, ScheduleRow
from worker.store.waits import honoured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from typing import Any

    from sqlalchemy import Row, Select

    from worker.store.database import Database
    from worker.store.records import Account, Claim

#: A row with its account.
_DUE: Select[*tuple[Any, ...]] = select(
    col(ScheduleRow.job),
    col(ScheduleRow.account_id),
    *ACCOUNT_COLUMNS,
    col(ScheduleRow.next_due),
    col(ScheduleRow.trigger),
    col(ScheduleRow.fence),
    col(ScheduleRow.attempts),
    col(ScheduleRow.run_id),
    col(ScheduleRow.missed_since),
    col(ScheduleRow.last_success),
    col(ScheduleRow.parked),
    col(ScheduleRow.crashes),
    col(ScheduleRow.not_before),
).join_from(ScheduleRow, AccountRow, col(AccountRow.id) == col(ScheduleRow.account_id))
_EARLIEST = select(func.min(col(ScheduleRow.next_due))).where(col(ScheduleRow.running).is_(False))


class Schedule:
    """What is due when."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ensure(self, job: str, first_due: Mapping[int, float]) -> int:
        """Make or revive the rows of a job for these accounts; existing ones keep their time. Answers how many."""
        with self._database.write() as session:
            alone(session, f"schedule of {job}")
            known = {row.account_id: row for row in session.scalars(_rows_of(job))}
            changed = 0
            for account_id, due in first_due.items():
                row = known.get(account_id)
                if row is None:
                    session.add(ScheduleRow(job=job, account_id=account_id, next_due=due))
                elif row.next_due is None:
                    row.next_due = honoured(row, due)
                else:
                    continue
                changed += 1
            for account_id, row in known.items():
                if account_id not in first_due and row.next_due is not None:
                    row.next_due = None
                    changed += 1
            return changed

    def retire(self, jobs: Iterable[str]) -> int:
        """Take every job that is not among these off the schedule; its history stays. Answers how many rows.

        Runs that wait for a retry of whatever is off the schedule fail: nobody would make it.
        """
        statement = update(ScheduleRow).where(col(ScheduleRow.job).not_in(list(jobs)))
        with self._database.write() as session:
            retired = row_count(
                session.execute(statement.where(col(ScheduleRow.next_due).is_not(None)).values(next_due=None))
            )
            waiting = select(ScheduleRow).where(
                col(ScheduleRow.next_due).is_(None), col(ScheduleRow.attempts) > 0, col(ScheduleRow.running).is_(False)
            )
            for row in session.scalars(waiting.with_for_update(key_share=True)):
                run = session.get(RunRow, row.run_id) if row.run_id is not None else None
                if run is not None and run.state == RunState.RETRYING:
                    run.state = RunState.FAILED
                row.attempts, row.run_id = 0, None
            return retired

    def known(self, job: str) -> frozenset[int]:
        """The accounts that have a live row for this job."""
        query = select(col(ScheduleRow.account_id)).where(
            col(ScheduleRow.job) == job, col(ScheduleRow.next_due).is_not(None)
        )
        with self._database.read() as session:
            return frozenset(session.scalars(query))

    def clamp(self, job: str, latest: Mapping[int, float], *, now: float | None = None) -> int:
        """Pull in due times that lie beyond the next firing: the interval was shortened, or the clock went back.

        With `now`, firings still to come that lie before the next one are put off to it: the schedule is another one.
        """
        with self._database.write() as session:
            changed = 0
            for row in session.scalars(_rows_of(job)).all():
                limit = latest.get(row.account_id)
                if limit is None or not _amiss(row, limit, now):
                    continue
                # Read again under its lock: a run may have ended meanwhile and set another time.
                session.refresh(row, with_for_update=LOCKED)
                if _amiss(row, limit, now):
                    row.next_due = honoured(row, limit)
                    changed += 1
            return changed

    def due(
        self,
        now: float,
        limit: int,
        job: str | None = None,
        *,
        suspects: bool | None = None,
        but: AbstractSet[tuple[str, int]] = frozenset(),
    ) -> Sequence[Due]:
        """What may start now (of one job): interrupted runs first, then the longest overdue.

        `suspects` chooses rows that took their process with them more than once, or leaves them out; `but` leaves out
        these, by job and account id.
        """
        given = {"now": now, "most": limit + len(but), "job": job}
        with self._database.read() as session:
            rows = session.execute(_due_query(job is not None, suspects), given)
            return [_to_due(row) for row in islice((one for one in rows if one[:2] not in but), limit)]

    def entry(self, job: str, account_id: int) -> Due | None:
        """The row of one job and account."""
        with self._database.read() as session:
            query = _DUE.where(col(ScheduleRow.job) == job, col(ScheduleRow.account_id) == account_id)
            row = session.execute(query).one_or_none()
            return None if row is None else _to_due(row)

    def open_entry(self, job: str, account: Account) -> Due:
        """The row of one job and account, made when there is none: for runs by hand."""
        found = self.entry(job, account.id)
        if found is not None:
            return found
        with self._database.write() as session:
            alone(session, f"schedule of {job}")
            if session.get(ScheduleRow, (job, account.id)) is None:
                session.add(ScheduleRow(job=job, account_id=account.id, next_due=None))
        made = self.entry(job, account.id)
        assert made is not None
        return made

    def entries(self) -> Sequence[Due]:
        """All live rows, soonest first."""
        query = _DUE.where(col(ScheduleRow.next_due).is_not(None)).order_by(col(ScheduleRow.next_due))
        with self._database.read() as session:
            return [_to_due(row) for row in session.execute(query)]

    def backfills(self) -> Sequence[Backfill]:
        """Jobs run for a window of time, newest first; those that were forgotten are left out."""
        query = (
            select(ScheduleRow, AccountRow)
            .join(AccountRow, col(AccountRow.id) == col(ScheduleRow.account_id))
            .where(col(ScheduleRow.job).contains(MARK, autoescape=True), col(ScheduleRow.last_started).is_not(None))
            .order_by(col(ScheduleRow.last_started).desc())
        )
        with self._database.read() as session:
            return [
                Backfill(row.job, to_account(account), row.running, started, _done_at(row, started))
                for row, account in session.execute(query)
                if (started := row.last_started) is not None
            ]

    def forget_backfill(self, job: str, account_id: int) -> None:
        """Do not list it any more. The row stays, for its fence."""
        with self._database.write() as session:
            row = session.get(ScheduleRow, (job, account_id), with_for_update=LOCKED)
            if row is not None and MARK in job:
                row.last_started = None

    def earliest(self) -> float | None:
        """When the next run falls due; None when nothing is scheduled."""
        with self._database.read() as session:
            return session.scalar(_EARLIEST)

    def claim(self, due: Due, now: float, next_due: float | None, holder: str, trigger: str) -> Claim | None:
        """Take the firing; None when somebody else was faster, or it is not due any more. See `claims`."""
        with self._database.write() as session:
            return take(session, due, now, next_due, holder=holder, trigger=trigger)

    def lacking(self, account_id: int) -> dict[str, tuple[str, ...]]:
        """The account's parked jobs, each with the scopes that it lacks; none where the provider named none."""
        query = (
            select(col(ScheduleRow.job), col(ScheduleRow.parked_scopes))
            .where(col(ScheduleRow.account_id) == account_id, col(ScheduleRow.parked) != "")
            .order_by(col(ScheduleRow.job))
        )
        with self._database.read() as session:
            return {job: tuple(scopes) for job, scopes in session.execute(query)}

    def park(self, job: str, account_id: int, reason: str, scopes: Sequence[str]) -> None:
        """Do not run this job for this account until a consent brings the scopes it lacks."""
        with self._database.write() as session:
            row = session.get(ScheduleRow, (job, account_id), with_for_update=LOCKED)
            if row is not None:
                row.parked, row.parked_scopes = storable(reason), list(scopes)

    def running(self) -> Sequence[Due]:
        """Rows with a run under way, as far as the record knows."""
        with self._database.read() as session:
            return [_to_due(row) for row in session.execute(_DUE.where(col(ScheduleRow.running).is_(True)))]

    def wake_integration(self, integration: str, now: float) -> int:
        """The integration works again: runs that were missed meanwhile become due at once. Answers how many."""
        with self._database.write() as session:
            return wake_integration(session, integration, now)

    def has_suspects(self) -> bool:
        """Whether any row took its process with it more than once."""
        query = select(col(ScheduleRow.job)).where(col(ScheduleRow.crashes) >= SUSPECT).limit(1)
        with self._database.read() as session:
            return session.scalar(query) is not None


def _amiss(row: ScheduleRow, limit: float, now: float | None) -> bool:
    """Whether a due time is no firing of the schedule, and nothing that was asked for either (a retry, a catch-up)."""
    if row.next_due is None or row.attempts:
        return False
    limit = honoured(row, limit)
    early = now is not None and now < row.next_due < limit and row.trigger in {"first", "schedule"}
    return row.next_due > limit or early


def _done_at(row: ScheduleRow, started: float) -> float | None:
    return (
        row.last_success if not row.running and row.last_success is not None and row.last_success >= started else None
    )


def _rows_of(job: str) -> Select[ScheduleRow]:
    return select(ScheduleRow).where(col(ScheduleRow.job) == job)


@cache
def _due_query(of_job: bool, suspects: bool | None) -> Select[*tuple[Any, ...]]:
    """Built once of each kind: the dispatcher asks after every run."""
    query = _DUE.where(col(ScheduleRow.next_due) <= bindparam("now"), col(ScheduleRow.running).is_(False))
    if of_job:
        query = query.where(col(ScheduleRow.job) == bindparam("job"))
    if suspects is not None:
        crashes = col(ScheduleRow.crashes)
        query = query.where(crashes >= SUSPECT if suspects else crashes < SUSPECT)
    first = col(ScheduleRow.first).desc(), col(ScheduleRow.next_due)
    return query.order_by(*first).limit(bindparam("most", type_=Integer))


def _to_due(row: Row[*tuple[Any, ...]]) -> Due:
    return Due(
        job=row.job,
        account=to_account(row),
        next_due=row.next_due,
        trigger="retry" if row.attempts else row.trigger,
        fence=row.fence,
        attempts=row.attempts,
        run_id=row.run_id,
        missed_since=row.missed_since,
        last_success=row.last_success,
        parked=row.parked,
        crashes=row.crashes,
        not_before=row.not_before,
    )
