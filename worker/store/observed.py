"""What a run has shown of its tables, written down with its end: deletions that are held, how the rows' shape differs
from before, how many rows its listings took away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlmodel import col

from worker.jobs.norms import remembered
from worker.store.changes import Decision, hold, supersede
from worker.store.database import storable
from worker.store.tables import TableProfileRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from worker.jobs.listing import Swept
    from worker.store.database import Database
    from worker.store.records import Claim


@dataclass(frozen=True)
class Profile:
    """What is known of a job's rows for one table of one account."""

    #: Name -> facts; see `TableProfileRow`.
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: How many rows each of the last listings took away, the newest last.
    swept: tuple[int, ...] = ()


@dataclass(frozen=True)
class Observed:
    """What one attempt has shown."""

    #: What became of its complete listings.
    swept: tuple[Swept, ...] = ()
    #: Table -> its columns, for tables whose columns are known otherwise so far.
    columns: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    #: How the rows' shape differs from before, one sentence each; and those among them that tell of another kind.
    drift: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


NOTHING = Observed()


class Profiles:
    """What is known of the rows of all jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, job: str, account_id: int) -> Mapping[str, Profile]:
        """By table."""
        query = select(TableProfileRow).where(
            col(TableProfileRow.job) == job, col(TableProfileRow.account_id) == account_id
        )
        with self._database.read() as session:
            return {row.table_name: Profile(row.columns, tuple(row.swept)) for row in session.scalars(query)}


def write_down(session: Session, claim: Claim, observed: Observed, now: float) -> None:
    """Write it in the transaction of the attempt's end."""
    for table, columns in observed.columns.items():
        _profile(session, claim, table, now).columns = columns
    for swept in observed.swept:
        if swept.unusable:
            continue
        supersede(session, claim, swept.table, now)
        if swept.change:
            hold(session, claim, swept, now)
        else:
            taken_away(session, claim, swept.table, swept.gone.rows, now)


def taken_away(session: Session, claim: Claim | Decision, table: str, rows: int, now: float) -> None:
    """A listing has taken so many rows away: that makes the norm."""
    row = _profile(session, claim, table, now)
    row.swept = remembered(row.swept, rows)


def _profile(session: Session, claim: Claim | Decision, table: str, now: float) -> TableProfileRow:
    table = storable(table)
    row = session.get(TableProfileRow, (claim.job, claim.account.id, table))
    if row is None:
        row = TableProfileRow(job=claim.job, account_id=claim.account.id, table_name=table, updated_at=now)
        session.add(row)
    row.updated_at = now
    return row
