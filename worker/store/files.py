"""Files and folders that only we may enter, and what is refused in their place.

A database is more than its file: SQLite keeps a journal beside it, under the name that the file was opened by, and our
locks lie in a folder beside it. So everything here goes by the file's real place: whoever opens the same database,
through a link or by another configuration, meets the same locks.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
from pathlib import Path

from worker.errors import StoreUnusable, TryAgainLater, WorkerError

#: What a pause, or somebody who makes room, mends: no space, no inodes, over quota, too many open files, a disk that
#: does not answer.
_PASSING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.EINTR}
)
_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: What `rescued_path` puts behind the database's name.
_RESCUED = ".rescued-"


def lock_folder(database: Path) -> Path:
    """Where the locks of a database file lie: beside the file itself, wherever a link to it may lead from."""
    real = _real(database)
    return real.with_name(f"{real.name}.locks")


def rescued_path(database: Path, inode: int) -> Path:
    """Where the content of a file that was taken away under us is saved."""
    real = _real(database)
    return real.with_name(f"{real.name}{_RESCUED}{inode}")


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def file_fault(error: OSError, what: str, hint: str) -> WorkerError:
    """An error of the file system as ours: what a pause mends, or what an operator must change."""
    reason = error.strerror or str(error)
    if error.errno in _ROOM:
        full = "the disk is full" if error.errno == errno.ENOSPC else "no more may be written (a quota or a limit)"
        hint = "free some space, or files if the disk has no more inodes"
        return TryAgainLater(f"{what}: {full} ({reason})", hint=hint)
    if error.errno in _PASSING:
        return TryAgainLater(f"{what}: {reason}", hint="look at the disk and at the limits of this process: dmesg")
    if error.errno == errno.EROFS:
        return StoreUnusable(f"{what}: {reason}", hint="find out why it is mounted read-only (dmesg), then remount it")
    return StoreUnusable(f"{what}: {reason}", hint=hint)


def look_at(path: Path) -> os.stat_result | None:
    """What stands at the path; None when nothing does.

    Raises StoreUnusable or TryAgainLater where that cannot be seen: a folder that is not ours, a disk that is gone.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        hint = "run this as the worker's own user, or look at the rights of the folder; for systemd: docs/deployment.md"
        raise file_fault(error, f"{path} cannot be reached", hint) from None


def create_private_folder(path: Path) -> None:
    """Make a folder (and those above it) that only we may enter, private from its first moment on.

    Raises StoreUnusable, or TryAgainLater when the disk is full.
    """
    try:
        for folder in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise file_fault(
            error, f"{error.filename or path} cannot be made", "look at the rights of its folder"
        ) from None


def create_private_file(path: Path) -> None:
    """Make an empty file that only we may read, private from its first moment on; an existing one is checked.

    Raises StoreUnusable when others may read it: then it was not made by us, and what is in it is no secret any more;
    when it belongs to another user; and when there is none, but what was saved of one that was taken away. Raises
    TryAgainLater when the disk is full.
    """
    create_private_folder(path.parent)
    if look_at(path) is None:
        refuse_fresh_start(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        _refuse_public(path)
    except OSError as error:
        raise file_fault(error, f"{path} cannot be made", "look at store.url and the rights of the folder") from None


def rescued_copies(path: Path) -> list[Path]:
    """What processes have saved of a database that was taken away under them, the newest last."""
    real = _real(path)
    found = real.parent.glob(f"{glob.escape(real.name)}{_RESCUED}*") if real.parent.is_dir() else ()
    return sorted(found, key=lambda saved: (saved.stat().st_mtime_ns, saved.name))


def refuse_fresh_start(path: Path) -> None:
    """Refuse to go on without a database when a saved copy of it lies beside its place. Raises StoreUnusable."""
    real, saved = _real(path), rescued_copies(path)
    if saved:
        raise StoreUnusable(
            f"there is no {path}, but {saved[-1]}: the database was taken away under a process, which saved this copy",
            hint=f"mv {saved[-1]} {real}; or, to begin anew, move it away",
        )


def _refuse_public(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise file_fault(error, f"{path} cannot be opened", "look at store.url") from None
    mode = status.st_mode
    if not stat.S_ISREG(mode):
        raise StoreUnusable(f"{path} is not a file", hint="look at store.url")
    if status.st_uid != os.geteuid():
        # Root could open it, and would leave locks and journals beside it that the other user then cannot open.
        raise StoreUnusable(
            f"{path} belongs to user {status.st_uid}; this command runs as user {os.geteuid()}",
            hint=f"run it as that user: sudo -u '#{status.st_uid}' worker …; for a systemd service: docs/deployment.md;"
            f" or, if it is to be this user's: chown {os.geteuid()} {path}",
        )
    if mode & 0o077:
        raise StoreUnusable(
            f"{path} has mode {stat.S_IMODE(mode):04o}: other users of this machine can read or write it",
            hint=f"chmod 600 {path}",
        )
    if status.st_nlink > 1:
        # Each name would get a journal of its own (sqlite.org/howtocorrupt.html, section 2.5).
        raise StoreUnusable(
            f"{path} has {status.st_nlink} names (hard links): a crash under one cannot be mended under another",
            hint=f"find the other one (find / -xdev -samefile {path}) and remove it; copies: worker store backup",
        )
