"""What the drivers raise, as what happens next: by their codes, each with its exit code and a hint."""

from __future__ import annotations

import errno
import sqlite3
from typing import TYPE_CHECKING

import psycopg
import pytest

from worker.errors import Busy, StoreUnusable, TryAgainLater, WorkerError
from worker.store.driver_errors import is_damage, of_postgresql, of_sqlite
from worker.store.files import file_fault

if TYPE_CHECKING:
    from pathlib import Path

_WHO = "wait, or see who holds it: SELECT * FROM pg_stat_activity"


def of_library(code: int, words: str = "the library's words") -> sqlite3.Error:
    """An error as SQLite raises it."""
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_X"
    return error


def of_server(state: str | None, words: str = "the server's words") -> Exception:
    """An error as PostgreSQL raises it, or the way to it."""
    error = psycopg.OperationalError(words)
    error.sqlstate = state
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY, Busy),
        (sqlite3.SQLITE_LOCKED, Busy),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Busy),
        (sqlite3.SQLITE_FULL, TryAgainLater),
        (sqlite3.SQLITE_IOERR_FSYNC, TryAgainLater),
        (sqlite3.SQLITE_IOERR_READ, TryAgainLater),
        (sqlite3.SQLITE_READONLY, StoreUnusable),
        (sqlite3.SQLITE_PERM, StoreUnusable),
        (sqlite3.SQLITE_CORRUPT, StoreUnusable),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoreUnusable),
        (sqlite3.SQLITE_NOTADB, StoreUnusable),
        (sqlite3.SQLITE_ERROR, StoreUnusable),
    ],
)
def test_code_of_sqlite_says_what_happens_next(tmp_path: Path, code: int, kind: type[WorkerError]) -> None:
    """Wait, or change something; the file is named."""
    (tmp_path / "worker.db").touch()
    found = of_sqlite(of_library(code), tmp_path / "worker.db", 30)
    assert type(found) is kind
    assert found.message.startswith(f"{tmp_path}/worker.db")
    assert found.hint


def test_file_that_cannot_be_opened_for_lack_of_descriptors_is_a_matter_of_time(tmp_path: Path) -> None:
    """The file is there and may be opened: it is this process that has too many."""
    (tmp_path / "worker.db").touch()
    found = of_sqlite(of_library(sqlite3.SQLITE_CANTOPEN), tmp_path / "worker.db", 30)
    assert (type(found), "ulimit" in found.hint) == (TryAgainLater, True)


def test_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    """No journal can be made there."""
    found = of_sqlite(of_library(sqlite3.SQLITE_CANTOPEN), tmp_path / "gone" / "worker.db", 30)
    assert (type(found), f"in {tmp_path}/gone no journal can be made" in found.message) == (StoreUnusable, True)


@pytest.mark.parametrize(
    ("state", "kind", "hint"),
    [
        ("55P03", Busy, _WHO),
        ("40P01", Busy, _WHO),
        ("40001", Busy, _WHO),
        ("53100", TryAgainLater, "free some space on the server"),
        ("53200", TryAgainLater, "whether the server runs"),
        ("53300", TryAgainLater, "up to 72"),
        ("57P01", TryAgainLater, "whether the server runs"),
        ("57P03", TryAgainLater, "whether the server runs"),
        ("08006", TryAgainLater, "whether the server runs"),
        ("58030", TryAgainLater, "whether the server runs"),
        ("25006", StoreUnusable, "standby"),
        ("42501", StoreUnusable, "rights"),
        ("XX001", StoreUnusable, "restore a backup"),
        ("42P01", StoreUnusable, "worker store migrate"),
    ],
)
def test_state_of_postgresql_says_what_happens_next(state: str, kind: type[WorkerError], hint: str) -> None:
    """Classes of appendix A; the hint fits."""
    found = of_postgresql(of_server(state), "postgresql://db/x", 30)
    assert (type(found), hint in found.hint) == (kind, True)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("connection failed: Connection refused", TryAgainLater),
        ("connection failed: FATAL: the database system is starting up", TryAgainLater),
        ("connection failed: FATAL: sorry, too many clients already", TryAgainLater),
        ("connection failed: FATAL: password authentication failed for user", StoreUnusable),
        ('connection failed: FATAL: database "x" does not exist', StoreUnusable),
        ("connection failed: FATAL: no pg_hba.conf entry for host", StoreUnusable),
    ],
)
def test_connection_that_was_not_made_is_judged_by_its_words(words: str, kind: type[WorkerError]) -> None:
    """Libpq gives no code then."""
    assert type(of_postgresql(of_server(None, words), "postgresql://db/x", 30)) is kind


def test_connection_that_broke_is_a_matter_of_time() -> None:
    """Whatever the words are."""
    found = of_postgresql(of_server(None, "server closed the line"), "postgresql://db/x", 30)
    assert type(found) is TryAgainLater


@pytest.mark.parametrize(
    ("error", "damaged"),
    [
        (of_library(sqlite3.SQLITE_CORRUPT), True),
        (of_library(sqlite3.SQLITE_CORRUPT_INDEX), True),
        (of_library(sqlite3.SQLITE_NOTADB), True),
        (of_server("XX001"), True),
        (of_server("XX002"), True),
        (of_library(sqlite3.SQLITE_FULL), False),
        (of_server("53100"), False),
    ],
)
def test_damage_is_told_from_other_faults(error: Exception, damaged: bool) -> None:
    """After it, nothing new is begun."""
    assert is_damage(error) is damaged


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, TryAgainLater),
        (errno.EDQUOT, TryAgainLater),
        (errno.EMFILE, TryAgainLater),
        (errno.EIO, TryAgainLater),
        (errno.EROFS, StoreUnusable),
        (errno.EACCES, StoreUnusable),
        (errno.ENOTDIR, StoreUnusable),
    ],
)
def test_error_of_the_file_system_says_what_happens_next(number: int, kind: type[WorkerError]) -> None:
    """Room and descriptors come back; rights have to be given."""
    found = file_fault(OSError(number, "words"), "/x cannot be made", "look at its rights")
    room = "no more may be written (a quota or a limit) (words)"
    words = {errno.ENOSPC: "the disk is full (words)", errno.EDQUOT: room, errno.EFBIG: room}.get(number, "words")
    assert (type(found), found.message, bool(found.hint)) == (kind, f"/x cannot be made: {words}", True)
