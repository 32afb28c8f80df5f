"""What people have to be told, as a transactional outbox: a notification is written in the very transaction of what it
tells of, so that no crash can come between the fact and the telling. Whoever delivers it marks that per route, after
the route took it: at least once, and each notification carries an id by which a receiver knows a repeated one.

`announce_move` and `announce_incident` are the hooks for those transactions.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, or_, select
from sqlmodel import col

from worker.states import AccountState
from worker.store.database import row_count, storable
from worker.store.outdated import outdated
from worker.store.records import OVER, consent_remedy
from worker.store.tables import AccountRow, DeliveryRow, IncidentRow, NotificationRow, ScheduleRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

    from worker.store.database import Database
    from worker.store.records import Finding

NEEDS_CONSENT, INCIDENT, FAILING, RECOVERED = "needs_consent", "incident", "failing", "recovered"
#: About a job: deletions wait for an approval, a success is overdue.
HELD, LATE = "held", "late"
#: Seconds after which a notification that a route has not taken is given up, and too old for a route that is new.
GIVEN_UP_AFTER = 86400.0
#: Seconds for which they are kept at least: reminders are counted by them, and are a month apart at most.
_KEPT = 31 * 86400.0
#: How often somebody is reminded of one account before it is left at that.
_REMINDERS = 14
#: Notifications that one look takes up.
_BATCH = 500


@dataclass(frozen=True)
class Addressee:
    """What a route takes."""

    name: str
    events: tuple[str, ...]
    #: None means all of them.
    integrations: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Notification:
    """Something that people have to be told."""

    id: int
    uid: str
    created_at: float
    event: str
    integration: str
    account: str | None
    #: `cause` (of an incident: its kind), `reason`, `remedy`, `since` (seconds since the epoch), `evidence`.
    facts: dict[str, Any] = field(default_factory=dict)
    #: Failed attempts on the route that asks.
    attempts: int = 0


class Notifications:
    """The outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self, route: Addressee, now: float) -> Sequence[Notification]:
        """What a route has to be given now, oldest first; at most 500.

        What was written while nobody delivered for days is given to a route that was served before all the same.
        """
        served = select(func.max(col(DeliveryRow.notification_id))).where(col(DeliveryRow.route) == route.name)
        recent = col(NotificationRow.created_at) > now - GIVEN_UP_AFTER
        after = col(NotificationRow.id) > served.scalar_subquery()
        untried = and_(col(DeliveryRow.route).is_(None), or_(recent, after))
        again = and_(_undone(), col(DeliveryRow.next_at) <= now)
        query = _addressed(route).where(or_(untried, again)).order_by(col(NotificationRow.id)).limit(_BATCH)
        with self._database.read() as session:
            return [_to_notification(row, delivery) for row, delivery in session.execute(query)]

    def without_outdated(
        self, items: Sequence[Notification], route: Addressee, now: float
    ) -> tuple[Sequence[Notification], Sequence[Notification]]:
        """What of this is still worth telling, and what was over before it was told; that is done with."""
        with self._database.read() as session:
            over = outdated(session, route.name, route.events, items)
        if not over:
            return items, ()
        with self._database.write() as session:
            for item in over:
                row = _delivery(session, item, route.name)
                row.given_up_at, row.next_at, row.last_error = now, None, OVER
        return [item for item in items if item not in over], over

    def next_attempt(self, route: str) -> float | None:
        """When the next one that failed is due for this route; None when none is."""
        query = select(func.min(col(DeliveryRow.next_at))).where(col(DeliveryRow.route) == route, _undone())
        with self._database.read() as session:
            return session.scalar(query)

    def delivered(self, items: Sequence[Notification], route: str, now: float) -> None:
        """A route has taken these."""
        with self._database.write() as session:
            for item in items:
                row = _delivery(session, item, route)
                row.delivered_at, row.next_at, row.last_error = now, None, ""

    def failed(
        self, items: Sequence[Notification], route: str, error: str, now: float, next_at: float
    ) -> Sequence[Notification]:
        """A route has not taken these; answers those among them that are too old for another attempt."""
        old = [item for item in items if item.created_at <= now - GIVEN_UP_AFTER]
        with self._database.write() as session:
            for item in items:
                row = _delivery(session, item, route)
                row.attempts, row.last_error, row.next_at = row.attempts + 1, storable(error), next_at
                row.given_up_at = now if item in old else None
        return old

    def remind(self, route: Addressee, interval: float, now: float) -> int:
        """Tell this route again of accounts that still need consent, if it takes that; answers how many.

        When one is due, those that were told of longer than half the interval ago come along: one message a day.
        """
        if NEEDS_CONSENT not in route.events:
            return 0
        with self._database.read() as session:
            if not session.scalar(_forgotten(route, now, interval).limit(1)):
                return 0
        with self._database.write() as session:
            rows = list(session.scalars(_forgotten(route, now, interval, at_least=0.5)))
            session.add_all(_reminder(row, now, route.name) for row in rows)
            return len(rows)

    def jobs_waiting(self, integration: str, account: str) -> int:
        """How many jobs of an account have missed a run since it needs somebody."""
        query = (
            select(func.count())
            .select_from(ScheduleRow)
            .join(AccountRow, col(AccountRow.id) == col(ScheduleRow.account_id))
            .where(col(AccountRow.integration) == integration, col(AccountRow.name) == account)
            .where(or_(col(ScheduleRow.missed_since).is_not(None), col(ScheduleRow.parked) != ""))
        )
        with self._database.read() as session:
            return session.scalar(query) or 0

    def prune(self, before: float, now: float) -> int:
        """Forget what was told before a moment, and is older than a month."""
        statement = delete(NotificationRow).where(col(NotificationRow.created_at) < min(before, now - _KEPT))
        with self._database.write() as session:
            return row_count(session.execute(statement))


