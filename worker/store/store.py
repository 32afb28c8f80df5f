"""The store as one thing: database, locks and repositories, opened and checked."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from worker.config.store_url import sqlite_path
from worker.store.accounts import Accounts
from worker.store.advisory_locks import AdvisoryLocks
from worker.store.changes import Changes
from worker.store.database import LOCK_WAIT, Database
from worker.store.failing import FailingRefreshes
from worker.store.files import create_private_folder, lock_folder
from worker.store.fresh_start import refuse_blank, refuse_missing_file
from worker.store.freshness import Freshness
from worker.store.grants import Grants
from worker.store.ground import remarks
from worker.store.holds import Holds
from worker.store.incidents import Incidents
from worker.store.key_check import verify_key
from worker.store.locks import FileLocks
from worker.store.migrate import schema_version, upgrade
from worker.store.notifications import Notifications
from worker.store.profiles import Profiles
from worker.store.reconciliation import is_blank, reconcile
from worker.store.runs import Runs
from worker.store.schedule import Schedule
from worker.store.secrets import ClientSecrets
from worker.store.timeline import Timeline
from worker.store.waits import Waits
from worker.store.witness import Witness
from worker.store.witness_file import WITNESS, WitnessFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.crypto.sealing import Sealer
    from worker.store.comparison import Reconciled
    from worker.store.locks import Locks

log = logging.getLogger(__name__)


class Store:
    """Everything that is remembered. Built by `open_store`."""

    def __init__(self, database: Database, locks: Locks, sealer: Sealer, witness: Witness) -> None:
        self.database = database
        self.locks = locks
        self._scrubber = sealer.scrubber
        self.witness = witness
        #: What opening it found out about a database that is older than the witness; None: it is what it was.
        self.restored: Reconciled | None = None
        self.accounts = Accounts(database, witness)
        self.grants = Grants(database, sealer, witness)
        self.secrets = ClientSecrets(database, sealer)
        self.timeline = Timeline(database)
        self.incidents = Incidents(database)
        self.holds = Holds(database, witness)
        self.failing = FailingRefreshes(database)
        self.schedule = Schedule(database)
        self.runs = Runs(database)
        self.waits = Waits(database)
        self.notifications = Notifications(database)
        self.profiles = Profiles(database)
        self.changes = Changes(database)
        self.freshness = Freshness(database)

    def scrubbed(self, evidence: Mapping[str, object]) -> dict[str, object]:
        """Evidence from outside, without the secrets that are known to this process."""
        return {name: self._scrubber(value) if isinstance(value, str) else value for name, value in evidence.items()}

    def close(self) -> None:
        """Close all connections."""
        self.database.close()


def open_store(
    url: str,
    state_folder: Path,
    sealer: Sealer,
    now: float,
    witness: Path | None = None,
    *,
    lock_wait: float = LOCK_WAIT,
) -> Store:
    """Open the database, bring its schema up to date, and check the key.

    Raises StoreUnusable (newer than this program, readable by others, missing although its witness is there),
    TryAgainLater (the server does not answer, the disk is full), KeyUnusable (not its key), Busy (another process is
    migrating it).
    """
    database, locks = open_database(url, state_folder, witness, lock_wait=lock_wait)
    try:
        told = Witness(witness or state_folder / WITNESS)
        if is_blank(database):
            missing = f"there is no account in the database {database.name}"
            refuse_blank(told.file, missing, lambda: is_blank(database))
        verify_key(database, sealer, now)
        if witness is None:
            create_private_folder(state_folder)
        restored = reconcile(database, told.file, sealer, now)
    except BaseException:
        database.close()
        raise
    store = Store(database, locks, sealer, told)
    store.restored = restored
    return store


def open_database(
    url: str, state_folder: Path, witness: Path | None = None, *, lock_wait: float = LOCK_WAIT
) -> tuple[Database, Locks]:
    """The database at its newest schema, without a look at the key: for what must work when the key does not.

    Raises as `open_store` does, but for the key.
    """
    known = WitnessFile(witness or state_folder / WITNESS)
    path = sqlite_path(url)
    if path is not None:
        refuse_missing_file(path, known)
    database = Database(url, lock_wait=lock_wait)
    _warn_of_network(state_folder, *([database.path] if database.is_sqlite else []))
    try:
        if database.is_sqlite:
            database.take_share()
        # Beside the file, not in the state folder: whoever opens the same database excludes each other.
        locks: Locks = FileLocks(lock_folder(database.path)) if database.is_sqlite else AdvisoryLocks(database)
        database.refuse_damaged()
        if schema_version(database) is None:
            missing = f"there is nothing in the database {database.name}"
            refuse_blank(known, missing, lambda: schema_version(database) is None)
        upgrade(database, locks)
    except BaseException:
        database.close()
        raise
    return database, locks


def _warn_of_network(*places: Path) -> None:
    for remark in (remark for place in places for remark in remarks(place) if remark.kind == "network"):
        log.warning(remark.message, extra={"hint": remark.hint})
