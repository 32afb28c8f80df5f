"""Freshness: when a job last succeeded for an account, and whether the next success is overdue.

How long it may take stands in the schedule (`late_after`, from the job's configuration), so that whoever reads the
store can tell what is late without it. Late is what could run and does not deliver: an account that needs consent is
told as that, and a parked job as what it lacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select, update
from sqlmodel import col

from worker.clock import span
from worker.states import USABLE
from worker.store.accounts import to_account
from worker.store.database import row_count
from worker.store.matters import Matter, announce_matter
from worker.store.notifications import LATE, RECOVERED
from worker.store.tables import AccountRow, ScheduleRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from worker.store.database import Database
    from worker.store.records import Account, Claim


@dataclass(frozen=True)
class Late:
    """A job and account whose success is overdue."""

    job: str
    account: Account
    #: Seconds since the epoch; None: never.
    last_success: float | None
    #: Since when it is late.
    since: float
    #: Why, as far as the schedule knows: the failures in a row.
    failures: int


class Freshness:
    """What is late."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def expect(self, job: str, seconds: float | None, now: float) -> int:
        """A success of this job is late so many seconds after the last one; None: never. Answers how many rows changed.

        Of an account that has none yet it is expected from the first look on.
        """
        rows = update(ScheduleRow).where(col(ScheduleRow.job) == job)
        other = col(ScheduleRow.late_after).is_distinct_from(seconds)
        begun = col(ScheduleRow.next_due).is_not(None) & col(ScheduleRow.expected_since).is_(None)
        with self._database.write() as session:
            changed = row_count(session.execute(rows.where(other).values(late_after=seconds)))
            return changed + row_count(session.execute(rows.where(begun).values(expected_since=now)))

    def unexpected(self) -> frozenset[str]:
        """Jobs with rows that nobody has looked at yet: new accounts, a job that came back."""
        query = select(col(ScheduleRow.job)).where(
            col(ScheduleRow.next_due).is_not(None), col(ScheduleRow.expected_since).is_(None)
        )
        with self._database.read() as session:
            return frozenset(session.scalars(query.distinct()))

    def late(self, now: float) -> Sequence[Late]:
        """What is late now, longest first."""
        with self._database.read() as session:
            found = [_to_late(row, account) for row, account in session.execute(_LATE.where(_overdue(now)))]
        return sorted(found, key=lambda late: late.since)

    def tell(self, now: float) -> Sequence[Late]:
        """Have people told, once, of what has become late; answers that."""
        fresh = _LATE.where(_overdue(now), col(ScheduleRow.late_since).is_(None))
        with self._database.read() as session:
            if session.execute(fresh.limit(1)).first() is None:
                return []
        told = []
        with self._database.write() as session:
            for row, account in session.execute(fresh.with_for_update(of=ScheduleRow, key_share=True)).all():
                late = _to_late(row, account)
                row.late_since = late.since
                announce_matter(session, LATE, _matter(late, _words(late, now)), now)
                told.append(late)
        return told


#: Rows of the schedule that could run, with their accounts.
_LATE = (
    select(ScheduleRow, AccountRow)
    .join(AccountRow, col(AccountRow.id) == col(ScheduleRow.account_id))
    .where(
        col(ScheduleRow.next_due).is_not(None), col(ScheduleRow.parked) == "", col(AccountRow.state).in_(sorted(USABLE))
    )
)


def end_lateness(session: Session, schedule: ScheduleRow, claim: Claim, now: float) -> None:
    """A run has succeeded: if people were told that it is late, they are told that it is not any more."""
    if schedule.late_since is None:
        return
    late = Late(schedule.job, claim.account, schedule.last_success, schedule.late_since, schedule.failures)
    schedule.late_since = None
    words = f"{late.job} of {late.account.label} delivers again, after {span(now - late.since)} of being late"
    announce_matter(session, RECOVERED, _matter(late, words, over=True), now)


def _overdue(now: float) -> ColumnElement[bool]:
    last = func.coalesce(col(ScheduleRow.last_success), col(ScheduleRow.expected_since))
    # A consent or the end of a pause gives a job its whole time again.
    return and_(*(begun + col(ScheduleRow.late_after) < now for begun in (last, col(AccountRow.state_since))))


def _to_late(row: ScheduleRow, account: AccountRow) -> Late:
    begun = row.last_success if row.last_success is not None else row.expected_since or account.state_since
    since = max(begun, account.state_since) + (row.late_after or 0.0)
    return Late(row.job, to_account(account), row.last_success, since, row.failures)


def _words(late: Late, now: float) -> str:
    success = (
        "has not succeeded yet" if late.last_success is None else f"last succeeded {span(now - late.last_success)} ago"
    )
    failed = f"; its last {late.failures} runs failed" if late.failures else ""
    return f"{late.job} of {late.account.label} is late: it {success}{failed}"


def _matter(late: Late, words: str, *, over: bool = False) -> Matter:
    label = late.account.label
    remedy = "" if over else f"worker runs list --job {late.job} --account {label}"
    evidence = {"job": late.job, "account": late.account.name}
    return Matter(late.account.integration, f"late {late.job} {label}", words, late.since, remedy, evidence)
