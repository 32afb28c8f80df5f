"""A store on doubtful ground: what is found when it is opened, and what is mended without a word to anybody."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from store_helpers import NOW, enrol

from worker.crypto.sealing import Sealer
from worker.errors import Busy, StoreUnusable
from worker.store.files import lock_folder
from worker.store.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def reopen(sqlite_store: Store, sealer: Sealer, tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Opens the store anew, under this path, with this state folder."""
    opened: list[Store] = []

    def again(path: Path | None = None, folder: str = "state") -> Store:
        url = f"sqlite:///{path or sqlite_store.database.path}"
        opened.append(open_store(url, tmp_path / folder, sealer, NOW, lock_wait=0.1))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


def test_database_in_wal_mode_is_switched_back(sqlite_store: Store, reopen) -> None:
    """Another program did it and went: its log is played in, nothing is lost, and the mode is ours again."""
    grant = enrol(sqlite_store)
    sqlite_store.close()
    path = sqlite_store.database.path
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("UPDATE account SET reason = 'from the log'")
    left = path.with_name("worker.db-wal").read_bytes()
    other.close()
    path.with_name("worker.db-wal").write_bytes(left)
    store = reopen()
    assert store.accounts.by_id(grant.account.id).reason == "from the log"
    assert not path.with_name("worker.db-wal").exists()
    assert path.read_bytes()[18:20] == b"\1\1"


def test_database_that_another_program_holds_in_wal_mode_is_named(sqlite_store: Store, reopen) -> None:
    """It cannot be switched back now: who to look for, and what to do."""
    sqlite_store.close()
    other = sqlite3.connect(sqlite_store.database.path, isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("SELECT count(*) FROM account").fetchall()
    with pytest.raises(Busy, match="in WAL mode and in use by another program") as caught:
        reopen()
    assert "fuser" in caught.value.hint
    other.close()


def test_hard_link_is_refused(sqlite_store: Store, reopen, tmp_path: Path) -> None:
    """Each name has a journal of its own: a crash under one cannot be mended under the other."""
    sqlite_store.close()
    os.link(sqlite_store.database.path, tmp_path / "second.db")
    with pytest.raises(StoreUnusable, match="2 names"):
        reopen()


def test_fifo_in_the_place_of_the_file_is_refused(sqlite_store: Store, reopen, tmp_path: Path) -> None:
    """Opening it would hang."""
    os.mkfifo(tmp_path / "fifo.db", 0o600)
    with pytest.raises(StoreUnusable, match="is not a file"):
        reopen(tmp_path / "fifo.db")


def test_large_file_is_looked_over_in_part(sqlite_store: Store, reopen) -> None:
    """The cost of a start does not grow with the file; a page of a small table that is damaged is found."""
    enrol(sqlite_store)
    sqlite_store.close()
    path = sqlite_store.database.path
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("CREATE TABLE ballast (a)")
        for _ in range(34):
            raw.execute("INSERT INTO ballast VALUES (zeroblob(1048576))")
        page = raw.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'key_check'").fetchone()[0]
    reopen().close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 100)
    with pytest.raises(StoreUnusable, match=r"damaged|malformed"):
        reopen()


def test_store_check_lists_what_is_damaged(sqlite_store: Store) -> None:
    """As findings, not as an error of the driver."""
    enrol(sqlite_store)
    sqlite_store.close()
    with sqlite_store.database.path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096 * 4)
    assert sqlite_store.database.integrity_faults() != []


# Locks beside the file


def test_same_database_excludes_whatever_the_state_folder_is(sqlite_store: Store, reopen) -> None:
    """Two configurations with one database: the locks are the database's."""
    other = reopen(folder="elsewhere")
    with sqlite_store.locks.hold("daemon"), pytest.raises(Busy):
        other.locks.hold("daemon", patience=0).__enter__()


def test_same_database_excludes_through_a_link(sqlite_store: Store, reopen, tmp_path: Path) -> None:
    """The folder lies beside the real file."""
    (tmp_path / "link.db").symlink_to(sqlite_store.database.path)
    other = reopen(tmp_path / "link.db", folder="elsewhere")
    with sqlite_store.locks.hold("daemon"), pytest.raises(Busy):
        other.locks.hold("daemon", patience=0).__enter__()
    assert lock_folder(tmp_path / "link.db") == lock_folder(sqlite_store.database.path)


def test_lock_folder_is_private(sqlite_store: Store) -> None:
    """As everything beside the database."""
    with sqlite_store.locks.hold("daemon"):
        assert lock_folder(sqlite_store.database.path).stat().st_mode & 0o777 == 0o700


def test_renewed_lock_stands_again_after_the_folder_was_cleaned(sqlite_store: Store) -> None:
    """The next one would lock a file of its own; the holder looks, and locks that as well."""
    with sqlite_store.locks.hold("daemon", note="the first"):
        (lock_folder(sqlite_store.database.path) / "daemon.lock").unlink()
        sqlite_store.locks.renew("daemon")
        with pytest.raises(Busy, match="the first"):
            sqlite_store.locks.hold("daemon", patience=0).__enter__()


def test_lost_lock_that_somebody_else_has_is_told(sqlite_store: Store, reopen) -> None:
    """Who has it now."""
    with sqlite_store.locks.hold("daemon"):
        (lock_folder(sqlite_store.database.path) / "daemon.lock").unlink()
        with reopen().locks.hold("daemon", note="the second"), pytest.raises(Busy, match="the second"):
            sqlite_store.locks.renew("daemon")


def test_holder_of_a_file_lock_does_not_outlive_it(sqlite_store: Store) -> None:
    """The kernel frees it when the process is no more, and not before."""
    assert sqlite_store.locks.may_outlive(NOW, NOW, 60) == 0
