"""Holds on to the database file, so that a file taken away or replaced under a running process is noticed.

A process that has a file open does not notice that it was deleted: it reads on, from a file that no name leads to, and
all of it is gone when the process ends. So every transaction compares the file at the path with the one that was
opened. When they differ, what was opened is saved beside (once), and nobody goes on with it. When the saved copy, or
any other with the same content, is put back at the path, it is taken up again.

The hold is an O_PATH descriptor: it keeps the inode's number from being given to another file, and closing it does not
let go of SQLite's POSIX locks, as closing an ordinary one would.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from worker.errors import StoreUnusable, TryAgainLater
from worker.store.files import file_fault, look_at, rescued_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

_CHUNK = 1 << 20


class Anchor:
    """The file that was opened. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._take()

    def _take(self) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            raise file_fault(error, f"{self._path} cannot be opened", "look at store.url") from None
        status = os.fstat(self._descriptor)
        self._identity = (status.st_dev, status.st_ino)
        self._let_go = weakref.finalize(self, os.close, self._descriptor)

    def hold(self, reopen: Callable[[], None]) -> None:
        """Make sure that the file at the path is still the one that was opened; one look at the path, when it is.

        `reopen` is called when its content was put back in another file: no connection to the former may be used then.
        Raises StoreUnusable when it was deleted or replaced; its content has then been saved. Raises as `look_at` does
        when the path cannot be seen: the file may stand there all the same.
        """
        if not self.moved():
            return
        with self._lock:
            if not self.moved():
                return
            if not self._is_back():
                raise self._explained()
            reopen()
            self._take_instead()
        log.warning("the database file is back in its place", extra={"path": str(self._path)})

    def moved(self) -> bool:
        """Whether another file, or none, stands at the path."""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - a quarter of the time, in every transaction
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != self._identity

    def take_anew(self) -> None:
        """Hold whatever stands at the path now, if anything: nobody uses the former file any more."""
        with self._lock, suppress(StoreUnusable, TryAgainLater):
            self._take_instead()

    def _take_instead(self) -> None:
        # The former only afterwards: a number that is closed may soon be that of another file.
        let_go = self._let_go
        self._take()
        let_go()

    def _is_back(self) -> bool:
        try:
            with self._path.open("rb") as now, open(self._former, "rb") as before:  # noqa: PTH123 - a descriptor
                if os.fstat(now.fileno()).st_size != os.fstat(before.fileno()).st_size:
                    return False
                while chunk := before.read(_CHUNK):
                    if now.read(_CHUNK) != chunk:
                        return False
                return True
        except OSError:
            return False

    @property
    def _former(self) -> str:
        return f"/proc/self/fd/{self._descriptor}"

    def _explained(self) -> StoreUnusable:
        what = "deleted" if look_at(self._path) is None else "replaced by another file"
        said = f"{self._path} was {what} while it was in use"
        try:
            saved = self._save()
        except OSError as error:
            return StoreUnusable(
                f"{said}, and its content could not be saved beside it: {error.strerror}",
                hint=f"do not end this process: cp /proc/{os.getpid()}/fd/{self._descriptor} FILE gets it back",
            )
        return StoreUnusable(
            f"{said}; its content was saved to {saved}", hint=f"mv {saved} {os.path.realpath(self._path)}"
        )

    def _save(self) -> Path:
        target = rescued_path(self._path, self._identity[1])
        if not target.exists():
            self._copy_to(target)
            log.critical("the database file was taken away; its content was saved", extra={"copy": str(target)})
        return target

    def _copy_to(self, target: Path) -> None:
        # Whole: SQLite itself refuses to write to a file that its name does not lead to (SQLITE_READONLY_DBMOVED).
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(self._former, "rb") as source, open(descriptor, "wb") as copy:  # noqa: PTH123 - descriptors
            shutil.copyfileobj(source, copy, _CHUNK)
            copy.flush()
            os.fsync(copy.fileno())
        unfinished.rename(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
