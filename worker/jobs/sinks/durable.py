"""Files that nobody else can read from the moment they exist, and that survive a power cut once a function returns."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from worker.errors import Busy, Misconfigured, TryAgainLater, WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextlib.contextmanager
def named_faults(path: Path) -> Iterator[None]:
    """Turn an OSError within into a WorkerError that names `path` and says what to do."""
    try:
        yield
    except OSError as error:
        raise _explained(error, path) from error


def make_folder(path: Path) -> None:
    """Create `path` and its missing parents, each with mode 0700 from the start."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    sync_folder(path.parent)


def make_file(path: Path) -> None:
    """Create `path` empty with mode 0600 unless it exists; its folder is made as well."""
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whole or not at all, durable on return. The caller sees to it that it is alone."""
    temporary = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - it is open already
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def _explained(error: OSError, path: Path) -> WorkerError:
    place = error.filename or str(path)
    if error.errno in _FULL:
        return TryAgainLater(
            f"{path}: no space left ({error.strerror})", hint="make room; the next run goes on by itself"
        )
    if error.errno in _REFUSED:
        return Misconfigured(f"{place}: {error.strerror}", hint="give the user that runs the worker write permission")
    if error.errno == errno.EWOULDBLOCK:
        return Busy(f"{path} is held by another process")
    return WorkerError(f"{place}: {error.strerror or error}")
