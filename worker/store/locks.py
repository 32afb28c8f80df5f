"""Locks across threads, processes and, on PostgreSQL, machines. No time-to-live anywhere: a lock dies with its holder.

On SQLite a lock is `flock` on a file of its own beside the database: the kernel lets go of it when the process ends,
however it ends. Every hold opens the file anew, so two threads of one process exclude each other as two processes do.
On PostgreSQL it is a session advisory lock on a connection of its own, which the server frees when the session ends.

A lease with a time-to-live is what the others use, and how they refresh twice: the holder pauses, the lease runs out,
a second one enters. Here a paused holder keeps its lock.

One thing a file cannot do and a session can: end before its holder, when the server is restarted. So on PostgreSQL the
threads of one process are also kept apart without the server's help; a holder that goes on for long takes its lock
again (`renew`); and whoever finds the lock free but the traces of unfinished work asks how long the former holder may
still be at it (`may_outlive`). What is left is a holder that is cut off from the server for longer than that.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from worker.errors import Busy
from worker.store.files import create_private_folder, file_fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

#: Seconds between two tries for a lock that is held: short at first, since a refresh takes a few hundred ms.
FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.05
#: Seconds after which a waiter gives up. A holder's token request ends by its timeouts long before.
PATIENCE = 120.0


def account_lock(account_id: int) -> str:
    """The name of the lock under which an account's grant is refreshed or replaced."""
    return f"account-{account_id}"


def run_lock(job: str, account_id: int) -> str:
    """The name of the lock under which a job runs for an account."""
    return f"run-{job}-{account_id}"


class Locks(Protocol):
    """Named exclusive locks."""

    def hold(self, name: str, *, patience: float = PATIENCE, note: str = "") -> AbstractContextManager[None]:
        """Hold the lock for the length of a block. Raises Busy, naming the holder, after `patience` seconds.

        `note` is what others are told about us while we hold it (never a secret).
        """

    def renew(self, name: str) -> None:
        """Make sure that a lock this process holds is still held, and take it again if it was lost.

        Raises Busy, naming the holder, when somebody else has it now.
        """

    def may_outlive(self, since: float, now: float, longest: float) -> float:
        """Seconds for which somebody who took a lock at `since` may still be at work although the lock is free.

        `longest` is how many seconds what he asks another server for may take.
        """


def process_note() -> str:
    """Name this process, for messages about who holds what."""
    return f"process {os.getpid()} on {os.uname().nodename}"


def holder_of(folder: Path, name: str) -> str | None:
    """Who holds a lock on a file in this folder; None when nobody does. For an instant, one that is free is taken.

    Where the kernel cannot tell, somebody may: that is no "nobody".
    """
    path = folder / f"{_file_name(name)}.lock"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"somebody, perhaps ({path}: {error.strerror})"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 200, 0).decode("utf-8", "replace") or "another process"
    except OSError as error:
        return f"somebody, perhaps ({path}: {error.strerror})"
    finally:
        os.close(descriptor)
    return None


@dataclass
class _Held:
    """A lock that this process holds: the descriptor on which it lies, and what others are told."""

    descriptor: int
    note: str


class FileLocks:
    """flock on one file a name, in a private folder. The files stay: removing a lock file is how locks get doubled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: What this process holds.
        self._held: dict[str, _Held] = {}
        create_private_folder(folder)

    @contextmanager
    def hold(self, name: str, *, patience: float = PATIENCE, note: str = "") -> Iterator[None]:
        """See Locks."""
        held, owner = _Held(self._acquire(name, patience, note), note), os.getpid()
        self._held[name] = held
        try:
            yield
        finally:
            if self._held.get(name) is held:
                del self._held[name]
            # A child that a job has forked may come by here as well, on its way out: the lock is not its own.
            if os.getpid() == owner:
                _let_go(held.descriptor)

    def renew(self, name: str) -> None:
        """See Locks. A lock is lost here when somebody cleans the folder: the next one would lock a file of its own."""
        held = self._held.get(name)
        if held is None:
            raise Busy(f"{name} is not held any more", evidence={"lock": name, "holder": "another thread"})
        if not _stands(held.descriptor, self._path(name)):
            lost, held.descriptor = held.descriptor, self._acquire(name, 0, held.note)
            _let_go(lost)

    def may_outlive(self, since: float, now: float, longest: float) -> float:  # noqa: ARG002 - as agreed
        """See Locks: not at all, the kernel frees a lock when its holder is no more."""
        return 0.0

    def _path(self, name: str) -> Path:
        return self._folder / f"{_file_name(name)}.lock"

    def _acquire(self, name: str, patience: float, note: str) -> int:
        path = self._path(name)
        deadline = time.monotonic() + patience
        pause = FIRST_PAUSE
        while True:
            descriptor = self._open(path)
            try:
                if _locked(descriptor, path):
                    _write_note(descriptor, note)
                    return descriptor
            except OSError as error:
                os.close(descriptor)
                raise file_fault(error, f"{path} cannot be locked", "keep the database on a local disk") from None
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace") or "another process"
            os.close(descriptor)
            if time.monotonic() >= deadline:
                raise Busy(f"{name} is held by {holder}", evidence={"lock": name, "holder": holder})
            time.sleep(min(pause, max(deadline - time.monotonic(), 0)))
            pause = min(pause * 2, LONGEST_PAUSE)

    def _open(self, path: Path) -> int:
        try:
            create_private_folder(self._folder)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            hint = "look at the folder of the database, its rights and its disk"
            raise file_fault(error, f"{path} cannot be opened", hint) from None


def _write_note(descriptor: int, note: str) -> None:
    # A courtesy to whoever waits; a full disk is no reason to let go.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, (note or process_note()).encode(), 0)


def _let_go(descriptor: int) -> None:
    # Said, not left to the closing: a child that a job has forked still has the descriptor open.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _locked(descriptor: int, path: Path) -> bool:
    """Whether we got the lock, on the file that still stands at `path` (somebody may have cleaned the folder)."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return _stands(descriptor, path)


def _stands(descriptor: int, path: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except OSError:
        return False


def _file_name(name: str) -> str:
    """A lock's name as a file name: readable, and unique whatever characters stand in it."""
    plain = "".join(
        character if (character.isascii() and character.isalnum()) or character in "-_." else "_" for character in name
    )[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
