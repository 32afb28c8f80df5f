"""Held refusals: the transactions of the fleet breaker. What it is for stands in `worker.accounts.fleet`.

Who was refused lately is read from the accounts themselves, so several processes and machines count together; and the
refusal that is counted is written in the same transaction, so that a burst of them cannot slip through between counting
and writing. Transactions about several accounts of an integration take turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import func, or_, select
from sqlmodel import col

from worker.clock import rfc3339, span
from worker.states import USABLE, AccountState
from worker.store.accounts import move, to_account
from worker.store.catch_up import wake_account
from worker.store.database import LOCKED, alone, storable
from worker.store.grants import compare, flag_row, forget_failures, rows_to_write, settle
from worker.store.incidents import open_row, to_incident
from worker.store.notifications import announce_incident
from worker.store.records import HELD, REVOKED, SCOPE_MISSING, Account, Finding
from worker.store.tables import AccountRow, GrantRow, IncidentRow, RefreshIntentRow
from worker.store.timeline import note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from worker.store.database import Database
    from worker.store.records import Grant, Incident
    from worker.store.witness import Witness

#: The incident's kind.
GRANTS_REFUSED = "grants_refused"


class Rule(Protocol):
    """When refusals are too many to be taken one by one."""

    @property
    def within(self) -> float:
        """Seconds in which they have to come."""

    def reached(self, refused: int, alive: int) -> bool:
        """Whether so many of so many accounts are too many."""

    def next_probe(self, opened: float, now: float) -> float | None:
        """When the canary is probed next; None when the last probe is over."""


@dataclass(frozen=True)
class Refused:
    """What became of a refusal."""

    account: Account
    held: bool
    #: The incident that holds it.
    incident: Incident | None = None
    #: Whether this refusal opened it.
    opened: bool = False


@dataclass(frozen=True)
class Moved:
    """An account that a decision has moved, and from where."""

    before: AccountState
    account: Account
    finding: Finding


class Holds:
    """The held refusals of all integrations."""

    def __init__(self, database: Database, witness: Witness) -> None:
        self._database = database
        self._witness = witness

    def refuse(self, grant: Grant, finding: Finding, now: float, rule: Rule) -> Refused:
        """Flag the account, or hold the refusal when it is one of many. Raises GenerationMoved, NeedsConsent."""
        with self._database.write() as session:
            alone(session, f"holds of {grant.account.integration}")
            row, account = rows_to_write(session, grant.account.id)
            compare(row, grant.generation)
            if finding.cause == REVOKED:  # and not lost in rotation: then an earlier attempt is as doubtful as before
                self._witness.answered(session, account, row)
            incident = open_row(session, account.integration, GRANTS_REFUSED)
            told = [] if incident else _told_lately(session, account.integration, now, rule.within)
            if not _may_hold(row, account, finding) or not (incident or _too_many(session, account, told, rule)):
                flag_row(session, row, account, finding, now)
                return Refused(to_account(account), held=False)
            opened = incident is None
            if incident is None:
                for earlier in told:
                    _pull_in(session, earlier, now)
                incident = _open_incident(session, account, told, now, rule)
            else:
                incident.occurrences, incident.last_at = incident.occurrences + 1, now
            _hold(session, row, account, finding, now)
            _describe(session, incident)
            if opened:
                announce_incident(session, incident)
            return Refused(to_account(account), held=True, incident=to_incident(incident), opened=opened)

    def put_off(self, integration: str, until: float) -> None:
        """The canary is probed at that moment."""
        with self._database.write() as session:
            alone(session, f"holds of {integration}")
            incident = open_row(session, integration, GRANTS_REFUSED)
            if incident is not None:
                incident.not_before = until
                _describe(session, incident)

    def canaries(self, integration: str) -> Sequence[int]:
        """Held accounts that may be probed, by number; those first that were probed least.

        Last come those whose own refresh may have been lost meanwhile: their refusal says nothing about the others.
        """
        with self._database.read() as session:
            return [row.account_id for row, _ in session.execute(_canaries_of(integration))]

    def held(self, integration: str) -> int:
        """How many accounts of an integration are held."""
        with self._database.read() as session:
            return _count_held(session, integration)

    def release(self, integration: str, now: float, reason: str) -> Sequence[Moved]:
        """The grants are good after all: the accounts go on, and what they missed becomes due. Closes the incident."""

        def decide(session: Session, row: GrantRow, account: AccountRow) -> Finding:
            finding, held_since = Finding("released", reason), row.held_since
            unanswered = _unanswered(session, row)
            if not (unanswered or row.doubt):
                forget_failures(session, row)
            row.held, row.held_since, row.not_before = None, held_since, None
            if unanswered and account.state == AccountState.IN_DOUBT:
                finding = Finding("no answer", unanswered)
                move(session, account, AccountState.IN_DOUBT, finding, now)
            else:
                settle(session, account, finding, now)
            if to_account(account).usable:
                wake_account(session, row.account_id, now)
            return finding

        return self._decide(integration, now, decide, good=reason)

    def confirm(self, integration: str, now: float) -> Sequence[Moved]:
        """The grants are dead: each account is flagged with what was found about itself. Closes the incident."""

        def decide(session: Session, row: GrantRow, account: AccountRow) -> Finding:
            facts = row.held or {}
            finding = Finding(facts.get("cause", REVOKED), facts.get("reason", ""), facts.get("evidence", {}))
            lost = _unanswered(session, row) or row.doubt
            if lost:
                # A probe that was never answered may have spent this one's refresh token.
                reason = f"lost in rotation: {finding.reason}; then {lost}"
                finding = Finding("lost in rotation", reason, {**finding.evidence, "after": lost})
            told = account.state == AccountState.NEEDS_CONSENT and account.cause != SCOPE_MISSING
            if lost or not told:
                flag_row(session, row, account, finding, now)
            row.held = None
            return finding

        return self._decide(integration, now, decide)

    def _decide(
        self,
        integration: str,
        now: float,
        decide: Callable[[Session, GrantRow, AccountRow], Finding],
        good: str = "",
    ) -> Sequence[Moved]:
        """Settle every held account and close the incident; `good` is the news that people are told of."""
        moved = []
        with self._database.write() as session:
            alone(session, f"holds of {integration}")
            held = _held_of(integration).with_only_columns(col(GrantRow.account_id), maintain_column_froms=True)
            for number in session.scalars(held.order_by(col(AccountRow.id))).all():
                row, account = rows_to_write(session, number)
                if row.held is None:
                    continue
                before = AccountState(account.state)
                finding = decide(session, row, account)
                moved.append(Moved(before, to_account(account), finding))
            incident = open_row(session, integration, GRANTS_REFUSED)
            if incident is not None:
                incident.closed_at = now
                if good:  # else the accounts are told of, each by itself
                    incident.cause = storable(f"{good}; {len(moved)} accounts go on")
                    announce_incident(session, incident)
        return moved


def _may_hold(row: GrantRow, account: AccountRow, finding: Finding) -> bool:
    """Whether this refusal can be the provider's fault: nothing of ours explains it, and it was not held before."""
    return finding.cause == REVOKED and row.held_since is None and account.state in USABLE


