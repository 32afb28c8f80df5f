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
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from worker.errors import Busy
from worker.store.database import create_private_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from worker.store.database import Database

#: Seconds between two tries for a lock that is held: short at first, since a refresh takes a few hundred ms.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05
#: Seconds after which a waiter gives up. A holder's token request ends by its timeouts long before.
PATIENCE = 120.0


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
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, (note or process_note()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def _acquire(self, path: Path, name: str, patience: float) -> int:
        deadline = time.monotonic() + patience
        pause = _FIRST_PAUSE
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _locked(descriptor, path):
                return descriptor
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace") or "another process"
            os.close(descriptor)
            if time.monotonic() >= deadline:
                raise Busy(f"{name} is held by {holder}", evidence={"lock": name, "holder": holder})
            time.sleep(min(pause, max(deadline - time.monotonic(), 0)))
            pause = min(pause * 2, _LONGEST_PAUSE)


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
    plain = "".join(character if character.isalnum() or character in "-_." else "_" for character in name)[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


class AdvisoryLocks:
    """PostgreSQL session advisory locks, each on a connection of its own (so no transaction pooler in between)."""

    def __init__(self, database: Database) -> None:
        self._engine = create_engine(
            database.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"application_name": "headless-worker lock", "connect_timeout": 10},
        )

    @contextmanager
    def hold(self, name: str, *, patience: float = PATIENCE, note: str = "") -> Iterator[None]:
        """See Locks."""
        key = int.from_bytes(hashlib.sha256(f"headless-worker {name}".encode()).digest()[:8], "big", signed=True)
        deadline = time.monotonic() + patience
        pause = _FIRST_PAUSE
        with self._engine.connect() as connection:
            while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar_one():
                if time.monotonic() >= deadline:
                    holder = self._holder(key)
                    raise Busy(f"{name} is held by {holder}", evidence={"lock": name, "holder": holder})
                time.sleep(min(pause, max(deadline - time.monotonic(), 0)))
                pause = min(pause * 2, _LONGEST_PAUSE)
            connection.execute(
                text("SELECT set_config('application_name', :note, false)"),
                {"note": f"headless-worker {name}: {note or process_note()}"[:60]},
            )
            # Closing the connection ends the session, and the lock with it.
            yield

    def _holder(self, key: int) -> str:
        query = text(
            "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.granted"
            " AND ((l.classid::bigint << 32) | l.objid::bigint) = :key"
        )
        with self._engine.connect() as connection:
            name = connection.execute(query, {"key": key}).scalar()
        return str(name or "another session")
