"""What is usual for each table of a job and account: the columns of its rows, how many of them listings take away."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlmodel import col

from worker.jobs.norms import remembered
from worker.store.database import storable
from worker.store.tables import TableProfileRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from worker.store.database import Database

    #: Job, account id, table.
    Place = tuple[str, int, str]


@dataclass(frozen=True)
class Profile:
    """What is known of a job's rows for one table of one account."""

    #: Name -> facts; see `TableProfileRow`.
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: How many rows each of the last listings took away, the newest last.
    swept: tuple[int, ...] = ()


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


def note_swept(session: Session, place: Place, rows: int, now: float) -> None:
    """A listing has taken so many rows away: that makes the norm."""
    row = profile_row(session, place, now)
    row.swept = remembered(row.swept, rows)


def profile_row(session: Session, place: Place, now: float) -> TableProfileRow:
    """The row to write to, in the transaction at hand."""
    job, account_id, table = place
    table = storable(table)
    row = session.get(TableProfileRow, (job, account_id, table))
    if row is None:
        row = TableProfileRow(job=job, account_id=account_id, table_name=table, updated_at=now)
        session.add(row)
    row.updated_at = now
    return row
