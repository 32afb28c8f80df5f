"""Incidents: faults of an integration, told once for all its accounts. At most one open of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlmodel import col

from worker.store.catch_up import wake_integration
from worker.store.database import alone, storable
from worker.store.notifications import announce_incident
from worker.store.records import Finding, Incident
from worker.store.tables import IncidentRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.store.database import Database


class Incidents:
    """The incidents of all integrations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def report(  # noqa: PLR0913 - what an incident is
        self,
        integration: str,
        kind: str,
        finding: Finding,
        now: float,
        *,
        not_before: float,
        remedy: str = "",
        asked_at: float | None = None,
    ) -> bool:
        """Open an incident, or count one more occurrence of it; answers whether it was opened now.

        One that somebody else has counted since `asked_at` is the same occurrence: questions that were on their way
        together do not lengthen the wait.
        """
        cause = storable(finding.reason)
        with self._database.write() as session:
            alone(session, f"incident {kind} of {integration}")
            row = open_row(session, integration, kind)
            if row is not None:
                if asked_at is None or row.last_at < asked_at:
                    row.occurrences, row.not_before = row.occurrences + 1, not_before
                row.last_at, row.cause, row.evidence, row.remedy = now, cause, finding.evidence, storable(remedy)
                return False
            row = IncidentRow(
                integration=integration,
                kind=kind,
                opened_at=now,
                last_at=now,
                cause=cause,
                remedy=storable(remedy),
                evidence=finding.evidence,
                not_before=not_before,
            )
            session.add(row)
            announce_incident(session, row)
            return True

    def claim(self, integration: str, kind: str, now: float, until: float) -> bool:
        """Take the next attempt that an open incident allows; nobody else gets one before `until`.

        Answers whether it was ours to take. Without an open incident there is nothing to take.
        """
        with self._database.write() as session:
            alone(session, f"incident {kind} of {integration}")
            row = open_row(session, integration, kind)
            if row is None or (row.not_before is not None and now < row.not_before):
                return False
            row.not_before = until
            return True

    def close(self, integration: str, kind: str, now: float, *, wake: bool = False) -> Incident | None:
        """Close the open incident of this kind; answers it, or None when none was open.

        With `wake`, what was missed while it lasted becomes due, and no crash can come between the two.
        """
        if self.find_open(integration, kind) is None:
            return None
        with self._database.write() as session:
            alone(session, f"incident {kind} of {integration}")
            row = open_row(session, integration, kind)
            if row is None:
                return None
            row.closed_at = now
            announce_incident(session, row)
            if wake:
                wake_integration(session, integration, now)
            return to_incident(row)

    def release(self, integration: str, kind: str, now: float) -> bool:
        """Somebody has acted: the next attempt need not wait. Answers whether such an incident is open."""
        with self._database.write() as session:
            row = open_row(session, integration, kind)
            if row is None:
                return False
            row.not_before = now
            return True

    def find_open(self, integration: str, kind: str) -> Incident | None:
        """The open incident of this kind, or None."""
        with self._database.read() as session:
            row = open_row(session, integration, kind)
            return None if row is None else to_incident(row)

    def list(self, *, only_open: bool = True) -> Sequence[Incident]:
        """Incidents, newest first."""
        query = select(IncidentRow).order_by(col(IncidentRow.id).desc())
        if only_open:
            query = query.where(col(IncidentRow.closed_at).is_(None))
        with self._database.read() as session:
            return [to_incident(row) for row in session.scalars(query)]


def open_row(session: Session, integration: str, kind: str) -> IncidentRow | None:
    """The row of the open incident of this kind, for a transaction of a repository."""
    query = select(IncidentRow).where(
        col(IncidentRow.integration) == integration,
        col(IncidentRow.kind) == kind,
        col(IncidentRow.closed_at).is_(None),
    )
    return session.scalars(query.order_by(col(IncidentRow.id))).first()


def to_incident(row: IncidentRow) -> Incident:
    """The record of a row."""
    return Incident(
        integration=row.integration,
        kind=row.kind,
        opened_at=row.opened_at,
        last_at=row.last_at,
        closed_at=row.closed_at,
        occurrences=row.occurrences,
        cause=row.cause,
        remedy=row.remedy,
        evidence=row.evidence,
        not_before=row.not_before,
    )
