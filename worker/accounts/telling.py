"""What is said about an account, wherever it is said: the move, the remedy, the few words of evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.events import AccountMoved
from worker.states import AccountState
from worker.store.records import consent_remedy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.events import Events
    from worker.store.records import Account, Finding


def tell_move(events: Events, before: AccountState, account: Account, finding: Finding) -> None:
    """Tell that an account has moved to the state in which it is now."""
    remedy = remedy_for(account) if account.state is AccountState.NEEDS_CONSENT else ""
    events.publish(
        AccountMoved(account.integration, account.name, before, account.state, finding.reason, remedy, finding.evidence)
    )


def remedy_for(account: Account) -> str:
    """The command that mends a grant; where it lacks a scope, what has to be changed before."""
    return consent_remedy(account.integration, account.name, account.cause)


def words_of(evidence: Mapping[str, object]) -> str:
    """The few words of evidence that belong into a sentence; where no answer could be read, the sentence itself."""
    if evidence.get("summary"):
        return str(evidence["summary"])
    parts = (evidence.get(name) for name in ("status", "error", "error_description", "fault", "detail"))
    return ", ".join(str(part) for part in parts if part) or "no details"


def code_of(evidence: Mapping[str, object]) -> str:
    """The one word of a refusal: the provider's code, else the status."""
    return str(evidence.get("error") or evidence.get("status"))
