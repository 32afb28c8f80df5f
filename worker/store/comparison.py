"""One comparison of the database with the witness, and what it makes of each account. See `reconciliation.py`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlmodel import col

from worker.clock import rfc3339
from worker.states import AccountState
from worker.store.accounts import move
from worker.store.grants import flag_row, forget_failures, settle
from worker.store.notifications import announce_loss, forget_announcements, newest_announcement
from worker.store.records import Finding
from worker.store.sealed_grants import SealedGrants
from worker.store.tables import AccountRow, GrantRow, RefreshIntentRow
from worker.store.timeline import note
from worker.store.witness_file import Witnessed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.crypto.sealing import Sealer
    from worker.store.witness_file import Fate, Testimony

#: The cause of every mark that is made here.
RESTORED = "restored"
#: Accounts that are judged at a time.
_PAGE = 500


@dataclass(frozen=True)
class Marked:
    """An account that was moved, and from where."""

    integration: str
    account: str
    before: AccountState
    after: AccountState
    reason: str


@dataclass
class Reconciled:
    """What became of an older copy's accounts."""

    #: When the copy was made; None: it was not made by `worker store backup`.
    backed_up_at: float | None
    marked: list[Marked] = field(default_factory=list)
    #: Accounts that were enrolled after the copy was made, as `integration/account`.
    lost: list[str] = field(default_factory=list)
    #: Accounts whose refresh token is still the newest: they go on.
    kept: int = 0
    #: There was no witness: what of this copy was used since, nobody can tell.
    unwitnessed: bool = False

    @property
    def needing(self) -> list[Marked]:
        """Those that a human must consent to again; a pause or not."""
        return [mark for mark in self.marked if mark.after is AccountState.NEEDS_CONSENT]

    @property
    def older(self) -> bool:
        """Whether the database is known to be an older copy."""
        return bool(self.marked or self.lost or self.backed_up_at)

    @property
    def told(self) -> bool:
        """Whether there is anything to be told."""
        return self.older or self.unwitnessed


@dataclass(frozen=True)
class _Row:
    """What the comparison needs to know of an account's rows."""

    id: int
    uid: str
    label: str
    generation: int
    #: The generation with which the refresh token was last replaced.
    replaced: int
    state: str
    #: There is an intent, or a doubt that one has left behind.
    open: bool


