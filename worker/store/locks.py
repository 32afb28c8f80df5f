"""Locks across threads, processes and, on PostgreSQL, machines. No time-to-live anywhere: a lock dies with its holder.

On SQLite a lock is `flock` on a file of its own: the kernel lets go of it when the process ends, however it ends.
Every hold opens the file anew, so two threads of one process exclude each other as two processes do. On PostgreSQL it
is a session advisory lock on a connection of its own, which the server frees when the session ends.

A lease with a time-to-live is what the others use, and how they refresh twice: the holder pauses, the lease runs out,
a second one enters. Here a paused holder keeps its lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from worker.errors import Busy, StoreUnusable
from worker.store.database import advisory_key, create_private_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy.engine import Connection

    from worker.store.database import Database

#: Seconds between two tries for a lock that is held: short at first, since a refresh takes a few hundred ms.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05
#: Seconds after which a waiter gives up. A holder's token request ends by its timeouts long before.
PATIENCE = 120.0
#: PostgreSQL cuts an application name there.
_NAME_BYTES = 63


class Locks(Protocol):
    """Named exclusive locks."""

    def hold(self, name: str, *, patience: float = PATIENCE, note: str = "") -> AbstractContextManager[None]:
        """Hold the lock for the length of a block. Raises Busy, naming the holder, after `patience` seconds.

        `note` is what others are told about us while we hold it (never a secret).
        """


def process_note() -> str:
    """Name this process, for messages about who holds what."""
    return f"process {os.getpid()} on {os.uname().nodename}"


class FileLocks:
    """flock on one file a name, in a private folder. The files stay: removing a lock file is how locks get doubled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        create_private_folder(folder)

    @contextmanager
    def hold(self, name: str, *, patience: float = PATIENCE, note: str = "") -> Iterator[None]:
        """See Locks."""
        path = self._folder / f"{_file_name(name)}.lock"
        descriptor = self._acquire(path, name, patience)
        try:
            # A courtesy to whoever waits; a full disk is no reason to let go.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, (note or process_note()).encode(), 0)
            yield
        finally:
            # Said, not left to the closing: a child that a job has forked still has the descriptor open.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _acquire(self, path: Path, name: str, patience: float) -> int:
        deadline = time.monotonic() + patience
        pause = _FIRST_PAUSE
        while True:
            descriptor = self._open(path)
            try:
                if _locked(descriptor, path):
                    return descriptor
            except OSError as error:
                os.close(descriptor)
                raise StoreUnusable(
                    f"{path} cannot be locked: {error.strerror}", hint="keep worker.state_dir on a local disk"
                ) from None
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace") or "another process"
            os.close(descriptor)
            if time.monotonic() >= deadline:
                raise Busy(f"{name} is held by {holder}", evidence={"lock": name, "holder": holder})
            time.sleep(min(pause, max(deadline - time.monotonic(), 0)))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _open(self, path: Path) -> int:
        try:
            create_private_folder(self._folder)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnusable(
                f"{path} cannot be opened: {error.strerror}", hint="look at worker.state_dir, its rights and its disk"
            ) from None


def _locked(descriptor: int, path: Path) -> bool:
    """Whether we got the lock, on the file that still stands at `path` (somebody may have cleaned the folder)."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _file_name(name: str) -> str:
    """A lock's name as a file name: readable, and unique whatever characters stand in it."""
    plain = "".join(
        character if (character.isascii() and character.isalnum()) or character in "-_." else "_" for character in name
    )[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


class AdvisoryLocks:
    """PostgreSQL session advisory locks, each on a connection of its own (so no transaction pooler in between)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine = create_engine(
            database.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"application_name": "headless-worker lock", "connect_timeout": 10},
        )

    @contextmanager
    def hold(self, name: str, *, patience: float = PATIENCE, note: str = "") -> Iterator[None]:
        """See Locks."""
        with self._database.errors_told():
            connection = self._acquire(name, patience, note)
        try:
            yield
        finally:
            # The end of the session would free it as well, but in the server's own time: the next one may ask at once.
            with suppress(DBAPIError):
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": advisory_key(name)})
            connection.close()

    def _acquire(self, name: str, patience: float, note: str) -> Connection:
        connection = self._engine.connect()
        try:
            _wait_for(connection, name, patience)
            told = f"headless-worker: {note or process_note()}"[:_NAME_BYTES]
            connection.execute(text("SELECT set_config('application_name', :note, false)"), {"note": told})
        except BaseException:
            connection.close()
            raise
        return connection


def _wait_for(connection: Connection, name: str, patience: float) -> None:
    key = advisory_key(name)
    deadline = time.monotonic() + patience
    pause = _FIRST_PAUSE
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar_one():
        if time.monotonic() >= deadline:
            holder = _holder(connection, key)
            raise Busy(f"{name} is held by {holder}", evidence={"lock": name, "holder": holder})
        time.sleep(min(pause, max(deadline - time.monotonic(), 0)))
        pause = min(pause * 2, _LONGEST_PAUSE)


def _holder(connection: Connection, key: int) -> str:
    query = text(
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND ((l.classid::bigint << 32) | l.objid::bigint) = :key"
    )
    name = connection.execute(query, {"key": key}).scalar()
    return str(name or "another session")