def announce_move(
    session: Session, row: AccountRow, before: AccountState, previous: Finding, finding: Finding, now: float
) -> None:
    """Write what an account's move means to people, in the transaction of the move; `previous` is what held before.

    To need consent for another reason is news. To be active again is, if somebody was told of trouble before.
    """
    after = AccountState(row.state)
    if after is AccountState.NEEDS_CONSENT:
        same = before is after and (previous.cause, previous.reason) == (finding.cause, finding.reason)
        if not same:
            remedy = _consent_remedy(row, finding.cause, finding.evidence.get("missing_scopes"))
            facts = facts_of(finding.cause, finding.reason, remedy, row.state_since, finding.evidence)
            session.add(new_notification(NEEDS_CONSENT, row.integration, row.name, facts, now))
    elif after is AccountState.ACTIVE and _last_event(session, row) in {NEEDS_CONSENT, FAILING}:
        words = "somebody consented again" if finding.cause == "consented" else finding.reason or finding.cause
        announce_recovery(session, row, words, now)


def announce_loss(session: Session, integration: str, account: str, finding: Finding, now: float) -> None:
    """An account that the database does not know (any more) has to be enrolled again."""
    facts = facts_of(finding.cause, finding.reason, f"worker enroll {integration} {account}", now)
    session.add(new_notification(NEEDS_CONSENT, integration, account, facts, now))


def newest_announcement(session: Session) -> int:
    """The number of the newest one; 0 when there is none."""
    return session.scalar(select(func.max(col(NotificationRow.id)))) or 0


def forget_announcements(session: Session, newest: int, now: float) -> None:
    """Drop an older copy's outbox up to this number: what of it was told since, nobody knows, and none of it is news.

    People are reminded instead of the accounts that need consent still.
    """
    session.flush()
    session.execute(delete(NotificationRow).where(col(NotificationRow.id) <= newest))
    told = select(col(NotificationRow.id)).where(
        col(NotificationRow.integration) == col(AccountRow.integration),
        col(NotificationRow.account) == col(AccountRow.name),
    )
    query = select(AccountRow).where(col(AccountRow.state) == AccountState.NEEDS_CONSENT, ~told.exists())
    for row in list(session.scalars(query)):
        session.add(_reminder(row, now))


def announce_failing(session: Session, row: AccountRow, finding: Finding, now: float, *, since: float) -> None:
    """An account's refreshes have been failing for long; written in the transaction that notes it."""
    remedy = f"worker accounts why {row.integration}/{row.name}"
    facts = facts_of(finding.cause, finding.reason, remedy, since, finding.evidence)
    session.add(new_notification(FAILING, row.integration, row.name, facts, now))


def announce_recovery(session: Session, row: AccountRow, reason: str, now: float) -> None:
    """An account of whose trouble somebody was told is well again."""
    session.add(new_notification(RECOVERED, row.integration, row.name, facts_of("recovered", reason, "", now), now))


