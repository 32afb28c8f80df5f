"""The ground a database file stands on: what can be told before anything goes wrong. Reads only.

`remarks` gathers all of it for a start and for `worker doctor`: the kind of file system (locks and syncs of a network
share are not to be relied upon; what lies in memory or in a container's own layer is gone with it), files of SQLite's
beside the database, the library's version. What must be refused, `refuse_foreign_files` refuses: a journal that does
not belong to the file would be played into it.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import StoreUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

#: File systems whose locks and syncs depend on a server, and on how it is set up.
_NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs ncpfs afs coda ceph 9p glusterfs lustre beegfs gpfs ocfs2 gfs2 orangefs davfs".split()  # noqa: SIM905
)
#: Programs behind them: a few are local (ntfs-3g, exfat), none of which keeps modes and locks as we need them.
_PROGRAM = ("fuse", "fuseblk")
_MEMORY = frozenset({"tmpfs", "ramfs"})
_OVERLAY = frozenset({"overlay", "aufs"})
#: The first bytes of a database file (sqlite.org/fileformat2.html, section 1.3), and where its page size and its way
#: of journalling (2: WAL) stand.
_MAGIC, _HEADER = b"SQLite format 3\0", 100
_PAGE_SIZE, _JOURNALLING, _WAL = slice(16, 18), 19, 2
#: A rollback journal that counts begins so (section 3); its page size stands at byte 24.
_JOURNAL_MAGIC, _JOURNAL_PAGE_SIZE = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", slice(24, 28)
#: A page size of 1 stands for this one, which needs a bit more than there is.
_LARGEST_PAGE = 65536


@dataclass(frozen=True)
class Remark:
    """Something about the ground that an operator should know."""

    #: What it is about, as a word for programs: `network`, `memory`, `overlay`, `wal`.
    kind: str
    message: str
    hint: str


@dataclass(frozen=True)
class FileSystem:
    """Where a path lies."""

    mount_point: str
    kind: str
    options: frozenset[str]


def file_system(path: str, mounts: str) -> FileSystem | None:
    """The file system of an absolute path, from the text of `/proc/self/mounts`; None when that does not say."""
    found: FileSystem | None = None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 4:  # noqa: PLR2004 - device, place, kind, options (proc(5))
            continue
        place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[1])
        within = path == place or path.startswith(place.rstrip("/") + "/")
        # Of two at the same place the later one covers the earlier.
        if within and (found is None or len(place) >= len(found.mount_point)):
            found = FileSystem(place, fields[2], frozenset(fields[3].split(",")))
    return found


def remarks(path: Path, *, mounts: str | None = None) -> tuple[Remark, ...]:
    """What is to be said about a database's file (or a folder): most of it, nothing."""
    real = os.path.realpath(path)
    return (*_of_file_system(real, _mounts() if mounts is None else mounts), *_of_journal(Path(real)))


def _mounts() -> str:
    try:
        return Path("/proc/self/mounts").read_text("utf-8", "replace")
    except OSError:
        return ""


def _of_file_system(real: str, mounts: str) -> Iterator[Remark]:
    found = file_system(real, mounts)
    if found is None:
        return
    where = f"{real} lies on {found.kind} ({found.mount_point})"
    if found.kind in _NETWORK or found.kind.split(".")[0] in _PROGRAM:
        yield Remark(
            "network",
            f"{where}: locks and syncs are not to be relied upon there, and a power cut may cost grants",
            "move the store to a local disk, or to PostgreSQL",
        )
    elif found.kind in _MEMORY:
        yield Remark("memory", f"{where}: it is gone after a restart of the machine", "move the store to a disk")
    elif found.kind in _OVERLAY:
        yield Remark("overlay", f"{where}: it is gone with the container", "mount a volume there")


def _of_journal(path: Path) -> Iterator[Remark]:
    # Not by the file's header: see _start_of.
    if log_of(path).exists():
        yield Remark(
            "wal",
            f"{path} is in WAL mode: another program has switched it, and left or still uses {log_of(path)}",
            "let no other program open it; the next start checkpoints the log and switches back",
        )


def log_of(path: Path) -> Path:
    """The write-ahead log of a database that is, or was left, in WAL mode."""
    return Path(f"{os.path.realpath(path)}-wal")


def sqlite_version() -> str:
    """The version of the library that reads and writes the file."""
    return sqlite3.sqlite_version


def refuse_foreign_files(path: Path) -> None:
    """Refuse journals beside the file that cannot be its own; SQLite would play them into it, and ruin it.

    What is its own (a crash left it) is rolled back, or checkpointed, by SQLite when the file is opened. Raises
    StoreUnusable.
    """
    real = Path(os.path.realpath(path))
    for ending in ("-journal", "-wal", "-shm"):
        beside = Path(f"{real}{ending}")
        try:
            status = beside.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            owner = f"belongs to user {status.st_uid}" if stat.S_ISREG(status.st_mode) else "is not a file"
            raise StoreUnusable(
                f"{beside} {owner}: it was not left here by the worker",
                hint=f"find out whose it is: ls -l {beside}; once known, move it away: mv {beside} {beside}.foreign",
            )
        if status.st_size and _is_foreign(real, beside, ending):
            raise StoreUnusable(
                f"{beside} does not belong to {real}: SQLite would play it into the database and ruin it",
                hint=f"if the database was copied here, move it away: mv {beside} {beside}.foreign",
            )


def _is_foreign(real: Path, beside: Path, ending: str) -> bool:
    header = _start_of(real)
    if ending == "-wal":
        # The file is switched to WAL before its log is begun, and the log removed before the file is switched back.
        return header.startswith(_MAGIC) and header[_JOURNALLING] != _WAL
    start = _start_of(beside)
    if ending != "-journal" or not start.startswith(_JOURNAL_MAGIC) or not header.startswith(_MAGIC):
        return False
    page = int.from_bytes(header[_PAGE_SIZE], "big")
    return int.from_bytes(start[_JOURNAL_PAGE_SIZE], "big") != (_LARGEST_PAGE if page == 1 else page)


def _start_of(path: Path) -> bytes:
    # Only for a file that no connection of this process is using: closing a descriptor lets go of all POSIX locks that
    # the process has on the file, SQLite's among them (fcntl(2)).
    try:
        with path.open("rb") as file:
            return file.read(_HEADER)
    except OSError:
        return b""
