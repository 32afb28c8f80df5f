"""Waits: what others asked for is honoured whole, and a wait is a length of time, whatever is done to the clock.

The store keeps the moment at which a wait ends. When somebody sets the clock, that moment moves along: otherwise a year
set back would have an account wait for a year, and a year set ahead would end every wait at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import case, or_, select, update
from sqlmodel import col

from worker.store.database import row_count
from worker.store.tables import GrantRow, IncidentRow, RefreshIntentRow, RunRow, ScheduleRow

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from worker.store.database import Database

#: What a due time stands for when it is no firing of the schedule but the end of a wait.
_WAITING = ("interrupted", "retry")


class Waits:
    """The waits of all tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def shift(self, jump: float, now: float) -> int:
        """The clock says `now` and was set by `jump` seconds (negative: back). Answers how many moments moved along.

        What was over before the clock was set back is over. What has begun by then does not begin in the future:
        failures are told of, and held refusals decided, when they are so old and not a year later.
        """
        since = min(now, now - jump)
        retries = or_(col(ScheduleRow.attempts) > 0, col(ScheduleRow.trigger).in_(_WAITING))
        with self._database.write() as session:
            moved = 0
            for table, column, chosen in (
                (GrantRow, col(GrantRow.not_before), None),
                (GrantRow, col(GrantRow.failing_since), None),
                (GrantRow, col(GrantRow.alerted_at), None),
                (RefreshIntentRow, col(RefreshIntentRow.attempted_at), None),
                (IncidentRow, col(IncidentRow.not_before), col(IncidentRow.closed_at).is_(None)),
                (IncidentRow, col(IncidentRow.opened_at), col(IncidentRow.closed_at).is_(None)),
                (ScheduleRow, col(ScheduleRow.not_before), None),
                (ScheduleRow, col(ScheduleRow.next_due), retries),
            ):
                statement = update(table).where(column > since)
                statement = statement if chosen is None else statement.where(chosen)
                moved += row_count(session.execute(statement.values({column: column + jump})))
            early = update(ScheduleRow).where(col(ScheduleRow.next_due) < col(ScheduleRow.not_before))
            session.execute(early.values(next_due=col(ScheduleRow.not_before)))
            return moved

    def last_written(self) -> float | None:
        """When the newest run was recorded, by the clock of that moment; None when there is no run."""
        # By id, which counts on when the clock was set back, and not by time.
        query = select(col(RunRow.created_at)).order_by(col(RunRow.id).desc()).limit(1)
        with self._database.read() as session:
            return session.scalar(query)


def honoured(row: ScheduleRow, moment: float) -> float:
    """A due time that does not lie before the end of the row's wait."""
    return max(moment, row.not_before or moment)


def honoured_sql(moment: float) -> ColumnElement[Any]:
    """The same for an UPDATE of many rows."""
    return case((col(ScheduleRow.not_before) > moment, col(ScheduleRow.not_before)), else_=moment)
