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
        self._descriptor = _open(database)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise StoreUnusable(f"{database} is just being restored", hint="wait until that is done") from None

    def end(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def nobody_else(database: Path) -> Iterator[None]:
    """Keep the database from being opened. Raises StoreUnusable when somebody has it open."""
    descriptor = _open(database)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreUnusable(
                f"another process uses {database}", hint="stop the daemon, and wait for other commands to end"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _open(database: Path) -> int:
    path = lock_folder(database) / _NAME
    create_private_folder(path.parent)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise file_fault(error, f"{path} cannot be opened", "look at the rights of its folder") from None
