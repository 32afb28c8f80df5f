"""Who has a database file open: every process a share of one lock, for as long as its store is open.

A restore puts another file in the database's place, and must be alone: whoever had the old one open would go on writing
to a file that no name leads to. The kernel lets go of a share when its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.errors import StoreUnusable
from worker.store.files import create_private_folder, file_fault, lock_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = "in-use.lock"


class Presence:
    """One store's share. Raises StoreUnusable while somebody replaces the database."""

    def __init__(self, database: Path) -> None:
        self._descriptor = _locked(database, fcntl.LOCK_SH)
        if self._descriptor is None:
            raise StoreUnusable(f"{database} is just being restored", hint="wait until that is done")

    def end(self) -> None:
        """Let go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def nobody_else(database: Path) -> Iterator[None]:
    """Keep the database from being opened. Raises StoreUnusable when somebody has it open."""
    descriptor = _locked(database, fcntl.LOCK_EX)
    if descriptor is None:
        raise StoreUnusable(
            f"another process uses {database}", hint="stop the daemon, and wait for other commands to end"
        )
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(database: Path, kind: int) -> int | None:
    """A descriptor that holds the lock; None when somebody else's is in the way."""
    path = lock_folder(database) / _NAME
    create_private_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise file_fault(error, f"{path} cannot be opened", "look at the rights of its folder") from None
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise file_fault(error, f"{path} cannot be locked", "keep the database on a local disk") from None
    return descriptor
