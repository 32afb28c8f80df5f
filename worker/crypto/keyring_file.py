"""Changing a keyring file without ever losing a key.

The file is never written in place. The new text goes to a temporary file in the same folder, is synced, and takes the
old one's name; then the folder is synced. A crash at any moment leaves the old text or the new one, whole. Whoever
changes it holds `flock` on the file that stands there, so that two changes, even of two stores that share a keyring, do
not overwrite each other. Comments and the order of lines stay as the operator left them.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from worker.crypto.keyring import parse_keyring, sync_directory
from worker.errors import Busy, KeyUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from worker.crypto.keyring import Key

_HINT = "worker keys new FILE --id NAME; add its line at the end of the keyring yourself; then: worker keys rotate"


def append_key(path: Path, key: Key, step: Callable[[str], None]) -> None:
    """Add a key as the newest one; durable when this returns. `step` is told each step that was done.

    A symbolic link stays, and what it points to is changed. Raises KeyUnusable when the file cannot be changed or holds
    the id already, Busy when another process is changing it.
    """
    with _locked(path) as (target, descriptor):
        text = _read(descriptor, path)
        if any(known.id == key.id for known in parse_keyring(text, str(path)).keys):
            raise KeyUnusable(f'{path} holds a key "{key.id}" already', hint="worker keys list")
        line_end = "" if text.endswith("\n") else "\n"
        _replace(target, f"{text}{line_end}{key.id} {key.material.reveal()}\n", os.fstat(descriptor), step)


def remove_key(path: Path, key_id: str, step: Callable[[str], None]) -> None:
    """Take a key's line out; durable when this returns. Raises as `append_key` does."""
    with _locked(path) as (target, descriptor):
        lines = _read(descriptor, path).splitlines(keepends=True)
        kept = [line for line in lines if line.split()[:1] != [key_id]]
        text = "".join(kept)
        parse_keyring(text, str(path))
        _replace(target, text, os.fstat(descriptor), step)


@contextmanager
def _locked(path: Path) -> Iterator[tuple[Path, int]]:
    """The file itself, behind any link, open and locked."""
    target = path.resolve()
    try:
        descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be opened: {error.strerror}") from None
    try:
        if not _lock(descriptor) or os.fstat(descriptor).st_ino != target.stat().st_ino:
            raise Busy(f"{path} is being changed by another process")
        yield target, descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int, path: Path) -> str:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        try:
            return file.read().decode()
        except UnicodeDecodeError:
            raise KeyUnusable(f"{path} is not UTF-8 text") from None


def _replace(target: Path, text: str, status: os.stat_result, step: Callable[[str], None]) -> None:
    # One name, not a random one: what a crash left behind holds a key, and must not stay for ever.
    temporary = target.with_name(f".{target.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o600 or 0o600)
            file.write(text.encode())
            file.flush()
            step("keyring written")
            os.fsync(descriptor)
        step("keyring synced")
        temporary.rename(target)
        step("keyring renamed")
        sync_directory(target.parent)
        step("keyring folder synced")
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise KeyUnusable(f"{target} cannot be changed: {error.strerror}", hint=_HINT) from None
