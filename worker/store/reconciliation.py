"""An older copy of the database, recognised when the store is opened, and made safe before anybody uses it.

However it came back (`worker store restore`, a file copied by hand, a server's snapshot), its accounts are compared
with the witness. What the witness has seen to go further decides:

    the refresh token was replaced since    spent: needs consent, and the token can never be sent again
    the same one went on being good         the account goes on, above the highest generation that was ever reached
    revoked or removed since                revoked: what people took away does not come back
    sent since, and no outcome is known     in doubt: the next use settles it
    nothing (a machine without witness)     in doubt, if it is a backup of ours; else nobody can tell its age
    not in this copy at all                 told by name: it has to be enrolled again

The database and the witness have the same mark when neither is older: then this costs one row and the end of a file.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from worker.store.comparison import Comparison
from worker.store.tables import GrantRow, LineageRow, ScheduleRow

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.crypto.sealing import Sealer
    from worker.store.comparison import Reconciled
    from worker.store.database import Database
    from worker.store.witness_file import WitnessFile

log = logging.getLogger(__name__)

#: More than the runs of any job and account since the copy was made: sinks have seen their fences, and refuse them. (A
#: job that first ran after the copy was made has no row to be raised; its first run learns the fence from the sink.)
_FENCES = 1_000_000
#: Accounts that are logged one by one; the timeline has them all.
_LOGGED = 20


def reconcile(
    database: Database, witness: WitnessFile, sealer: Sealer, now: float, *, thoroughly: bool = False
) -> Reconciled | None:
    """Compare the database with the witness, and mark what is older; None when it is what it was.

    `thoroughly` compares every account although the marks agree: the witness then knows all that the database does.
    Raises as reading and writing the store does, and when the witness cannot be read or written.
    """
    if not thoroughly:
        with database.read() as session:
            if _agree(session, witness):
                return None
    with database.write() as session:
        # Again: whoever was about to commit has done so by now.
        lineage = session.get(LineageRow, 1, with_for_update=True)
        if not thoroughly and lineage is not None and _agree(session, witness):
            return None
        told = reconcile_within(session, witness, sealer, now)
    log_what_was_found(told)
    return told if told.told else None


def reconcile_within(session: Session, witness: WitnessFile, sealer: Sealer, now: float) -> Reconciled:
    """The same in the caller's transaction, whatever the marks say."""
    lineage = session.get(LineageRow, 1, with_for_update=True) or LineageRow(id=1)
    found = Comparison(session, witness.read(), sealer, lineage.backed_up_at, now)
    told = found.compare(missed=bool(lineage.mark))
    lineage.mark, lineage.backed_up_at = secrets.token_hex(8), None
    session.add(lineage)
    if told.told:
        session.execute(update(ScheduleRow).values(fence=ScheduleRow.fence + _FENCES))
    session.flush()
    witness.append(found.news, lineage.mark)
    return told


def is_blank(database: Database) -> bool:
    """Whether this database was never told of any account: so the accounts of a witness are not merely missing."""
    with database.read() as session:
        lineage = session.get(LineageRow, 1)
        if lineage is not None and (lineage.mark or lineage.backed_up_at is not None):
            return False
        return session.execute(select(func.count()).select_from(GrantRow)).scalar_one() == 0


def _agree(session: Session, witness: WitnessFile) -> bool:
    lineage = session.get(LineageRow, 1, populate_existing=True)
    if lineage is None or lineage.backed_up_at is not None:
        return False
    mark = witness.last_mark()
    if mark is None and not lineage.mark:
        # A new database, so far without a grant that anything could be said about.
        return session.execute(select(func.count()).select_from(GrantRow)).scalar_one() == 0
    return bool(lineage.mark) and lineage.mark == mark


def log_what_was_found(told: Reconciled) -> None:
    """For whoever operates the worker; most of the time, nothing."""
    if told.unwitnessed:
        log.warning(
            "the witness is missing; it was made anew from the database. Were this an old copy of the database,"
            " nobody could tell which of its refresh tokens were used since",
            extra={"hint": "keep the file of store.witness; it belongs in no backup"},
        )
    if told.marked or told.lost:
        log.critical(
            "the database is older than it was: a backup was restored, or an old copy put in its place",
            extra={"needs_consent": len(told.needing), "lost": told.lost, "marked": len(told.marked)},
        )
    for mark in told.marked[:_LOGGED]:
        log.error(
            "account is %s",
            mark.after,
            extra={"integration": mark.integration, "account": mark.account, "cause": mark.reason},
        )
