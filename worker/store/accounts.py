"""Accounts: their names and states. Every change of state goes through `move`, which also writes the timeline."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select
from sqlmodel import col

from worker.errors import UsageFault, WorkerError
from worker.states import ACCOUNT_MOVES, USABLE, AccountState
from worker.store.catch_up import wake_account
from worker.store.database import LOCKED, storable
from worker.store.notifications import announce_move
from worker.store.records import Account, Finding
from worker.store.tables import AccountRow, GrantRow, TimelineRow
from worker.store.timeline import note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row
    from sqlalchemy.orm import Mapped, Session

    from worker.store.database import Database
    from worker.store.witness import Witness


class Accounts:
    """The accounts of all integrations."""

    def __init__(self, database: Database, witness: Witness) -> None:
        self._database = database
        self._witness = witness

    def find(self, integration: str, name: str) -> Account | None:
        """One account, or None."""
        with self._database.read() as session:
            row = find_row(session, integration, name)
            return None if row is None else to_account(row)

    def get(self, integration: str, name: str) -> Account:
        """One account. Raises UsageFault when there is none of that name."""
        account = self.find(integration, name)
        if account is None:
            raise UsageFault(
                f"there is no account {integration}/{name}",
                hint=f"worker accounts list; to enrol it: worker enroll {integration} {name}",
            )
        return account

    def by_id(self, account_id: int) -> Account:
        """One account by its number."""
        with self._database.read() as session:
            return to_account(session.get_one(AccountRow, account_id))

    def list(self, integration: str | None = None) -> Sequence[Account]:
        """All accounts, or those of one integration, by name."""
        query = select(AccountRow).order_by(col(AccountRow.integration), col(AccountRow.name))
        if integration is not None:
            query = query.where(col(AccountRow.integration) == integration)
        with self._database.read() as session:
            return [to_account(row) for row in session.scalars(query)]

    def census(self) -> tuple[int, float]:
        """How many there are and when the newest was made: differs when accounts have come or gone."""
        query = select(func.count(), func.coalesce(func.max(col(AccountRow.created_at)), 0.0)).select_from(AccountRow)
        with self._database.read() as session:
            count, newest = session.execute(query).one()
            return int(count), float(newest)

    def pause(self, account: Account, now: float, reason: str) -> Account:
        """Set aside by the operator; nothing runs until `resume`."""
        with self._database.write() as session:
            row = session.get_one(AccountRow, account.id, with_for_update=LOCKED)
            if row.state == AccountState.PAUSED:
                return to_account(row)
            before = row.state
            move(session, row, AccountState.PAUSED, Finding("operator", reason or "paused by the operator"), now)
            row.state_before_pause = before
            return to_account(row)

    def resume(self, account: Account, now: float) -> Account:
        """Back to where it stood before the pause; what was missed meanwhile becomes due at once."""
        with self._database.write() as session:
            row = session.get_one(AccountRow, account.id, with_for_update=LOCKED)
            if row.state != AccountState.PAUSED:
                raise UsageFault(f"{account.label} is not paused; it is {row.state}")
            target = AccountState(row.state_before_pause or AccountState.ACTIVE)
            finding = Finding("resumed", "")
            if target is AccountState.NEEDS_CONSENT:
                finding = _last_cause(session, row, target) or Finding("resumed", "needed consent before it was paused")
            elif target is AccountState.IN_DOUBT:
                finding = _last_cause(session, row, target) or finding
            move(session, row, target, finding, now)
            row.state_before_pause = None
            if to_account(row).usable:
                wake_account(session, account.id, now)
            return to_account(row)

    def flag_scope(self, account: Account, finding: Finding, now: float) -> Account:
        """The grant works but lacks a scope: a human must consent to more. Other jobs of the account go on."""
        with self._database.write() as session:
            row = session.get_one(AccountRow, account.id, with_for_update=LOCKED)
            after = AccountState.NEEDS_CONSENT
            if row.state == AccountState.PAUSED and row.state_before_pause in USABLE:
                move_behind_pause(session, row, after, "flagged", finding, now)
            elif row.state in USABLE or to_account(row).usable:
                move(session, row, after, finding, now)
            return to_account(row)

    def remove(self, account: Account) -> None:
        """Delete the account, its grant, schedule and history."""
        with self._database.write() as session:
            row, grant = session.get(AccountRow, account.id), session.get(GrantRow, account.id)
            session.execute(delete(AccountRow).where(col(AccountRow.id) == account.id))
            if row is not None and grant is not None:
                self._witness.committing(session, row, grant, fate="removed")


def find_row(session: Session, integration: str, name: str, *, lock: bool = False) -> AccountRow | None:
    """The row of one account, for a repository's own transaction; locked when it is to be changed there."""
    query = select(AccountRow).where(col(AccountRow.integration) == integration, col(AccountRow.name) == name)
    if lock:
        query = query.with_for_update(key_share=True)
    return session.scalars(query).one_or_none()


