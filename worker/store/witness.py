"""The witness: how far each account has come, written down outside the database.

An old copy of the database looks perfectly healthy from within. But its refresh tokens were used since: sent once more,
a provider with reuse detection ends the grant for good. So what happens to a grant is said to a second place as well,
before the database says it:

    begin_refresh      "generation 7 is about to be sent", synced, or nothing is sent
    complete_refresh   "generation 8 is about to be committed", synced, just before the commit; then "8 was committed"

Whatever interrupts this, the witness is never behind the database, and at most one unconfirmed generation ahead. When
the store is opened, `worker.store.reconciliation` compares the two. Usually that is one look at two marks: every commit
that the witness knows of leaves the same random mark in both.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import event, update

from worker.errors import WorkerError
from worker.store.tables import LineageRow
from worker.store.witness_file import Fate, Phase, Witnessed, WitnessFile

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from worker.store.tables import AccountRow, GrantRow

log = logging.getLogger(__name__)


class Witness:
    """Told by the transactions of grants. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self.file = WitnessFile(path)

    def sending(self, account: AccountRow, row: GrantRow) -> None:
        """The refresh token of this generation is about to be sent: say so, durably, before the intent is committed.

        Raises StoreUnusable, TryAgainLater, Busy: then nothing may be sent. A refresh whose outcome only the database
        would know could not be told from an old copy's.
        """
        self.file.append([testify(account, row, "sent")])

    def answered(self, session: Session, account: AccountRow, row: GrantRow) -> None:
        """The answer brought no other token: once that is committed, the sending casts no doubt any more."""
        said = testify(account, row, "answered")
        event.listen(session, "after_commit", lambda _: self._add(said), once=True)

    def committing(
        self, session: Session, account: AccountRow, row: GrantRow, *, consent: bool = False, fate: Fate = ""
    ) -> None:
        """Say what this transaction is about to commit; to be called last in it.

        A witness that cannot be written does not stop it: tokens that are in hand are worth more than a second opinion
        about them. It is told in the log, the next `sending` fails, and the next opening of the store makes up for it.
        """
        session.flush()
        mark = secrets.token_hex(8)
        session.execute(update(LineageRow).values(mark=mark))
        said = replace(testify(account, row, "consenting" if consent else "writing"), fate=fate)
        try:
            self.file.append([said], mark)
        except WorkerError as error:
            log.critical(
                "the witness cannot be written; no refresh is begun until it can",
                extra={"error": error.message, "hint": error.hint},
            )
            return
        event.listen(session, "after_commit", lambda _: self._confirm(said), once=True)

    def _confirm(self, said: Witnessed) -> None:
        self._add(replace(said, phase="kept"))
        try:
            self.file.compact()
        except WorkerError as error:
            log.warning("the witness could not be compacted", extra={"error": error.message})

    def _add(self, said: Witnessed) -> None:
        """Not synced: the next line that is takes this one with it; without it, the account is merely in doubt."""
        try:
            self.file.append([said], durable=False)
        except WorkerError as error:
            log.warning("the witness was not told of a commit", extra={"error": error.message})


def testify(account: AccountRow, row: GrantRow, phase: Phase) -> Witnessed:
    """What the rows say, for the witness."""
    replaced = row.refresh_token_generation
    return Witnessed(
        uid=account.uid,
        label=f"{account.integration}/{account.name}",
        generation=row.generation,
        # Not known of grants from before this was written down: then it may have been replaced every time.
        refresh_token_generation=row.generation if replaced is None else replaced,
        phase=phase,
    )
