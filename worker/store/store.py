"""The store as one thing: database, locks and repositories, opened and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.store.accounts import Accounts
from worker.store.database import Database
from worker.store.grants import Grants
from worker.store.incidents import Incidents
from worker.store.key_check import verify_key
from worker.store.locks import AdvisoryLocks, FileLocks
from worker.store.migrate import upgrade
from worker.store.runs import Runs
from worker.store.schedule import Schedule
from worker.store.secrets import ClientSecrets
from worker.store.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.crypto.sealing import Sealer
    from worker.store.locks import Locks


class Store:
    """Everything that is remembered. Built by `open_store`."""

    def __init__(self, database: Database, locks: Locks, sealer: Sealer) -> None:
        self.database = database
        self.locks = locks
        self._scrubber = sealer.scrubber
        self.accounts = Accounts(database)
        self.grants = Grants(database, sealer)
        self.secrets = ClientSecrets(database, sealer)
        self.timeline = Timeline(database)
        self.incidents = Incidents(database)
        self.schedule = Schedule(database)
        self.runs = Runs(database)

    def scrubbed(self, evidence: Mapping[str, object]) -> dict[str, object]:
        """Evidence from outside, without the secrets that are known to this process."""
        return {name: self._scrubber(value) if isinstance(value, str) else value for name, value in evidence.items()}

    def close(self) -> None:
        """Close all connections."""
        self.database.close()


def open_store(url: str, state_folder: Path, sealer: Sealer, now: float) -> Store:
    """Open the database, bring its schema up to date, and check the key.

    Raises StoreUnusable (newer than this program, readable by others), TryAgainLater (the server does not answer, the
    disk is full), KeyUnusable (not its key), Busy
    (another process is migrating it).
    """
    database = Database(url)
    try:
        locks: Locks = FileLocks(state_folder / "locks") if database.is_sqlite else AdvisoryLocks(database)
        upgrade(database, locks)
        verify_key(database, sealer, now)
    except BaseException:
        database.close()
        raise
    return Store(database, locks, sealer)


def account_lock(account_id: int) -> str:
    """The name of the lock under which an account's grant is refreshed or replaced."""
    return f"account-{account_id}"


def run_lock(job: str, account_id: int) -> str:
    """The name of the lock under which a job runs for an account."""
    return f"run-{job}-{account_id}"
