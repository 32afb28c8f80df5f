"""Catching up: once a human has acted, what an account missed becomes due at once, without anybody asking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update
from sqlmodel import col

from worker.store.database import row_count
from worker.store.tables import AccountRow, ScheduleRow
from worker.store.waits import honoured, honoured_sql

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def wake_account(session: Session, account_id: int, now: float, *, consented: bool = False) -> None:
    """Make the account's missed runs due now, in the transaction of whatever ended its plight.

    After a new consent, jobs that were parked for lack of a scope are tried again as well.
    """
    query = select(ScheduleRow).where(col(ScheduleRow.account_id) == account_id).order_by(col(ScheduleRow.job))
    for row in session.scalars(query.with_for_update(key_share=True)):
        # Whether the consent brings what was missing, the next run finds out: providers spell scopes in several ways.
        unparked = bool(row.parked) and consented
        if unparked:
            row.parked, row.parked_scopes = "", []
        if row.next_due is not None and not row.parked and (row.missed_since is not None or unparked or row.attempts):
            row.next_due, row.trigger = honoured(row, now), "catch_up"


def wake_integration(session: Session, integration: str, now: float) -> int:
    """Make all missed runs of an integration due now, in the transaction of whatever ended its plight; how many."""
    accounts = select(col(AccountRow.id)).where(col(AccountRow.integration) == integration)
    statement = update(ScheduleRow).where(
        col(ScheduleRow.account_id).in_(accounts),
        col(ScheduleRow.missed_since).is_not(None),
        col(ScheduleRow.next_due) > now,
        col(ScheduleRow.parked) == "",
    )
    return row_count(session.execute(statement.values(next_due=honoured_sql(now), trigger="catch_up")))
