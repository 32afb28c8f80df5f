"""Grants, and the transactions of a refresh. This file is what the product exists for.

The order of things, each step durable before the next begins:

    begin_refresh      the intent: "generation 7 is being refreshed, by me, since now"
    (the POST)
    complete_refresh   new refresh token, access token, expiry, scopes, generation 8; the intent goes

A crash between the two leaves the intent. Whoever comes next finds it without its process (the account's lock is
free), knows that the refresh token may have been spent, and says so if the provider then refuses it. Every write
compares the generation first, so that a late answer never overwrites a newer grant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlmodel import col

from worker.clock import rfc3339
from worker.errors import NeedsConsent
from worker.states import AccountState
from worker.store.accounts import create_row, find_row, move, move_behind_pause, to_account
from worker.store.catch_up import wake_account
from worker.store.database import LOCKED, alone, storable
from worker.store.notifications import announce_recovery
from worker.store.records import SCOPE_MISSING, Finding
from worker.store.sealed_grants import SealedGrants
from worker.store.tables import AccountRow, GrantRow, RefreshIntentRow
from worker.store.timeline import note

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.crypto.sealing import Sealer
    from worker.redact import Secret
    from worker.store.database import Database
    from worker.store.records import Account, Consent, Grant, NewTokens
    from worker.store.witness import Witness


class GenerationMoved(Exception):
    """Somebody else changed the grant since it was read: read it again."""


class Grants:
    """The grants of all accounts."""

    def __init__(self, database: Database, sealer: Sealer, witness: Witness) -> None:
        self._database = database
        self._sealed = SealedGrants(sealer)
        self._witness = witness

    def read(self, account_id: int) -> Grant:
        """The grant as it is stored now. Raises NeedsConsent when the account has none."""
        with self._database.read() as session:
            row, account = self._rows(session, account_id)
            intent = session.get(RefreshIntentRow, account_id)
            return self._sealed.to_grant(row, account, intent)

    def look(self, account_id: int) -> Grant:
        """The grant without its tokens, for whoever only tells of it: needs no key. Raises NeedsConsent as `read`."""
        with self._database.read() as session:
            row, account = self._rows(session, account_id)
            return self._sealed.to_grant(row, account, session.get(RefreshIntentRow, account_id), with_token=False)

    def read_refresh_token(self, grant: Grant) -> Secret:
        """The refresh token of exactly this generation. Raises GenerationMoved, or NeedsConsent when there is none."""
        with self._database.read() as session:
            row, account = self._rows(session, grant.account.id)
            compare(row, grant.generation)
            if row.refresh_token_spent:
                raise NeedsConsent(
                    f"{grant.account.label}: its refresh token came back with a backup and was used since; it is never"
                    " sent again",
                    hint=f"worker enroll {account.integration} {account.name}",
                )
            if row.sealed_refresh_token is None:
                raise NeedsConsent(
                    f"{grant.account.label} has no refresh token: the provider never gave one",
                    hint="ask for offline access in its scopes, then:"
                    f" worker enroll {account.integration} {account.name}",
                )
            return self._sealed.open_refresh_token(row, account)

    def read_identity(self, account_id: int) -> dict[str, str]:
        """Who consented (`subject`, `label`, `issuer`); empty when the provider did not say."""
        with self._database.read() as session:
            row = session.get(GrantRow, account_id)
            return {} if row is None else self._sealed.open_identity(row, session.get_one(AccountRow, account_id))

    def begin_refresh(self, grant: Grant, holder: str, now: float) -> int:
        """Commit the intent to refresh this generation; answers how often it was sent before without an answer.

        This is also the proof that store and witness can be written: a refresh token is never spent on a full disk.
        """
        with self._database.write() as session:
            row, account = rows_to_write(session, grant.account.id)
            compare(row, grant.generation)
            intent = session.get(RefreshIntentRow, grant.account.id)
            if intent is None or intent.generation != grant.generation:
                if intent is not None:
                    session.delete(intent)
                    session.flush()
                intent = RefreshIntentRow(
                    account_id=grant.account.id, generation=grant.generation, started_at=now, holder=holder
                )
                session.add(intent)
            before = intent.attempts
            intent.attempts, intent.holder, intent.attempted_at = before + 1, holder, now
            self._witness.sending(account, row)
            return before

    def complete_refresh(self, grant: Grant, tokens: NewTokens, now: float) -> Grant:
        """Replace the tokens, move the generation, clear the intent: one transaction, durable when it returns."""
        with self._database.write() as session:
            row, account = rows_to_write(session, grant.account.id)
            compare(row, grant.generation)
            rotated = self._sealed.replace_tokens(row, account, tokens)
            row.refreshed_at = now
            # Also when somebody has decided about the held ones meanwhile: tokens count for more.
            held, alarmed = grant.held or row.held is not None, row.alerted_at is not None
            forget_failures(session, row)
            note(
                session,
                account,
                "refreshed",
                Finding("refreshed", "new access token", {"rotated": rotated, "expires_in": tokens.lifetime}),
                now,
                generation=row.generation,
            )
            if held or account.state == AccountState.IN_DOUBT:
                settle(session, account, Finding("settled", "the refresh token still works"), now)
                if held and to_account(account).usable:
                    wake_account(session, row.account_id, now)
            elif account.state_before_pause == AccountState.IN_DOUBT:
                account.state_before_pause = AccountState.ACTIVE
            elif alarmed:
                announce_recovery(session, account, "a refresh succeeded", now)
            self._witness.committing(session, account, row)
            return self._sealed.to_grant(row, account, None)

    def fail_refresh(self, grant: Grant, finding: Finding, now: float, *, not_before: float, doubt: str = "") -> None:
        """An answer that a pause mends: clear the intent, keep the account's state, remember when to try again.

        It says nothing about an earlier attempt that was never answered: that doubt stays.
        """
        with self._database.write() as session:
            row, account = rows_to_write(session, grant.account.id)
            compare(row, grant.generation)
            intent = session.get(RefreshIntentRow, account.id)
            if intent is not None:
                if intent.attempts > 1:
                    began = rfc3339(intent.started_at)
                    row.doubt = row.doubt or f"a refresh begun at {began} whose outcome is unknown"
                session.delete(intent)
            _count_failure(row, now, not_before)
            row.doubt = row.doubt or storable(doubt)
            note(session, account, "refresh_failed", finding, now, generation=row.generation)
            if not row.doubt:
                self._witness.answered(session, account, row)

    def leave_in_doubt(self, grant: Grant, finding: Finding, now: float, *, not_before: float) -> Account:
        """No answer came: the intent stays, the account is in doubt, the next use settles it."""
        with self._database.write() as session:
            row, account = rows_to_write(session, grant.account.id)
            compare(row, grant.generation)
            intent = session.get(RefreshIntentRow, account.id)
            if intent is not None:
                intent.attempted_at = None
            _count_failure(row, now, not_before)
            if account.state == AccountState.ACTIVE:
                move(session, account, AccountState.IN_DOUBT, finding, now)
            else:
                note(session, account, "refresh_failed", finding, now, generation=row.generation)
            return to_account(account)

    def flag(self, grant: Grant, finding: Finding, now: float) -> Account:
        """A human must consent. The tokens' ciphertexts are kept until he does."""
        with self._database.write() as session:
            row, account = rows_to_write(session, grant.account.id)
            compare(row, grant.generation)
            flag_row(session, row, account, finding, now)
            return to_account(account)

    def doubt_of(self, grant: Grant) -> str:
        """What earlier answer may have hidden a rotation of this generation; empty when none did."""
        with self._database.read() as session:
            row, _ = self._rows(session, grant.account.id)
            return row.doubt if row.generation == grant.generation else ""

    def set_refused(self, grant: Grant, *, refused: bool) -> None:
        """Remember (or forget) that the API refuses this generation's token although it is fresh."""
        with self._database.write() as session:
            row, _ = rows_to_write(session, grant.account.id)
            if row.generation == grant.generation:
                row.refused_generation = grant.generation if refused else None
                row.refused_alive = False

    def set_alive(self, grant: Grant) -> None:
        """Remember that the API took this generation's token elsewhere, after having refused it."""
        with self._database.write() as session:
            row, _ = rows_to_write(session, grant.account.id)
            if row.generation == grant.generation and row.refused_generation == grant.generation:
                row.refused_alive = True

    def store_consent(self, consent: Consent, now: float) -> Grant:
        """Store a finished enrolment: a new account, or re-consent in place; missed runs become due at once."""
        with self._database.write() as session:
            alone(session, f"account {consent.integration}/{consent.account}")
            account = find_row(session, consent.integration, consent.account, lock=True)
            created = account is None
            if account is None:
                account = create_row(session, consent.integration, consent.account, now)
            assert account.id is not None
            row = session.get(GrantRow, account.id, with_for_update=LOCKED)
            if row is None:
                row = GrantRow(
                    account_id=account.id, generation=0, consent_generation=0, issued_at=now, consented_at=now
                )
                session.add(row)
            self._sealed.replace_tokens(
                row, account, consent.tokens, keep_refresh_token=self._sealed.same_person(row, account, consent)
            )
            self._sealed.replace_consent(row, account, consent, now)
            forget_failures(session, row)
            finding = Finding("enrolled" if created else "consented", consent.how, {"scopes": list(row.scopes)})
            account.state_before_pause = None
            move(session, account, AccountState.ACTIVE, finding, now)
            account.cause = account.reason = ""
            wake_account(session, account.id, now, consented=True)
            self._witness.committing(session, account, row, consent=True)
            return self._sealed.to_grant(row, account, None)

    def erase(self, account: Account, now: float) -> None:
        """The grant was given back: forget its tokens, keep the account's history.

        The generation goes on counting, should the account be enrolled again: nobody who holds an older grant in
        memory may take a newer one for older still.
        """
        with self._database.write() as session:
            grant, row = rows_to_write(session, account.id)
            grant.generation += 1
            grant.sealed_refresh_token = grant.sealed_access_token = grant.sealed_identity = None
            grant.scopes, grant.requested_scopes, grant.lifetime, grant.refused_generation = [], [], None, None
            forget_failures(session, grant)
            row.state_before_pause = None
            move(session, row, AccountState.REVOKED, Finding("operator", "revoked by the operator"), now)
            self._witness.committing(session, row, grant, fate="revoked")

    def interrupted(self, now: float, holders_gone: frozenset[int]) -> int:
        """Mark accounts in doubt whose refresh was cut off by a crash; answers how many."""
        with self._database.write() as session:
            count = 0
            for number in sorted(holders_gone):
                account = session.get(AccountRow, number, with_for_update=LOCKED)
                intent = session.get(RefreshIntentRow, number)
                if account is not None and intent is not None and account.state == AccountState.ACTIVE:
                    evidence = {"started_at": intent.started_at, "holder": intent.holder}
                    reason = f"{intent.holder} stopped during a refresh; its outcome is unknown"
                    move(session, account, AccountState.IN_DOUBT, Finding("interrupted", reason, evidence), now)
                    count += 1
            return count

    def open_intents(self) -> list[int]:
        """The accounts with an intent that was never cleared."""
        with self._database.read() as session:
            return list(session.scalars(select(col(RefreshIntentRow.account_id))))

    def _rows(self, session: Session, account_id: int) -> tuple[GrantRow, AccountRow]:
        return _with_grant(session.get_one(AccountRow, account_id), session.get(GrantRow, account_id))


