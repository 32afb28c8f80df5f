"""Locks: across threads and processes, on both databases alike; dead with their holder, never before."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from store_helpers import race

from worker.errors import Busy, StoreUnusable
from worker.store.locks import FileLocks, process_note

if TYPE_CHECKING:
    from worker.store.store import Store


def _taken(store: Store, name: str) -> bool:
    try:
        with store.locks.hold(name, patience=0):
            return False
    except Busy:
        return True


def test_lock_keeps_other_threads_out(store: Store) -> None:
    """Sixteen threads, each counting without a lock of its own: nobody overtakes."""
    inside: list[int] = []
    most: list[int] = []

    def act(number: int) -> object:
        with store.locks.hold("counter"):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)
        return "done"

    assert race(16, act) == ["done"] * 16
    assert set(most) == {1}


def test_lock_keeps_other_processes_out(store: Store, spawn) -> None:
    """Held there, taken here; let go there, free here."""
    process = spawn("hold", store, "account-1")
    assert process.line() == "held"
    assert _taken(store, "account-1")
    process.go_on()
    assert process.line() == "let go"
    assert not _taken(store, "account-1")


def test_lock_dies_with_its_holder(store: Store, spawn) -> None:
    """SIGKILL: no time-to-live to wait for."""
    process = spawn("hold", store, "account-1")
    assert process.line() == "held"
    process.kill()
    with store.locks.hold("account-1", patience=10):
        pass


def test_waiter_gets_the_lock_when_its_holder_dies(store: Store, spawn) -> None:
    """Already waiting when it happens."""
    process = spawn("hold", store, "account-1")
    assert process.line() == "held"
    got = threading.Event()

    def wait() -> None:
        with store.locks.hold("account-1", patience=60):
            got.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert not got.wait(0.2)
    process.kill()
    waiter.join()
    assert got.is_set()


def test_busy_names_the_holding_process(store: Store, spawn) -> None:
    """An operator can look at it."""
    process = spawn("hold", store, "account-1")
    assert process.line() == "held"
    with pytest.raises(Busy, match=f"account-1 is held by .*process {process.process.pid} on ") as caught:
        store.locks.hold("account-1", patience=0).__enter__()
    assert caught.value.evidence["lock"] == "account-1"
    assert caught.value.exit_code == 75


def test_busy_repeats_the_holders_note(store: Store) -> None:
    """What it said it is doing."""
    with store.locks.hold("account-1", note="restoring a backup"), pytest.raises(Busy, match="restoring a backup"):
        store.locks.hold("account-1", patience=0.01).__enter__()


def test_locks_of_different_names_do_not_meet(store: Store) -> None:
    """Every account has its own."""
    with store.locks.hold("account-1"):
        assert not _taken(store, "account-2")


def test_lock_is_freed_when_the_block_raises(store: Store) -> None:
    """However it ends."""
    with pytest.raises(ZeroDivisionError), store.locks.hold("account-1"):
        _ = 1 / 0
    assert not _taken(store, "account-1")


def test_lock_is_not_reentrant(store: Store) -> None:
    """Two holds of one thread exclude each other, as two threads do."""
    with store.locks.hold("account-1"):
        assert _taken(store, "account-1")


@pytest.mark.parametrize(
    "name",
    [
        "run-a/b-1",
        "../../etc/passwd",
        "..",
        "ünïcödé",
        "x" * 300,
        "\N{GRINNING FACE}" * 80,
        "a b\nc",
        "\N{MATHEMATICAL SCRIPT CAPITAL A}" * 80,
    ],
)
def test_any_name_makes_a_lock(store: Store, name: str) -> None:
    """Job names come from a file that people write."""
    with store.locks.hold(name):
        assert _taken(store, name)
        assert not _taken(store, f"{name}x")


def test_names_that_look_alike_are_different_locks(store: Store) -> None:
    """What is replaced in a file name is still told apart."""
    with store.locks.hold("run-a/b-1"):
        assert not _taken(store, "run-a_b-1")
        assert not _taken(store, "run-a:b-1")


# Files


def test_lock_files_lie_in_their_folder_and_are_private(tmp_path: Path) -> None:
    """0700 and 0600 under umask 000, whatever the lock is called."""
    before = os.umask(0)
    try:
        with FileLocks(tmp_path / "locks").hold("../account-1"):
            pass
    finally:
        os.umask(before)
    (file,) = (tmp_path / "locks").iterdir()
    modes = (stat.S_IMODE((tmp_path / "locks").stat().st_mode), stat.S_IMODE(file.stat().st_mode))
    assert modes == (0o700, 0o600)


def test_deleted_lock_file_does_not_double_the_lock(tmp_path: Path) -> None:
    """Somebody cleans the folder while one holds it: two who come after exclude each other all the same."""
    locks = FileLocks(tmp_path / "locks")
    with locks.hold("a"):
        (tmp_path / "locks" / "a.lock").unlink()
        with locks.hold("a", patience=0), pytest.raises(Busy):
            locks.hold("a", patience=0).__enter__()


def test_deleted_lock_file_does_not_hang_its_waiters(tmp_path: Path) -> None:
    """Many come and go while the file is deleted under them: all get their turn, one at a time."""
    locks = FileLocks(tmp_path / "locks")
    counter = [0]

    def act(number: int) -> object:
        for _ in range(10):
            with locks.hold("a"):
                seen = counter[0]
                counter[0] = seen + 1
            if number == 0:
                (tmp_path / "locks" / "a.lock").unlink(missing_ok=True)
        return "done"

    assert race(6, act) == ["done"] * 6


def test_deleted_lock_folder_is_made_again(tmp_path: Path) -> None:
    """A cleaner of old folders must not end every refresh."""
    locks = FileLocks(tmp_path / "locks")
    shutil.rmtree(tmp_path / "locks")
    with locks.hold("a"):
        assert stat.S_IMODE((tmp_path / "locks").stat().st_mode) == 0o700


def test_lock_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    """A file in its place."""
    locks = FileLocks(tmp_path / "locks")
    (tmp_path / "locks").rmdir()
    (tmp_path / "locks").write_text("")
    with pytest.raises(StoreUnusable, match="locks"):
        locks.hold("a").__enter__()


def test_forked_child_does_not_keep_the_lock(sqlite_store: Store, spawn) -> None:
    """A job forks something that lives on with our open files: letting go frees the lock all the same."""
    process = spawn("hold-with-child", sqlite_store, "account-1")
    assert process.line() == "let go"
    assert not _taken(sqlite_store, "account-1")
    process.go_on()
    assert process.end() == 0


def test_forked_child_that_leaves_the_block_does_not_let_go(sqlite_store: Store, spawn) -> None:
    """What it does on its way out is done to the parent's lock: both have the same open file."""
    process = spawn("hold-with-leaving-child", sqlite_store, "account-1")
    assert process.line() == "left"
    assert _taken(sqlite_store, "account-1")
    process.go_on()
    assert process.end() == 0


