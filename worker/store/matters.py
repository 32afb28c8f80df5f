"""What people are told about a job of one account, and later of its end: deletions that wait, an overdue success.

Like an incident it is told of the integration, and is known by its cause and beginning: it neither ends nor hides what
is told about the account itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.store.notifications import facts_of, new_notification

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Matter:
    """Something about a job of one account that people are told, and later of its end."""

    integration: str
    #: Unique, with `since`.
    cause: str
    reason: str
    since: float
    remedy: str = ""
    #: `job` and `account` among it.
    evidence: dict[str, Any] = field(default_factory=dict)


def announce_matter(session: Session, event: str, matter: Matter, now: float) -> None:
    """Something about a job that begins, or (RECOVERED) is over: told as a matter of the integration.

    Its cause and beginning are what the two have in common.
    """
    facts = facts_of(matter.cause, matter.reason, matter.remedy, matter.since, matter.evidence)
    session.add(new_notification(event, matter.integration, None, facts, now))
