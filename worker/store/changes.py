"""Deletions that the brake has held: what people see of them, and what they decided. The keys themselves are in the
sink, and there alone is decided what is still there to be taken away; this is the record of it.

    held -> approved | rejected      by an operator
         -> superseded               by a newer listing of the same job, account and table

An approval is carried out in the sink first, then recorded. The sink answers the same when it is asked again, so a
crash in between leaves a change that is held here and done there, and approving it once more settles that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlmodel import col

from worker.errors import UsageFault
from worker.store.accounts import to_account
from worker.store.database import storable
from worker.store.matters import Matter, announce_matter
from worker.store.notifications import HELD, RECOVERED
from worker.store.profiles import note_swept
from worker.store.tables import AccountRow, HeldChangeRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.jobs.listing import Swept
    from worker.store.database import Database
    from worker.store.records import Account, Claim

#: Characters of a key that are shown: a key may be a whole text.
_KEY = 200
WAITING, APPROVED, REJECTED, SUPERSEDED = "held", "approved", "rejected", "superseded"


@dataclass(frozen=True)
class HeldChange:
    """Deletions that wait, or waited, for an approval."""

    #: What it is called, here and in the sink.
    id: str
    job: str
    account: Account
    table: str
    state: str
    #: Rows that the listing does not name, that are there, and that it names.
    gone: int
    present: int
    seen: int
    sample: tuple[str, ...]
    reason: str
    run_id: str
    held_at: float
    decided_at: float | None
    decided_by: str
    #: Rows that were taken away in the end.
    applied: int | None


@dataclass(frozen=True)
class Decision:
    """What somebody decided."""

    job: str
    account: Account
    state: str
    by: str
    applied: int | None = None


class Changes:
    """The held changes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, *, only_waiting: bool = True, limit: int = 100) -> Sequence[HeldChange]:
        """Changes, newest first."""
        query = _QUERY.order_by(col(HeldChangeRow.id).desc()).limit(limit)
        if only_waiting:
            query = query.where(col(HeldChangeRow.state) == WAITING)
        with self._database.read() as session:
            return [_to_change(row, account) for row, account in session.execute(query)]

    def get(self, uid: str) -> HeldChange:
        """One change, by its id or the unique beginning of it. Raises UsageFault when there is none or several."""
        query = _QUERY.where(col(HeldChangeRow.uid).startswith(uid, autoescape=True)).limit(2)
        with self._database.read() as session:
            found = [_to_change(row, account) for row, account in session.execute(query)]
        if len(found) != 1:
            raise UsageFault(f"{'several changes' if found else 'no change'} with id {uid}", hint="worker changes list")
        return found[0]

    def decide(self, change: HeldChange, decision: Decision, now: float) -> bool:
        """Record what was decided; answers False, and changes nothing, when it was decided already."""
        query = select(HeldChangeRow).where(col(HeldChangeRow.uid) == change.id).with_for_update(key_share=True)
        with self._database.write() as session:
            row = session.scalars(query).one_or_none()
            if row is None or row.state != WAITING:
                return False
            _end(session, row, decision, now)
            return True


_QUERY = select(HeldChangeRow, AccountRow).join(AccountRow, col(AccountRow.id) == col(HeldChangeRow.account_id))


def supersede(session: Session, claim: Claim, table: str, now: float) -> None:
    """A newer listing speaks for the table: what an older one said does not wait any more."""
    query = select(HeldChangeRow).where(
        col(HeldChangeRow.state) == WAITING,
        col(HeldChangeRow.job) == claim.job,
        col(HeldChangeRow.account_id) == claim.account.id,
        col(HeldChangeRow.table_name) == storable(table),
    )
    decision = Decision(claim.job, claim.account, SUPERSEDED, f"run {claim.run_id}")
    for row in session.scalars(query).all():
        _end(session, row, decision, now)


def hold(session: Session, claim: Claim, swept: Swept, now: float) -> None:
    """Record that a listing was held, and have people told."""
    row = HeldChangeRow(
        uid=swept.change,
        job=claim.job,
        account_id=claim.account.id,
        table_name=storable(swept.table),
        state=WAITING,
        gone=swept.gone.rows,
        present=swept.gone.present,
        seen=swept.gone.seen,
        sample=[storable(key[:_KEY]) for key in swept.sample],
        reason=storable(swept.objection),
        run_id=claim.run_id,
        held_at=now,
    )
    session.add(row)
    words = f"{claim.job} of {claim.account.label} deletes nothing of {row.table_name}: {row.reason}"
    announce_matter(session, HELD, _matter(row, claim.account, words, f"worker changes show {row.uid}"), now)


def _end(session: Session, row: HeldChangeRow, decision: Decision, now: float) -> None:
    row.state, row.decided_at, row.decided_by = decision.state, now, storable(decision.by)
    row.applied = decision.applied
    if row.state == APPROVED and row.applied is not None:
        note_swept(session, (row.job, row.account_id, row.table_name), row.applied, now)
    done = f", {row.applied} rows deleted" if row.applied is not None and row.state == APPROVED else ""
    words = f"{row.job} of {decision.account.label}: {row.state} by {row.decided_by}{done}"
    announce_matter(session, RECOVERED, _matter(row, decision.account, words), now)


def _matter(row: HeldChangeRow, account: Account, words: str, remedy: str = "") -> Matter:
    evidence = {"job": row.job, "account": account.name, "table": row.table_name, "change": row.uid, "rows": row.gone}
    return Matter(account.integration, f"deletions {row.uid}", words, row.held_at, remedy, evidence)


def _to_change(row: HeldChangeRow, account: AccountRow) -> HeldChange:
    return HeldChange(
        id=row.uid,
        job=row.job,
        account=to_account(account),
        table=row.table_name,
        state=row.state,
        gone=row.gone,
        present=row.present,
        seen=row.seen,
        sample=tuple(row.sample),
        reason=row.reason,
        run_id=row.run_id,
        held_at=row.held_at,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        applied=row.applied,
    )
