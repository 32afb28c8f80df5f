"""Refreshes that have been failing for long, and who has been told. Read from the store, so that each is told once,
however many processes look, and also when no job happens to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import or_, select
from sqlmodel import col

from worker.clock import rfc3339, span
from worker.states import USABLE
from worker.store.accounts import to_account
from worker.store.database import LOCKED
from worker.store.notifications import announce_failing
from worker.store.records import SCOPE_MISSING, Failing, Finding
from worker.store.tables import AccountRow, GrantRow, TimelineRow
from worker.store.timeline import note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from worker.store.database import Database

#: Seconds after which somebody is told again.
AGAIN = 86400.0


class FailingRefreshes:
    """The accounts whose refreshes go wrong without any verdict."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tell(self, integration: str, after: float, now: float) -> Sequence[Failing]:
        """The accounts that are to be told of now; each is handed out once in `AGAIN` seconds.

        Those are to be told of whose refreshes have failed for `after` seconds, or will have when the next attempt is
        allowed (a `Retry-After` of hours).
        """
        with self._database.read() as session:
            numbers = list(session.scalars(_overdue(integration, after, now)))
        return [found for number in numbers if (found := self._tell_one(number, now)) is not None]

    def _tell_one(self, number: int, now: float) -> Failing | None:
        with self._database.write() as session:
            row = session.get(GrantRow, number, with_for_update=LOCKED)
            if row is None or row.failing_since is None or not _untold(row, now):
                return None
            account = session.get_one(AccountRow, number)
            row.alerted_at = now
            answer = _last_answer(session, number)
            words = f"failing for {span(now - row.failing_since)}, {_attempts(row)}, last answer: {answer}"
            if row.not_before is not None and row.not_before > now:
                words += f"; the next attempt at {rfc3339(row.not_before)}"
            note(session, account, "alerted", Finding("failing", words), now, generation=row.generation)
            announce_failing(session, account, Finding("failing", words), now, since=row.failing_since)
            return Failing(to_account(account), row.failing_since, row.failures, answer, words)


def _overdue(integration: str, after: float, now: float) -> Select[int]:
    failing = col(GrantRow.failing_since)
    return (
        select(col(GrantRow.account_id))
        .join(AccountRow, col(AccountRow.id) == col(GrantRow.account_id))
        .where(
            col(AccountRow.integration) == integration,
            or_(col(AccountRow.state).in_(list(USABLE)), col(AccountRow.cause) == SCOPE_MISSING),
            or_(failing <= now - after, col(GrantRow.not_before) - failing >= after),
            or_(col(GrantRow.alerted_at).is_(None), col(GrantRow.alerted_at) <= now - AGAIN),
        )
        .order_by(col(GrantRow.account_id))
    )


def _untold(row: GrantRow, now: float) -> bool:
    return row.alerted_at is None or row.alerted_at <= now - AGAIN


def _last_answer(session: Session, number: int) -> str:
    query = select(TimelineRow).where(
        col(TimelineRow.account_id) == number, col(TimelineRow.kind).in_(("refresh_failed", "state"))
    )
    entry = session.scalars(query.order_by(col(TimelineRow.id).desc()).limit(1)).first()
    return "" if entry is None else entry.message


def _attempts(row: GrantRow) -> str:
    return "1 attempt" if row.failures == 1 else f"{row.failures} attempts"
