"""The ground under a database: what the list of mounts says about a path, and files that do not belong to it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from worker.errors import StoreUnusable
from worker.store.ground import file_system, refuse_foreign_files, remarks

if TYPE_CHECKING:
    from pathlib import Path

MOUNTS = r"""
/dev/vda1 / ext4 rw,relatime 0 0
tmpfs /run tmpfs rw,nosuid 0 0
overlay /var/lib/docker/overlay2/x overlay rw,lowerdir=/a 0 0
filer:/export /srv/nfs nfs4 rw,hard 0 0
//filer/share /srv/cifs cifs rw 0 0
sshfs#host:/ /srv/ssh fuse.sshfs rw 0 0
/dev/vdb1 /srv/nfs/local xfs rw 0 0
/dev/vdc1 /srv/with\040space\134slash ext4 rw 0 0
/dev/vdd1 /twice ext4 rw 0 0
filer:/twice /twice nfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/worker/worker.db", "ext4"),
        ("/run/worker.db", "tmpfs"),
        ("/running/worker.db", "ext4"),
        ("/srv/nfs/worker.db", "nfs4"),
        ("/srv/nfs", "nfs4"),
        ("/srv/nfs/local/worker.db", "xfs"),
        ("/srv/with space\\slash/worker.db", "ext4"),
        ("/twice/worker.db", "nfs"),
    ],
)
def test_file_system_is_the_innermost_and_latest(path: str, kind: str) -> None:
    """The longest mount point that holds the path; of two at the same place, the one that covers the other."""
    found = file_system(path, MOUNTS)
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize("mounts", ["", "nonsense", "a b", "\n\n"])
def test_file_system_is_unknown_when_the_list_does_not_say(mounts: str) -> None:
    """No error: a container may hide it."""
    assert file_system("/x", mounts) is None


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("nfs", "network"),
        ("nfs4", "network"),
        ("cifs", "network"),
        ("smb3", "network"),
        ("9p", "network"),
        ("fuse.sshfs", "network"),
        ("fuse", "network"),
        ("tmpfs", "memory"),
        ("overlay", "overlay"),
        ("ext4", None),
        ("xfs", None),
        ("btrfs", None),
        ("zfs", None),
    ],
)
def test_remark_names_what_cannot_be_relied_upon(tmp_path: Path, kind: str, said: str | None) -> None:
    """A share, memory, a container's layer; nothing about a disk."""
    found = remarks(tmp_path / "worker.db", mounts=f"x / {kind} rw 0 0\n")
    assert [remark.kind for remark in found] == ([said] if said else [])


def test_remark_names_the_place_and_what_to_do(tmp_path: Path) -> None:
    """The path, the kind, the mount point."""
    (remark,) = remarks(tmp_path / "worker.db", mounts="filer:/x / nfs4 rw 0 0\n")
    assert remark.message.startswith(f"{tmp_path}/worker.db lies on nfs4 (/)")
    assert "local disk" in remark.hint


def test_remark_tells_of_a_log_of_another_program(tmp_path: Path) -> None:
    """It has switched the file to WAL mode."""
    (tmp_path / "worker.db-wal").touch()
    assert [remark.kind for remark in remarks(tmp_path / "worker.db", mounts="")] == ["wal"]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database in rollback mode."""
    path = tmp_path / "worker.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
    return path


def leave_behind(path: Path, *, wal: bool, page_size: int = 4096) -> None:
    """What a process leaves that is killed in the middle of a transaction on this database."""
    mode = "WAL" if wal else "DELETE"
    code = (
        "import os, signal, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        f"connection.execute('PRAGMA page_size={page_size}')\n"
        f"connection.execute('PRAGMA journal_mode={mode}')\n"
        "connection.execute('PRAGMA cache_size=1')\n"
        "connection.execute('CREATE TABLE IF NOT EXISTS t (a)')\n"
        "connection.execute('CREATE TABLE IF NOT EXISTS u (a)')\n"
        f"{'' if wal else 'connection.execute(chr(66) + chr(69) + chr(71) + chr(73) + chr(78))'}\n"
        "for number in range(50): connection.execute('INSERT INTO u VALUES (?)', (b'x' * 4000,))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)


def test_own_journal_is_not_refused(database: Path) -> None:
    """A crash left it: SQLite rolls it back."""
    leave_behind(database, wal=False)
    assert database.with_name("worker.db-journal").stat().st_size
    refuse_foreign_files(database)


def test_own_log_is_not_refused(database: Path) -> None:
    """Another program switched to WAL mode and was killed: SQLite plays it in."""
    leave_behind(database, wal=True)
    assert database.with_name("worker.db-wal").stat().st_size
    refuse_foreign_files(database)


def test_log_beside_a_database_that_is_not_in_wal_mode_is_refused(database: Path, tmp_path: Path) -> None:
    """A database was copied here, and the log of its predecessor left: SQLite would play it in."""
    leave_behind(tmp_path / "other.db", wal=True)
    (tmp_path / "other.db-wal").rename(tmp_path / "worker.db-wal")
    with pytest.raises(StoreUnusable, match=r"worker\.db-wal does not belong to") as caught:
        refuse_foreign_files(database)
    assert caught.value.hint.endswith(f"mv {tmp_path}/worker.db-wal {tmp_path}/worker.db-wal.foreign")


def test_journal_of_other_pages_is_refused(database: Path, tmp_path: Path) -> None:
    """A hot journal with pages of another size was never this file's."""
    leave_behind(tmp_path / "other.db", wal=False, page_size=1024)
    (tmp_path / "other.db-journal").rename(tmp_path / "worker.db-journal")
    with pytest.raises(StoreUnusable, match=r"worker\.db-journal does not belong to"):
        refuse_foreign_files(database)


@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
def test_thing_that_is_no_file_beside_the_database_is_refused(database: Path, ending: str) -> None:
    """A link leads SQLite elsewhere."""
    database.with_name(f"worker.db{ending}").symlink_to("/etc/passwd")
    with pytest.raises(StoreUnusable, match=f"worker.db{ending} is not a file"):
        refuse_foreign_files(database)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_journal_of_another_user_is_refused(database: Path) -> None:
    """Whoever ran a command as the wrong user left it."""
    journal = database.with_name("worker.db-journal")
    journal.write_bytes(b"x")
    os.chown(journal, 65534, 65534)
    with pytest.raises(StoreUnusable, match="belongs to user 65534"):
        refuse_foreign_files(database)
