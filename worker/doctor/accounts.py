"""The accounts: who needs a human, what is failing, what is in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.clock import span
from worker.doctor import storage
from worker.doctor.diagnosis import Diagnosis, Level
from worker.states import AccountState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.doctor.examination import Parts
    from worker.store.records import Account


def examine(parts: Parts) -> Iterator[Diagnosis]:
    """Accounts in trouble, open incidents, accounts of integrations that are gone from the config."""
    if not storage.exists(parts):
        return
    now = parts.clock.now()
    accounts = parts.store.accounts.list()
    for account in accounts:
        if account.integration not in parts.config.integrations:
            yield Diagnosis(
                account.label,
                Level.FAULT,
                f"its integration {account.integration} is not in the configuration",
                f"add [integrations.{account.integration}], or worker accounts remove {_words(account)}",
            )
        yield from _of_state(account, now)
    for incident in parts.store.incidents.list():
        yield Diagnosis(
            f"integrations.{incident.integration}",
            Level.FAULT,
            f"incident {incident.kind} for {span(now - incident.opened_at)}: {incident.cause}",
            incident.remedy,
        )
    active = sum(account.state is AccountState.ACTIVE for account in accounts)
    yield Diagnosis("accounts", Level.OK, f"{active} of {len(accounts)} active")


def _of_state(account: Account, now: float) -> Iterator[Diagnosis]:
    since = span(now - account.state_since)
    if account.state is AccountState.NEEDS_CONSENT:
        hint = f"worker enroll {_words(account)}"
        yield Diagnosis(account.label, Level.CONSENT, f"needs consent for {since}: {account.reason}", hint)
    elif account.state is AccountState.IN_DOUBT:
        hint = f"worker accounts why {_words(account)}"
        yield Diagnosis(account.label, Level.NOTE, f"in doubt for {since}: {account.reason}", hint)
    elif account.state is AccountState.PAUSED:
        yield Diagnosis(account.label, Level.NOTE, f"paused for {since}", f"worker accounts resume {_words(account)}")


def _words(account: Account) -> str:
    return f"{account.integration} {account.name}"