def _told_lately(session: Session, integration: str, now: float, within: float) -> list[AccountRow]:
    """The accounts that were flagged one by one just now; one that lies in the future was not, the clock was set."""
    query = (
        select(AccountRow)
        .join(GrantRow, col(GrantRow.account_id) == col(AccountRow.id))
        .where(
            col(AccountRow.integration) == integration,
            col(AccountRow.state) == AccountState.NEEDS_CONSENT,
            col(AccountRow.cause) == REVOKED,
            col(AccountRow.state_since).between(now - within, now + within),
            col(GrantRow.held_since).is_(None),
        )
    )
    return list(session.scalars(query.order_by(col(AccountRow.id))))


def _too_many(session: Session, account: AccountRow, told: list[AccountRow], rule: Rule) -> bool:
    return rule.reached(len(told) + 1, _alive(session, account.integration) + len(told))


def _alive(session: Session, integration: str) -> int:
    """How many accounts have a grant that works, as far as is known."""
    query = select(func.count()).where(
        col(AccountRow.integration) == integration,
        or_(col(AccountRow.state).in_(list(USABLE)), col(AccountRow.cause) == SCOPE_MISSING),
    )
    return int(session.execute(query).scalar_one())


def _pull_in(session: Session, told: AccountRow, now: float) -> None:
    """One that was flagged just before the others: it stays flagged, and comes back with them."""
    assert told.id is not None
    row, account = rows_to_write(session, told.id)
    session.refresh(account)
    if account.state != AccountState.NEEDS_CONSENT or account.cause != REVOKED:
        return
    row.held, row.held_since = {"cause": account.cause, "reason": account.reason}, now
    note(session, account, "held", Finding(HELD, "others were refused as well; a canary decides"), now)