def announce_incident(session: Session, row: IncidentRow) -> None:
    """An incident was opened, or has been closed; written in the transaction that does it."""
    over = row.closed_at is not None
    words = f"over: {row.cause}" if over else row.cause
    facts = facts_of(row.kind, words, "" if over else row.remedy, row.opened_at, {} if over else row.evidence)
    moment = row.opened_at if row.closed_at is None else row.closed_at
    session.add(new_notification(RECOVERED if over else INCIDENT, row.integration, None, facts, moment))


def new_notification(
    event: str, integration: str, account: str | None, facts: dict[str, Any], now: float, route: str | None = None
) -> NotificationRow:
    """A row of the outbox."""
    return NotificationRow(
        uid=secrets.token_hex(12),
        created_at=now,
        event=event,
        integration=integration,
        account=account,
        route=route,
        facts=facts,
    )


def _reminder(row: AccountRow, now: float, route: str | None = None) -> NotificationRow:
    facts = facts_of(row.cause, row.reason, _consent_remedy(row, row.cause), row.state_since)
    return new_notification(NEEDS_CONSENT, row.integration, row.name, {**facts, "reminder": True}, now, route)


def facts_of(
    cause: str, reason: str, remedy: str, since: float, evidence: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What a notification tells; see `Notification.facts`."""
    return {
        "cause": storable(cause),
        "reason": storable(reason),
        "remedy": storable(remedy),
        "since": since,
        "evidence": evidence or {},
    }


def _consent_remedy(row: AccountRow, cause: str, scopes: object = None) -> str:
    named = [str(scope) for scope in scopes] if isinstance(scopes, list) else []
    return consent_remedy(row.integration, row.name, cause, named)


def _last_event(session: Session, row: AccountRow) -> str | None:
    query = (
        select(col(NotificationRow.event))
        .where(col(NotificationRow.integration) == row.integration, col(NotificationRow.account) == row.name)
        .order_by(col(NotificationRow.id).desc())
    )
    return session.scalars(query.limit(1)).first()


def _delivery(session: Session, item: Notification, route: str) -> DeliveryRow:
    row = session.get(DeliveryRow, (item.id, route))
    if row is None:
        row = DeliveryRow(notification_id=item.id, route=route)
        session.add(row)
    return row


def _undone() -> ColumnElement[bool]:
    return and_(col(DeliveryRow.delivered_at).is_(None), col(DeliveryRow.given_up_at).is_(None))


def _addressed(route: Addressee) -> Select[NotificationRow, DeliveryRow]:
    """Everything that a route takes, with what became of it there."""
    mine = and_(col(DeliveryRow.notification_id) == col(NotificationRow.id), col(DeliveryRow.route) == route.name)
    query = select(NotificationRow, DeliveryRow).outerjoin(DeliveryRow, mine)
    query = query.where(col(NotificationRow.event).in_(route.events), _for_route(route.name))
    if route.integrations is not None:
        query = query.where(col(NotificationRow.integration).in_(route.integrations))
    return query


def _for_route(name: str) -> ColumnElement[bool]:
    return or_(col(NotificationRow.route).is_(None), col(NotificationRow.route) == name)


def _forgotten(route: Addressee, now: float, interval: float, *, at_least: float = 1.0) -> Select[AccountRow]:
    """Accounts that need consent and of which this route was not told for so many intervals."""
    since = now - interval * at_least
    told = (
        select(col(NotificationRow.id))
        .where(
            col(NotificationRow.integration) == col(AccountRow.integration),
            col(NotificationRow.account) == col(AccountRow.name),
            col(NotificationRow.event) == NEEDS_CONSENT,
            col(NotificationRow.created_at) > since,
            _for_route(route.name),
        )
        .exists()
    )
    query = select(AccountRow).where(
        col(AccountRow.state) == AccountState.NEEDS_CONSENT,
        col(AccountRow.state_since) <= since,
        col(AccountRow.state_since) > now - interval * _REMINDERS,
        ~told,
    )
    return query if route.integrations is None else query.where(col(AccountRow.integration).in_(route.integrations))


def _to_notification(row: NotificationRow, delivery: DeliveryRow | None) -> Notification:
    assert row.id is not None
    attempts = 0 if delivery is None else delivery.attempts
    return Notification(row.id, row.uid, row.created_at, row.event, row.integration, row.account, row.facts, attempts)