def test_process_note_names_process_and_host() -> None:
    """For messages about who holds what."""
    assert process_note() == f"process {os.getpid()} on {os.uname().nodename}"


# Advisory locks


def test_advisory_lock_survives_other_transactions(postgresql_store: Store) -> None:
    """It belongs to a session of its own, not to a pooled connection that somebody gives back."""
    with postgresql_store.locks.hold("account-1"):
        for _ in range(3):
            with postgresql_store.database.write() as session:
                session.execute(text("SELECT 1"))
        assert _taken(postgresql_store, "account-1")


def test_advisory_lock_of_another_database_is_not_ours(postgresql_store: Store, new_postgresql, spawn) -> None:
    """Two stores on one server do not wait for each other."""
    process = spawn("hold", new_postgresql(), "account-1")
    assert process.line() == "held"
    assert not _taken(postgresql_store, "account-1")


def test_advisory_lock_is_free_the_moment_it_is_let_go(postgresql_store: Store) -> None:
    """Not when the server gets around to ending the session: whoever asks next may have no patience."""
    for _ in range(20):
        with postgresql_store.locks.hold("account-1", patience=0):
            pass


def test_advisory_lock_whose_session_the_server_ended_ends_quietly(postgresql_store: Store) -> None:
    """The block's own work decides how it ends; whoever came meanwhile has a newer fence or generation."""
    with postgresql_store.locks.hold("account-1"):
        with postgresql_store.database.write() as session:
            session.execute(
                text(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name LIKE 'headless-worker: %'"
                )
            )
        assert _taken(postgresql_store, "account-1"), "threads of one process are kept apart without the server"
    assert not _taken(postgresql_store, "account-1")


def test_advisory_lock_on_a_server_that_is_gone_says_so(postgresql_store: Store, new_postgresql) -> None:
    """An error of ours, with a hint."""
    with postgresql_store.database.write() as session:
        name = session.execute(text("SELECT current_database()")).scalar_one()
    postgresql_store.close()
    admin = new_postgresql()
    import psycopg

    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" RENAME TO "{name}_moved"')
        try:
            with pytest.raises(StoreUnusable, match="does not exist"):
                postgresql_store.locks.hold("account-1").__enter__()
        finally:
            connection.execute(f'ALTER DATABASE "{name}_moved" RENAME TO "{name}"')