def create_row(session: Session, integration: str, name: str, now: float) -> AccountRow:
    """A new account, active from its first moment: it is only ever made together with its grant."""
    row = AccountRow(
        uid=secrets.token_hex(16),
        integration=integration,
        name=name,
        state=AccountState.ACTIVE,
        state_since=now,
        created_at=now,
    )
    session.add(row)
    session.flush()
    return row


def move(session: Session, row: AccountRow, after: AccountState, finding: Finding, now: float) -> None:
    """Change an account's state along `ACCOUNT_MOVES` and write it into the timeline.

    Staying in a state with another cause is a move as well. Raises WorkerError for a move the table does not allow.
    """
    before = AccountState(row.state)
    if after is not before and after not in ACCOUNT_MOVES[before]:
        raise WorkerError(f"{row.integration}/{row.name} cannot go from {before} to {after}")
    previous = Finding(row.cause, row.reason)
    if after is not before:
        row.state_since = now
    row.state = after
    row.cause = storable(finding.cause)
    row.reason = storable(finding.reason)
    note(session, row, "state", finding, now, before=before, after=after)
    announce_move(session, row, before, previous, finding, now)


def move_behind_pause(
    session: Session, row: AccountRow, after: AccountState, kind: str, finding: Finding, now: float
) -> None:
    """Change where a paused account will stand when it is resumed; written down as the move that it will be then."""
    row.state_before_pause = after
    note(session, row, kind, finding, now, before=AccountState.PAUSED, after=after)


def _last_cause(session: Session, row: AccountRow, state: AccountState) -> Finding | None:
    """Why the account last came into a state: one that merely lacks a scope still serves the other jobs, say."""
    query = select(TimelineRow).where(col(TimelineRow.account_id) == row.id, col(TimelineRow.state_after) == state)
    entry = session.scalars(query.order_by(col(TimelineRow.id).desc()).limit(1)).first()
    return None if entry is None else Finding(entry.cause, entry.message)


#: What `to_account` needs of a row, for statements that do not ask for all of it.
ACCOUNT_COLUMNS: tuple[Mapped[Any], ...] = (
    col(AccountRow.id),
    col(AccountRow.uid),
    col(AccountRow.integration),
    col(AccountRow.name),
    col(AccountRow.state),
    col(AccountRow.cause),
    col(AccountRow.reason),
    col(AccountRow.state_since),
    col(AccountRow.created_at),
)


def to_account(row: AccountRow | Row[*tuple[Any, ...]]) -> Account:
    """The record of a row, or of one that holds the `ACCOUNT_COLUMNS`."""
    assert row.id is not None
    return Account(
        id=row.id,
        uid=row.uid,
        integration=row.integration,
        name=row.name,
        state=AccountState(row.state),
        cause=row.cause,
        reason=row.reason,
        state_since=row.state_since,
        created_at=row.created_at,
    )