def rows_to_write(session: Session, account_id: int) -> tuple[GrantRow, AccountRow]:
    """Both rows of an account, locked, for a transaction of a repository. Raises NeedsConsent when it has no grant."""
    account = session.get_one(AccountRow, account_id, with_for_update=LOCKED)
    return _with_grant(account, session.get(GrantRow, account_id, with_for_update=LOCKED))


def _with_grant(account: AccountRow, row: GrantRow | None) -> tuple[GrantRow, AccountRow]:
    if row is None or account.state == AccountState.REVOKED:
        raise NeedsConsent(
            f"{account.integration}/{account.name} has no grant: it is {account.state}",
            hint=f"worker enroll {account.integration} {account.name}",
        )
    return row, account


def compare(row: GrantRow, generation: int) -> None:
    """Raise GenerationMoved unless the row still holds this generation."""
    if row.generation != generation:
        raise GenerationMoved


def _count_failure(row: GrantRow, now: float, not_before: float) -> None:
    row.failures += 1
    row.failing_since = row.failing_since or now
    row.not_before = not_before


def flag_row(session: Session, row: GrantRow, account: AccountRow, finding: Finding, now: float) -> None:
    """A human must consent, in the caller's transaction. That it was held before stays known."""
    held_since = row.held_since
    forget_failures(session, row)
    row.held_since = held_since
    if account.state == AccountState.PAUSED:
        move_behind_pause(session, account, AccountState.NEEDS_CONSENT, "flagged", finding, now)
    elif account.state != AccountState.REVOKED:
        move(session, account, AccountState.NEEDS_CONSENT, finding, now)


def settle(session: Session, account: AccountRow, finding: Finding, now: float) -> None:
    """The grant is good after all, in the caller's transaction. A pause goes on, and so does the lack of a scope."""
    if account.state == AccountState.PAUSED:
        move_behind_pause(session, account, AccountState.ACTIVE, "settled", finding, now)
    elif account.state != AccountState.REVOKED and account.cause != SCOPE_MISSING:
        move(session, account, AccountState.ACTIVE, finding, now)
        account.cause = account.reason = ""


def forget_failures(session: Session, row: GrantRow) -> None:
    """A clean slate, in the caller's transaction: no intent, no doubt, nothing held, nobody alarmed."""
    intent = delete(RefreshIntentRow).where(col(RefreshIntentRow.account_id) == row.account_id)
    # Not looked for among all that the session has loaded: a restore does this for every account.
    session.execute(intent, execution_options={"synchronize_session": False})
    row.failures, row.failing_since, row.not_before, row.doubt = 0, None, None, ""
    row.held, row.held_since, row.alerted_at = None, None, None
