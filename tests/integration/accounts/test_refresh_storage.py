"""A refresh token is never sent while the store cannot be written, whatever is the matter with it.

Each fault is a real one: a full disk, a disk without inodes, one mounted read-only, a file that is locked, damaged,
deleted or replaced. The provider counts.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from account_house import House
from small_disk import SmallDisk, mounted

from worker.accounts.keeping import NotStored
from worker.errors import Busy, StoreUnusable, TryAgainLater, WorkerError
from worker.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


#: Seconds that these stores wait for a lock.
LOCK_WAIT = 0.2


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Where the store lies."""
    with mounted(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def small(disk, tmp_path, sealer, clock, sandbox) -> Iterator[House]:
    """An enrolled account whose store lies on a small disk."""
    store = open_store(f"sqlite:///{disk.path}/worker.db", disk.path, sealer, clock.now(), lock_wait=LOCK_WAIT)
    house = House(tmp_path, store, clock, sandbox)
    house.enrol()
    house.refresher = house.new_refresher(store_pauses=(0.02, 0.05))
    yield house
    store.close()


def database(house: House) -> Path:
    return house.store.database.path


class Fault:
    """Something that is the matter, and its end."""

    #: What the refresh raises, and what it says.
    raised: type[WorkerError]
    words: str

    def begin(self, house: House, disk: SmallDisk) -> None:
        """Do it."""
        raise NotImplementedError

    def end(self, house: House, disk: SmallDisk) -> None:
        """Mend it."""
        raise NotImplementedError


class FullDisk(Fault):
    """No room for a journal."""

    raised, words = TryAgainLater, r"worker\.db: .*disk is full|No space left"

    def begin(self, house, disk):
        disk.fill()

    def end(self, house, disk):
        disk.empty()


class NoInodes(Fault):
    """Room, but no journal can be made."""

    raised, words = TryAgainLater, "no journal can be made: No space left|cannot be opened: the disk is full"

    def begin(self, house, disk):
        disk.use_up_inodes()

    def end(self, house, disk):
        disk.empty()


class ReadOnly(Fault):
    """As the kernel does it after an error of the disk."""

    raised, words = StoreUnusable, "Read-only file system"

    def begin(self, house, disk):
        disk.forbid_writing()

    def end(self, house, disk):
        disk.allow_writing()


class Locked(Fault):
    """Another program keeps it for itself."""

    raised, words = Busy, r"worker\.db was locked by another process for 0\.2 s"

    def begin(self, house, disk):
        self.other = sqlite3.connect(database(house), isolation_level=None)
        self.other.execute("BEGIN EXCLUSIVE")

    def end(self, house, disk):
        self.other.close()


class Deleted(Fault):
    """Under the open file."""

    raised, words = StoreUnusable, "was deleted while it was in use; its content was saved to"

    def begin(self, house, disk):
        database(house).unlink()

    def end(self, house, disk):
        (saved,) = disk.path.glob("worker.db.rescued-*")
        saved.rename(database(house))


class Replaced(Fault):
    """By an empty database, made beside the process that uses the old one."""

    raised, words = StoreUnusable, "was replaced by another file while it was in use; its content was saved to"

    def begin(self, house, disk):
        database(house).unlink()
        with closing(sqlite3.connect(database(house))) as other:
            other.execute("CREATE TABLE account (id)")

    def end(self, house, disk):
        (saved,) = disk.path.glob("worker.db.rescued-*")
        saved.rename(database(house))


class NoLocks(Fault):
    """Something stands in the place of the lock folder."""

    raised, words = StoreUnusable, r"worker\.db\.locks"

    def begin(self, house, disk):
        (disk.path / "worker.db.locks").rename(disk.path / "away")
        (disk.path / "worker.db.locks").touch()

    def end(self, house, disk):
        (disk.path / "worker.db.locks").unlink()


class InWalMode(Fault):
    """Another program has switched it, and still uses it."""

    raised, words = Busy, "is in WAL mode and in use by another program"

    def begin(self, house, disk):
        house.store.database.engine.dispose()
        self.other = sqlite3.connect(database(house), isolation_level=None)
        self.other.execute("PRAGMA journal_mode=WAL")
        self.other.execute("SELECT count(*) FROM account").fetchall()

    def end(self, house, disk):
        self.other.close()


FAULTS = [FullDisk, NoInodes, ReadOnly, Locked, Deleted, Replaced, NoLocks, InWalMode]


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_refresh_is_not_begun_while_the_store_cannot_be_written(small: House, disk: SmallDisk, kind) -> None:
    """No token call, a clear word; and when the fault is mended, the refresh succeeds with no other ado."""
    fault, account = kind(), small.account()
    fault.begin(small, disk)
    with pytest.raises(fault.raised, match=fault.words) as caught:
        small.refresher.refresh(account.id, 1)
    assert (small.refresh_calls, bool(caught.value.hint)) == (0, True)
    fault.end(small, disk)
    assert small.refresher.refresh(account.id, 1).generation == 2
    assert (small.refresh_calls, small.account().state) == (1, "active")


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_fault_has_its_exit_code(small: House, disk: SmallDisk, kind) -> None:
    """75 for what time or room mends, 78 for what somebody must change."""
    fault, account = kind(), small.account()
    fault.begin(small, disk)
    with pytest.raises(WorkerError) as caught:
        small.refresher.refresh(account.id, 1)
    fault.end(small, disk)
    assert caught.value.exit_code == (75 if issubclass(fault.raised, TryAgainLater) else 78)


def test_damaged_page_ends_all_refreshing(small: House) -> None:
    """Found by the first who meets it; from then on nobody begins anything, and no token is sent."""
    account = small.account()
    small.store.close()
    damage(database(small))
    for _ in range(2):
        with pytest.raises(StoreUnusable, match=r"malformed|damaged") as caught:
            small.refresher.refresh(account.id, 1)
        assert "restore a backup" in caught.value.hint
    assert small.refresh_calls == 0


def test_damaged_page_is_found_when_the_store_is_opened(small: House, sealer, clock) -> None:
    """Before anything is done with it."""
    small.store.close()
    damage(database(small))
    with pytest.raises(StoreUnusable, match=r"worker\.db.*(damaged|malformed)") as caught:
        open_store(f"sqlite:///{database(small)}", database(small).parent, sealer, clock.now())
    assert caught.value.exit_code == 78


def damage(path: Path) -> None:
    """Overwrite the middle of every page but the first, as a bad sector or a stray write does."""
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(page * 4096 + 3)
            file.write(b"\xff" * 8)


class TestBetweenTheAnswerAndTheCommit:
    """The refresh token is spent, the new tokens are in memory: now the store fails."""

    @pytest.fixture
    def under_way(self, small: House, sandbox) -> Iterator[Callable[[], list[object]]]:
        """A refresh whose answer is on its way; calling it waits for what came of it."""
        account, results = small.account(), []
        sandbox.set(token_delay=0.5)

        def refresh() -> None:
            try:
                results.append(small.refresher.refresh(account.id, 1).generation)
            except WorkerError as error:
                results.append(error)

        thread = threading.Thread(target=refresh)
        thread.start()
        until(lambda: sandbox.stats()["peak_concurrent_token_calls"])

        def finished() -> list[object]:
            thread.join()
            return results

        yield finished
        thread.join()

    def test_full_disk_costs_nothing(self, small, disk, under_way, sandbox):
        """Kept in memory until there is room."""
        disk.fill()
        (raised,) = under_way()
        assert isinstance(raised, NotStored)
        disk.empty()
        until(lambda: small.grant().generation == 2)
        assert (small.refresh_calls, sandbox.stats()["reuse_detected"]) == (1, 0)

    def test_deleted_file_costs_nothing(self, small, disk, under_way, sandbox):
        """Kept in memory until the file is back; its content was saved meanwhile."""
        database(small).unlink()
        (raised,) = under_way()
        assert isinstance(raised, NotStored)
        (saved,) = disk.path.glob("worker.db.rescued-*")
        saved.rename(database(small))
        until(lambda: not small.refresher._keeper.waiting)
        assert small.grant().generation == 2
        assert (small.refresh_calls, sandbox.stats()["reuse_detected"]) == (1, 0)

    def test_locked_file_costs_nothing(self, small, disk, under_way, sandbox):
        """Kept in memory until the other program lets go."""
        other = sqlite3.connect(database(small), isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        (raised,) = under_way()
        assert isinstance(raised, NotStored)
        other.close()
        until(lambda: small.grant().generation == 2)
        assert (small.refresh_calls, sandbox.stats()["reuse_detected"]) == (1, 0)


class TestTakenAway:
    """What becomes of a file that is deleted or replaced under a process."""

    def test_saved_copy_holds_what_was_acknowledged(self, small, disk, sealer, clock):
        """It opens as a store, with the grant in it, private."""
        database(small).unlink()
        with pytest.raises(StoreUnusable):
            small.store.accounts.list()
        (saved,) = disk.path.glob("worker.db.rescued-*")
        assert saved.stat().st_mode & 0o777 == 0o600
        shutil.copy(saved, disk.path / "other.db")
        other = open_store(f"sqlite:///{disk.path}/other.db", disk.path, sealer, clock.now())
        assert other.grants.read(other.accounts.get("arlo", "acme").id).generation == 1
        other.close()

    def test_next_process_does_not_begin_with_an_empty_store(self, small, disk, sealer, clock):
        """There is a saved copy and no database: somebody has to say which it shall be."""
        database(small).unlink()
        with pytest.raises(StoreUnusable):
            small.store.accounts.list()
        with pytest.raises(StoreUnusable, match="taken away under a process, which saved this copy") as caught:
            open_store(f"sqlite:///{database(small)}", disk.path, sealer, clock.now())
        assert caught.value.hint.startswith("mv ")
        assert not database(small).exists()

    def test_nothing_can_be_saved_on_a_full_disk_and_says_where_it_is(self, small, disk):
        """The content is still in the process: it must not be ended."""
        database(small).unlink()
        disk.fill()
        with pytest.raises(StoreUnusable, match="could not be saved") as caught:
            small.store.accounts.list()
        assert f"cp /proc/{os.getpid()}/fd/" in caught.value.hint
        disk.empty()

    def test_write_of_a_replaced_file_goes_nowhere(self, small, disk):
        """Not into the new file, whose owner is somebody else."""
        account = small.account()
        Replaced().begin(small, disk)
        with pytest.raises(StoreUnusable):
            small.store.accounts.pause(account, 0.0, "")
        with closing(sqlite3.connect(database(small))) as other:
            assert other.execute("SELECT count(*) FROM account").fetchone() == (0,)


def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    pause = threading.Event()
    for _ in range(400):
        if condition():
            return
        pause.wait(0.05)
    pytest.fail("it did not happen")
