"""The timeline of an account: what happened, why, and with what evidence. The source of `worker accounts why`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlmodel import col

from worker.store.database import row_count, storable
from worker.store.records import Finding, TimelineEntry
from worker.store.tables import TimelineRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.states import AccountState
    from worker.store.database import Database
    from worker.store.records import Account
    from worker.store.tables import AccountRow


class Timeline:
    """Reads and prunes; entries are written by the transactions they belong to, with `note`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, account: Account, limit: int | None = None) -> Sequence[TimelineEntry]:
        """The account's entries, oldest first; with a limit, the newest ones."""
        query = (
            select(TimelineRow).where(col(TimelineRow.account_id) == account.id).order_by(col(TimelineRow.id).desc())
        )
        with self._database.read() as session:
            rows = list(session.scalars(query if limit is None else query.limit(limit)))
        return [_to_entry(row) for row in reversed(rows)]

    def add(self, account: Account, kind: str, finding: Finding, now: float, run_id: str | None = None) -> None:
        """Write one entry of its own, outside any other change."""
        with self._database.write() as session:
            session.add(_row(account.id, kind, finding, now, run_id=run_id))

    def prune(self, before: float) -> int:
        """Forget the routine (refreshes that went well) before a moment; changes of state are kept for good."""
        routine = (col(TimelineRow.kind).in_(("refreshed", "refresh_failed"))) & (col(TimelineRow.at) < before)
        with self._database.write() as session:
            return row_count(session.execute(delete(TimelineRow).where(routine)))


def note(  # noqa: PLR0913 - two optional states make seven
    session: Session,
    row: AccountRow,
    kind: str,
    finding: Finding,
    now: float,
    *,
    before: AccountState | None = None,
    after: AccountState | None = None,
    generation: int | None = None,
) -> None:
    """Write one entry in the transaction it belongs to."""
    assert row.id is not None
    entry = _row(row.id, kind, finding, now)
    entry.state_before, entry.state_after, entry.generation = before, after, generation
    session.add(entry)


def _row(account_id: int, kind: str, finding: Finding, now: float, run_id: str | None = None) -> TimelineRow:
    return TimelineRow(
        account_id=account_id,
        at=now,
        kind=kind,
        cause=storable(finding.cause),
        message=storable(finding.reason),
        evidence=finding.evidence,
        run_id=run_id,
    )


def _to_entry(row: TimelineRow) -> TimelineEntry:
    return TimelineEntry(
        at=row.at,
        kind=row.kind,
        before=row.state_before,
        after=row.state_after,
        cause=row.cause,
        message=row.message,
        evidence=row.evidence,
        generation=row.generation,
        run_id=row.run_id,
    )
