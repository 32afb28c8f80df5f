"""The heartbeat: how a probe outside tells a daemon that works from one that merely has not died.

The daemon touches a file in the state folder as long as its main thread comes round and its store answers: the same
condition under which it beats systemd's watchdog. Where no systemd watches (a container), `worker status --alive` looks
how old the last beat is. A store that is found unusable is written into the file at once; one that is merely locked is
not, for that passes: the last beat only grows old.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds between two beats at most.
INTERVAL = 10.0
#: Seconds after which a heart has stopped: a few beats, and the half minute that a lock on the store may take.
STOPPED = 90.0
_NAME = "heartbeat"


def beat(state_folder: Path) -> None:
    """Leave a sign of life. One that cannot be left (the disk was taken away) is missed by whoever looks for it."""
    with suppress(OSError):
        _write(state_folder / _NAME, "")


def falter(state_folder: Path, fault: str) -> None:
    """Leave what is the matter instead; where that cannot be written, nothing."""
    try:
        _write(state_folder / _NAME, fault)
    except OSError:
        end(state_folder)


def _write(path: Path, text: str) -> None:
    # Cut off after it was written, not before: whoever looks in between must not take a fault for a beat.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        content = text.encode(errors="replace")
        if os.pwrite(descriptor, content, 0) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.ftruncate(descriptor, len(content))
        os.utime(descriptor)
    finally:
        os.close(descriptor)


def last_beat(state_folder: Path) -> float | None:
    """When the last sign of life was left, in seconds since the epoch; None when there is none."""
    try:
        return (state_folder / _NAME).stat().st_mtime
    except OSError:
        return None


def last_fault(state_folder: Path) -> str:
    """What is the matter, as the daemon has left it, or why nobody can tell; empty when it works, or left nothing."""
    path = state_folder / _NAME
    try:
        return path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"


def end(state_folder: Path) -> None:
    """Take the sign away: the daemon has ended on purpose."""
    with suppress(OSError):
        (state_folder / _NAME).unlink()