def _hold(session: Session, row: GrantRow, account: AccountRow, finding: Finding, now: float) -> None:
    forget_failures(session, row)
    row.held = {"cause": finding.cause, "reason": storable(finding.reason), "evidence": finding.evidence}
    row.held_since = now
    reason = f"{finding.reason}, as many accounts at the same time; a canary decides"
    move(session, account, AccountState.IN_DOUBT, Finding(HELD, reason, finding.evidence), now)


def _open_incident(
    session: Session, account: AccountRow, told: list[AccountRow], now: float, rule: Rule
) -> IncidentRow:
    name = account.integration
    first = min((one.state_since for one in told), default=now)
    alive = _alive(session, name) + len(told)
    row = IncidentRow(
        integration=name,
        kind=GRANTS_REFUSED,
        opened_at=now,
        last_at=now,
        cause="",
        remedy=f"nothing yet: the canary decides; or you do: worker accounts release {name}, or worker accounts confirm"
        f" {name}",
        evidence={"accounts": alive, "first": first, "told_before": [one.name for one in told][:20]},
        not_before=rule.next_probe(now, now),
    )
    session.add(row)
    return row


def _describe(session: Session, incident: IncidentRow) -> None:
    """Bring the incident's words up to date: how many are held by now, and who is probed when."""
    session.flush()
    name, facts = incident.integration, incident.evidence
    held = _count_held(session, name)
    canary = session.scalar(_canaries_of(name).with_only_columns(col(AccountRow.name)).limit(1))
    probed = "" if canary is None else f", canary {name}/{canary} is probed at {rfc3339(incident.not_before)}"
    incident.cause = storable(
        f"{held} of {facts['accounts']} accounts of {name} lost their grant within"
        f" {span(incident.last_at - facts['first'])}; flags are held{probed}"
    )


def _count_held(session: Session, integration: str) -> int:
    # Once for each refusal, of which there may be thousands.
    count = _held_of(integration).with_only_columns(func.count(), maintain_column_froms=True)
    return int(session.execute(count).scalar_one())


def _held_of(integration: str) -> Select[GrantRow, AccountRow]:
    return (
        select(GrantRow, AccountRow)
        .join(AccountRow, col(AccountRow.id) == col(GrantRow.account_id))
        .where(
            col(AccountRow.integration) == integration,
            col(GrantRow.held_since).is_not(None),
            col(GrantRow.held).is_not(None),
            col(AccountRow.state) != AccountState.REVOKED,
        )
    )


def _canaries_of(integration: str) -> Select[GrantRow, AccountRow]:
    doubtful = or_(col(RefreshIntentRow.account_id).is_not(None), col(GrantRow.doubt) != "")
    return (
        _held_of(integration)
        .outerjoin(RefreshIntentRow, col(RefreshIntentRow.account_id) == col(AccountRow.id))
        .where(
            col(AccountRow.state).in_([AccountState.IN_DOUBT, AccountState.NEEDS_CONSENT]),
            col(GrantRow.sealed_refresh_token).is_not(None),
        )
        .order_by(doubtful, col(GrantRow.failures), col(AccountRow.id))
    )


def _unanswered(session: Session, row: GrantRow) -> str:
    """The probe of this account that was never answered; empty when there is none."""
    intent = session.get(RefreshIntentRow, row.account_id, with_for_update=LOCKED)
    if intent is None or intent.generation != row.generation:
        return ""
    return f"a probe begun at {rfc3339(intent.started_at)} whose outcome is unknown"