class Comparison:
    """One comparison, within the transaction that acts on it."""

    def __init__(
        self, session: Session, known: Testimony, sealer: Sealer, backed_up_at: float | None, now: float
    ) -> None:
        self._session = session
        self._known = known
        self._sealed = SealedGrants(sealer)
        self._now = now
        self._copy = (
            "the copy of the database that was put in its place"
            if backed_up_at is None
            else f"the backup of {rfc3339(backed_up_at)}"
        )
        self.told = Reconciled(backed_up_at)
        #: The rows that are being judged, by account.
        self._accounts: dict[int, AccountRow] = {}
        self._grants: dict[int, GrantRow] = {}
        #: What the witness does not know yet.
        self.news: list[Witnessed] = []

    def compare(self, *, missed: bool) -> Reconciled:
        """Go through all accounts. `missed`: there should have been a witness."""
        rows = self._rows()
        self.told.unwitnessed = missed and self._known.mark is None and bool(rows)
        news_before = newest_announcement(self._session)
        amiss = []
        for row in rows:
            said = self._known.accounts.get(row.uid)
            if said is None or row.generation > said.generation or said.fate == "lost":
                self._learn(row)
            if self._is_amiss(row, said):
                amiss.append((row, said))
        for start in range(0, len(amiss), _PAGE):
            self._judge_page(amiss[start : start + _PAGE])
        self._tell_lost({row.uid for row in rows})
        if self.told.older:
            forget_announcements(self._session, news_before, self._now)
        return self.told

    def _rows(self) -> list[_Row]:
        query = (
            select(
                col(AccountRow.id),
                col(AccountRow.uid),
                col(AccountRow.integration) + "/" + col(AccountRow.name),
                col(GrantRow.generation),
                func.coalesce(col(GrantRow.refresh_token_generation), col(GrantRow.generation)),
                col(AccountRow.state),
                col(RefreshIntentRow.account_id).is_not(None) | (col(GrantRow.doubt) != ""),
            )
            .join(GrantRow, col(GrantRow.account_id) == col(AccountRow.id))
            .outerjoin(RefreshIntentRow, col(RefreshIntentRow.account_id) == col(AccountRow.id))
        )
        return [
            _Row(int(number or 0), uid, label, generation, replaced, state, is_open)
            for number, uid, label, generation, replaced, state, is_open in self._session.execute(query)
        ]

    def _is_amiss(self, row: _Row, said: Witnessed | None) -> bool:
        if said is None:
            return self.told.backed_up_at is not None
        return row.generation < said.generation or bool(said.fate) or (said.phase == "sent" and not row.open)

    def _judge_page(self, page: Sequence[tuple[_Row, Witnessed | None]]) -> None:
        ids = [row.id for row, _ in page]
        accounts = select(AccountRow).where(col(AccountRow.id).in_(ids)).with_for_update(key_share=True)
        grants = select(GrantRow).where(col(GrantRow.account_id).in_(ids)).with_for_update(key_share=True)
        self._accounts = {row.id or 0: row for row in self._session.scalars(accounts)}
        self._grants = {row.account_id: row for row in self._session.scalars(grants)}
        with self._session.no_autoflush:
            for row, said in page:
                if said is None:
                    self._doubt(row)
                else:
                    self._judge(row, said)
        self._session.flush()

    def _judge(self, row: _Row, said: Witnessed) -> None:
        behind = row.generation < said.generation
        if said.fate in {"revoked", "removed"} and said.certain and row.generation <= said.generation:
            if row.state != AccountState.REVOKED:
                self._revoke(row, said)
        elif behind and not _cut_off(row, said):
            self._overtake(row, said)
        elif not behind and said.phase == "sent" and row.generation == said.generation and not row.open:
            self._doubt(row)

    def _overtake(self, row: _Row, said: Witnessed) -> None:
        """The witness has seen a later generation: spent or not, the next one is above it."""
        grant, account = self._load(row)
        if grant.generation != row.generation:
            return  # refreshed meanwhile, by another machine: so it is not that old
        held, spent = grant.generation, said.refresh_token_generation > row.generation
        if grant.refresh_token_generation is None and not spent:
            grant.refresh_token_generation = said.refresh_token_generation
        self._sealed.raise_generation(grant, account, said.generation + 1)
        if account.state == AccountState.REVOKED:
            if not said.fate:
                self._lose(said)
        elif spent and grant.sealed_refresh_token is not None:
            grant.refresh_token_spent = True
            reason = (
                f"{self._copy} holds refresh token generation {held}; generation"
                f" {said.refresh_token_generation} was in use since: the old one is spent and is never sent"
            )
            self._mark(grant, account, AccountState.NEEDS_CONSENT, reason, {"held": held, "seen": said.generation})
        else:
            self._go_on(grant, account)
        self.news.append(replace(said, generation=grant.generation, phase="writing", fate=""))

    def _go_on(self, grant: GrantRow, account: AccountRow) -> None:
        """The refresh token is still the newest. What it was in the middle of then has ended since."""
        self.told.kept += 1
        forget_failures(self._session, grant)
        finding = Finding(RESTORED, f"{self._copy} holds the newest refresh token; it goes on")
        note(self._session, account, RESTORED, finding, self._now, generation=grant.generation)
        if AccountState.IN_DOUBT in (account.state, account.state_before_pause):
            settle(self._session, account, Finding(RESTORED, "it was refreshed after this copy was made"), self._now)

    def _revoke(self, row: _Row, said: Witnessed) -> None:
        grant, account = self._load(row)
        grant.generation = said.generation + 1
        grant.sealed_refresh_token = grant.sealed_access_token = grant.sealed_identity = None
        grant.lifetime = None
        forget_failures(self._session, grant)
        account.state_before_pause = None
        reason = f"{self._copy} has brought it back; it was {said.fate} since"
        self._mark(grant, account, AccountState.REVOKED, reason, {"seen": said.generation})
        self.news.append(replace(said, generation=grant.generation, phase="writing", fate="revoked"))

    def _doubt(self, row: _Row) -> None:
        """Its refresh token was sent after the copy was made, or may have been: it may have been replaced."""
        grant, account = self._load(row)
        if account.state == AccountState.REVOKED or grant.sealed_refresh_token is None or grant.doubt:
            return
        grant.doubt = f"it came back with {self._copy}; whether it was replaced since is unknown"
        if account.state == AccountState.ACTIVE:
            reason = f"the refresh token came back with {self._copy}; whether it was replaced since is unknown"
            self._mark(grant, account, AccountState.IN_DOUBT, reason, {"held": grant.generation})

    def _mark(
        self, grant: GrantRow, account: AccountRow, after: AccountState, reason: str, evidence: dict[str, object]
    ) -> None:
        before, finding = AccountState(account.state), Finding(RESTORED, reason, evidence)
        if after is AccountState.NEEDS_CONSENT:
            flag_row(self._session, grant, account, finding, self._now)
        else:
            move(self._session, account, after, finding, self._now)
        self.told.marked.append(Marked(account.integration, account.name, before, after, reason))

    def _learn(self, row: _Row) -> None:
        fate: Fate = "revoked" if row.state == AccountState.REVOKED else ""
        self.news.append(Witnessed(row.uid, row.label, row.generation, row.replaced, "kept", fate))

    def _tell_lost(self, present: set[str]) -> None:
        """Accounts that only the witness knows. When it knows none of those here, it is another database's."""
        if present and present.isdisjoint(self._known.accounts):
            return
        for uid, said in self._known.accounts.items():
            if uid not in present and said.enrolled:
                self._lose(said)
                self.news.append(replace(said, fate="lost"))

    def _lose(self, said: Witnessed) -> None:
        self.told.lost.append(said.label)
        integration, _, account = said.label.partition("/")
        reason = f"{self._copy} does not hold it, or not with its last consent"
        announce_loss(self._session, integration, account, Finding(RESTORED, reason), self._now)

    def _load(self, row: _Row) -> tuple[GrantRow, AccountRow]:
        return self._grants[row.id], self._accounts[row.id]


def _cut_off(row: _Row, said: Witnessed) -> bool:
    """Whether the witness is ahead because a process ended between telling it and the commit.

    Then the database still holds the intent, or what became of it; of a consent it holds nothing.
    """
    return not said.certain and row.generation == said.generation - 1 and (row.open or said.phase == "consenting")
