"""What waits to be told and is over already: a route that was just added, or was down for hours, is spared it.

    needs consent, failing, an incident   over once its recovery was written, or its account works or was taken away
    recovered                             pointless on a route that was never told of the trouble itself

A route that was tried with the trouble in vain may have taken it all the same: it is told of the recovery. An account
that a restore has lost (`restored`) has no row, and is trouble nevertheless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select
from sqlmodel import col

from worker.states import AccountState
from worker.store.tables import AccountRow, DeliveryRow, NotificationRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from worker.store.notifications import Notification

_RECOVERED = "recovered"
#: The cause of what a restore has made of an account.
_RESTORED = "restored"
#: States in which an account needs nobody; it may have got there without any news.
_WELL = frozenset({AccountState.ACTIVE, AccountState.REVOKED})
#: Integration and account (None: about the integration).
_Subject = tuple[str, str | None]
#: Cause and beginning, by which an incident and its end belong together.
_Matter = tuple[object, object]


def outdated(session: Session, route: str, events: Sequence[str], items: Sequence[Notification]) -> list[Notification]:
    """Those among the items, which wait for this route, that are not worth telling any more."""
    if not items:
        return []
    recovered = _recoveries(session, min(item.id for item in items))
    states = _states(session, {item.integration for item in items if item.account is not None})
    found = []
    for item in items:
        if item.event == _RECOVERED:
            if _never_told(session, route, events, item):
                found.append(item)
        elif _is_over(item, recovered, states):
            found.append(item)
    return found


def _recoveries(session: Session, since: int) -> dict[_Subject, list[tuple[int, _Matter]]]:
    """Subject -> number and matter of each recovery after a notification."""
    query = select(NotificationRow).where(col(NotificationRow.event) == _RECOVERED, col(NotificationRow.id) > since)
    found: dict[_Subject, list[tuple[int, _Matter]]] = {}
    for row in session.scalars(query):
        found.setdefault((row.integration, row.account), []).append((row.id or 0, _matter(row.facts)))
    return found


def _states(session: Session, integrations: set[str]) -> dict[_Subject, AccountState]:
    """What each account is, or was when it was paused."""
    state = func.coalesce(col(AccountRow.state_before_pause), col(AccountRow.state))
    query = select(col(AccountRow.integration), col(AccountRow.name), state).where(
        col(AccountRow.integration).in_(integrations)
    )
    return {(integration, name): AccountState(state) for integration, name, state in session.execute(query)}


def _is_over(
    item: Notification,
    recovered: Mapping[_Subject, list[tuple[int, _Matter]]],
    states: Mapping[_Subject, AccountState],
) -> bool:
    subject = (item.integration, item.account)
    later = [matter for number, matter in recovered.get(subject, ()) if number > item.id]
    if item.account is None:
        return _matter(item.facts) in later
    if later:
        return True
    if subject not in states or states[subject] is AccountState.REVOKED:
        return item.facts.get("cause") != _RESTORED
    return item.event != "failing" and states[subject] in _WELL


def _never_told(session: Session, route: str, events: Sequence[str], item: Notification) -> bool:
    """Whether there was trouble that this route takes, and it neither took nor was tried with any of it."""
    last = select(func.max(col(NotificationRow.id))).where(
        col(NotificationRow.event) == _RECOVERED, col(NotificationRow.id) < item.id, *_about(item)
    )
    query = (
        select(NotificationRow, DeliveryRow)
        .outerjoin(
            DeliveryRow,
            and_(col(DeliveryRow.notification_id) == col(NotificationRow.id), col(DeliveryRow.route) == route),
        )
        .where(
            col(NotificationRow.event).in_([event for event in events if event != _RECOVERED]),
            col(NotificationRow.id) < item.id,
            col(NotificationRow.id) > func.coalesce(last.scalar_subquery(), 0),
            or_(col(NotificationRow.route).is_(None), col(NotificationRow.route) == route),
            *_about(item),
        )
    )
    trouble: list[DeliveryRow | None] = [
        delivery
        for row, delivery in session.execute(query)
        if item.account is not None or _matter(row.facts) == _matter(item.facts)
    ]
    return bool(trouble) and not any(one is not None and (one.delivered_at or one.attempts) for one in trouble)


def _matter(facts: Mapping[str, object]) -> _Matter:
    return facts.get("cause"), facts.get("since")


def _about(item: Notification) -> tuple[ColumnElement[bool], ...]:
    account = col(NotificationRow.account)
    same = account.is_(None) if item.account is None else account == item.account
    return col(NotificationRow.integration) == item.integration, same
