"""A restore: the store as a backup has it, and then the truth about what was used since.

Everything that can fail is done to a private copy of the backup. Then one rename (SQLite) or one commit (PostgreSQL)
puts it in place: before it the old database is there as it was, after it the new one, whatever kills us. What follows,
the comparison with the witness, is what every opening of the store begins with; should we not live to do it, the next
process does.

    hold the daemon's lock, see that nobody else has the store open
    copy FILE; check the copy (ours? schema? integrity? key? does every sealed value open?); migrate it
    let the witness learn what the present database knows, as far as that can be read
    keep the present database aside
    put the copy in its place
    compare with the witness, mark the accounts
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import Busy, KeyUnusable, StoreUnusable, TryAgainLater, UsageFault, WorkerError
from worker.store.advisory_locks import AdvisoryLocks
from worker.store.backup import opened, told_of, unfinished, verify
from worker.store.comparison import Reconciled
from worker.store.database import Database
from worker.store.files import create_private_file, create_private_folder, lock_folder, look_at
from worker.store.grants import Grants
from worker.store.key_check import verify_key
from worker.store.locks import FileLocks
from worker.store.migrate import upgrade_unshared
from worker.store.presence import nobody_else
from worker.store.reconciliation import is_blank, log_what_was_found, reconcile, reconcile_within
from worker.store.restore_targets import BESIDE, FileTarget, ServerTarget, copy_file, restorers_note
from worker.store.runs import Runs
from worker.store.schedule import Schedule
from worker.store.sealed_values import find_unopened
from worker.store.service import how_to_stop
from worker.store.witness import Witness
from worker.store.witness_file import WitnessFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.crypto.sealing import Sealer
    from worker.store.restore_targets import Target

#: A backup from before a rotation needs a key that may have been retired since.
_OLD_KEY = (
    "put the missing key's line back into the keyring, above the newer ones;"
    " worker keys recover OLD --write FILE yields it from an escrow copy"
)
#: Seconds for which a lock is waited for that `worker status` may be looking at for an instant.
_LOOKED_AT = 1.0
_OURS = {"account", "grant_", "alembic_version", "key_check"}


@dataclass(frozen=True)
class Place:
    """The store that is to be replaced: where it is, and what opens it."""

    url: str
    state_folder: Path
    witness: Path
    sealer: Sealer


@dataclass(frozen=True)
class RestoreReport:
    """A restore that is done."""

    accounts: int
    #: Where the database that was replaced is kept; None when there was none.
    kept_aside: Path | None
    #: Why the witness could not learn from the database that was replaced; empty when it could.
    unread: str
    reconciled: Reconciled
    #: Runs that were under way when the backup was made.
    interrupted: int


def restore(place: Place, file: Path, now: float) -> RestoreReport:
    """Put the backup in the store's place.

    Raises UsageFault (no such file, the database itself), StoreUnusable (in use, no backup of ours, damaged, a newer
    schema), KeyUnusable (not its key), TryAgainLater (the disk is full). The store is then what it was, unless the
    error says that the backup is in its place.
    """
    backup = look_at(file)
    if backup is None or not stat.S_ISREG(backup.st_mode):
        raise UsageFault(
            f"there is no file {file}", hint=f"name a file that worker store backup has made: ls -l {file.parent}"
        )
    create_private_folder(place.state_folder)
    with ExitStack() as held:
        target = held.enter_context(_target(place, file))
        with unfinished(target.copy_beside) as copy:
            for ending in ("", *BESIDE):
                # Whoever has copied a database by hand may have copied what a crash left beside it, too.
                if Path(f"{file}{ending}").exists():
                    copy_file(Path(f"{file}{ending}"), Path(f"{copy}{ending}"))
            with opened(copy) as database:
                accounts = _check(database, file, place.sealer, now)
            witness = WitnessFile(place.witness)
            witness.prove_writable()
            unread = _let_witness_learn(target, place, now)
            kept_aside = target.keep_aside(place.sealer, now, readable=not unread)
            told = target.replace(copy, lambda session: reconcile_within(session, witness, place.sealer, now))
        if told is not None:
            log_what_was_found(told)
        found, interrupted = _settled(place, now)
    return RestoreReport(accounts, kept_aside, unread, told or found, interrupted)


@contextmanager
def _target(place: Place, file: Path) -> Iterator[Target]:
    """The store, with everybody else kept out."""
    if not place.url.startswith("sqlite"):
        with _closing(Database(place.url)) as database, _no_daemon(AdvisoryLocks(database)):
            yield ServerTarget(database, place.state_folder)
        return
    path = Path(os.path.realpath(place.url.removeprefix("sqlite:///")))
    create_private_folder(path.parent)
    if look_at(path) is not None:
        if path.samefile(file):
            raise UsageFault(f"{file} is the database itself", hint="name a backup: worker store restore FILE")
        # Somebody else's: what root puts in its place, the daemon could not open.
        create_private_file(path)
    with _no_daemon(FileLocks(lock_folder(path))), nobody_else(path):
        yield FileTarget(path)


@contextmanager
def _no_daemon(locks: FileLocks | AdvisoryLocks) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(locks.hold("daemon", patience=_LOOKED_AT, note=restorers_note()))
        except Busy as error:
            holder = str(error.evidence.get("holder", "another process"))
            raise StoreUnusable(
                f"the store is in use: {holder}",
                hint=f"stop the daemon first: {how_to_stop(holder)}",
            ) from None
        yield


def _check(backup: Database, file: Path, sealer: Sealer, now: float) -> int:
    """Whether this copy of a backup can be the store; answers how many accounts it has."""
    with closing(sqlite3.connect(backup.path)) as connection:
        try:
            found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.DatabaseError as error:
            raise StoreUnusable(f"{file} is no backup: {error}", hint="worker store backup FILE makes one") from None
    if not found >= _OURS:
        raise StoreUnusable(f"{file} is no backup of a store", hint="worker store backup FILE makes one")
    with told_of(backup, str(file)):
        upgrade_unshared(backup)
        try:
            accounts = verify(backup, sealer, now, "use another backup")
        except KeyUnusable as error:
            raise KeyUnusable(error.message, hint=_OLD_KEY) from None
    _, unopened = find_unopened(backup, sealer)
    if unopened:
        raise StoreUnusable(
            f"{file}: {len(unopened)} sealed values do not open; {unopened[0].message}",
            hint=f"{_OLD_KEY}; or use another backup",
        )
    return accounts


def _let_witness_learn(target: Target, place: Place, now: float) -> str:
    """Tell the witness all that the present database knows; answers why that cannot be read, or nothing.

    Raises TryAgainLater when a pause mends it: what is known there and nowhere else is not given up for that.
    """
    if not target.exists():
        return ""
    try:
        with target.present() as database:
            database.refuse_damaged()
            if is_blank(database):
                return ""  # it would have the witness believe that all its accounts are gone
            verify_key(database, place.sealer, now)
            reconcile(database, WitnessFile(place.witness), place.sealer, now, thoroughly=True)
    except TryAgainLater:
        raise
    except WorkerError as error:
        return error.message
    return ""


def _settled(place: Place, now: float) -> tuple[Reconciled, int]:
    try:
        return _settle(place, now)
    except (StoreUnusable, TryAgainLater) as error:
        raise type(error)(
            f"the backup is in the store's place, but its accounts are not all marked yet: {error.message}",
            hint=f"{error.hint}; whatever opens the store next does the rest: worker store check".removeprefix("; "),
            evidence=error.evidence,
        ) from error


def _settle(place: Place, now: float) -> tuple[Reconciled, int]:
    """Mark the accounts, and what was under way when the backup was made."""
    with _closing(Database(place.url)) as database:
        witness = Witness(place.witness)
        told = reconcile(database, witness.file, place.sealer, now) or Reconciled(None)
        grants = Grants(database, place.sealer, witness)
        grants.interrupted(now, frozenset(grants.open_intents()))
        under_way, runs = Schedule(database).running(), Runs(database)
        for due in under_way:
            runs.interrupt(due, "the backup was made while it ran", now)
    return told, len(under_way)


@contextmanager
def _closing(database: Database) -> Iterator[Database]:
    try:
        yield database
    finally:
        database.close()
