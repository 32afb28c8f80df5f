"""Where the keyring came from, for processes that outlive a rotation: they have to see a new key without a restart.

A file is looked at before every sealing (one `stat`, about two microseconds) and read again only when it has changed.
A command may be slow, or ask a server, so it is run again only when a key is missing, and at most once a minute.
An environment variable and a systemd credential are fixed when a process starts: they have no origin to look at.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from worker.crypto.keyring import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.crypto.keyring import Keyring

#: Seconds between two runs of a keyring command at least, however many values wait for a key.
COMMAND_PAUSE = 60.0


class KeyringOrigin:
    """A keyring that can be read again: a file (`path`), or a command (no path). Threads may share it."""

    def __init__(
        self, read: Callable[[], Keyring], path: Path | None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._path = path
        self._monotonic = monotonic
        self._stamp = self._look()
        self._read_at = monotonic()

    def changed(self) -> bool:
        """Whether the file is another one than was read last; never true of a command."""
        return self._path is not None and self._look() != self._stamp

    def may_hold_more(self) -> bool:
        """Whether it is worth reading again for the sake of a key that is missing."""
        return self.changed() if self._path is not None else self._monotonic() - self._read_at >= COMMAND_PAUSE

    def read(self) -> Keyring:
        """The keyring as it is now. Raises Misconfigured, and is then not read again until it changes once more."""
        # The stamp first: a change during the reading is then seen as one more change.
        self._stamp, self._read_at = self._look(), self._monotonic()
        return self._read()

    def sync(self) -> None:
        """Make the file survive a power loss, before its newest key seals anything. An editor need not have done so."""
        if self._path is None:
            return
        with suppress(OSError):  # a read-only mount, where it was not we who wrote it
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_directory(self._path.resolve().parent)

    def _look(self) -> tuple[int, ...] | None:
        if self._path is None:
            return None
        try:
            status = os.stat(self._path)  # noqa: PTH116 - pathlib's takes twice as long, and this runs at every sealing
        except OSError:
            return None
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
