"""The doorbell: how a command tells the daemon beside it to look at the store now, and not in half a minute.

A FIFO in the state folder. It carries no message: the record is in the store, and a ring that is lost costs no more
than the wait for the next look. Ringing where no daemon listens does nothing.

Whoever listens holds a lock on it: two daemons of two stores in one state folder would take each other's rings, and
the heartbeat of one would pass for the other's.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import stat
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from worker.errors import StoreUnusable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

_NAME = "doorbell"


def ring(state_folder: Path) -> bool:
    """Ring; answers whether a daemon listens."""
    try:
        descriptor = os.open(state_folder / _NAME, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, b"!")
    except BlockingIOError:
        pass  # so many rings that the pipe is full: it will be heard
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


class Doorbell:
    """Listens on a thread of its own and calls `answer` for every ring, or for several at once."""

    def __init__(self, state_folder: Path, answer: Callable[[], None]) -> None:
        """Raises StoreUnusable when the pipe cannot be made, or another daemon listens there."""
        path = state_folder / _NAME
        try:
            with suppress(FileExistsError):
                os.mkfifo(path, 0o600)
            if not stat.S_ISFIFO(path.stat().st_mode):
                raise StoreUnusable(f"{path} is in the way: it should be a pipe of ours", hint=f"rm {path}")
            # Read and write: the pipe then never reports an end when a ringer has closed it.
            self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise StoreUnusable(f"{path} cannot be made: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise StoreUnusable(
                f"another daemon uses the state folder {state_folder}",
                hint="stop that one first; the daemon of another store needs a worker.state_dir of its own",
            ) from None
        self._answer = answer
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="doorbell", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        with suppress(OSError):
            os.write(self._descriptor, b"!")
        self._thread.join(timeout=5)
        # Said, not left to the closing: a child that a job has forked still has the descriptor open.
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)

    def _listen(self) -> None:
        while not self._closing.is_set():
            select.select([self._descriptor], [], [])
            with suppress(BlockingIOError):
                os.read(self._descriptor, 4096)
            if self._closing.is_set():
                return
            try:
                self._answer()
            except Exception:
                log.exception("a ring was not answered; the next look comes by itself")
