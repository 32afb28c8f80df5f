"""Backup and restore as an operator does them, against a provider that kills the grant when a spent token is sent."""

from __future__ import annotations

import os
import pty
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from servers import Sandbox
from workplace import COMMAND, PATIENCE

from worker.sandbox import give_consent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workplace import Workplace

JOBS = '[jobs.good]\nuses = "jobs_of_test.good"\nintegration = "api"\nevery = "1h"\n'
JOB_FILE = '''\
from worker import Context, job


@job()
def good(ctx: Context) -> None:
    """Copy one row."""
    ctx.get("events", params={"top": 1})
    ctx.emit("rows", [{"id": 1}], key="id")
    ctx.checkpoint(at=1)
'''


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A provider that rotates refresh tokens."""
    with Sandbox(access_ttl=3600) as server:
        yield server


@pytest.fixture
def place(workplace: Workplace, sandbox: Sandbox) -> Workplace:
    """Two accounts: alice, whose tokens are used after the backup, and bob, whose are not."""
    workplace.configure(sandbox.integration())
    workplace.configure(JOBS)
    workplace.add_job("jobs_of_test.py", JOB_FILE)
    workplace("secrets", "set", "api", given=f"{sandbox.client.secret}\n")
    for user in ("alice", "bob"):
        workplace.paste(user, lambda url, user=user: give_consent(url, user))  # type: ignore[misc]
    workplace("jobs", "run", "good")
    return workplace


def _use(place: Workplace, sandbox: Sandbox, user: str, times: int = 1) -> None:
    """Let the access token lapse, and run a job: one refresh, one rotation."""
    for _ in range(times):
        sandbox.control.expire(user)
        place("jobs", "run", "good", "--account", user)


def _restore(place: Workplace) -> dict[str, Any]:
    report: dict[str, Any] = place("store", "restore", "backup.db", "--json", expect=3).json
    return report


def test_spent_tokens_of_a_restored_backup_are_never_sent(place: Workplace, sandbox: Sandbox) -> None:
    """Not by hand, not by the daemon; the other account goes on."""
    place("store", "backup", "backup.db")
    _use(place, sandbox, "alice", times=2)
    before = sandbox.refreshes("alice")
    _restore(place)
    sandbox.control.expire()
    assert place("jobs", "run", "good", expect=None).code == 3
    with place.daemon() as daemon:
        place.wait_for_run("bob", lambda run: run["state"] == "succeeded", "bob's run")
        daemon.stop()
    assert sandbox.refreshes("alice") == before
    assert place.account("alice")["state"] == "needs_consent"
    assert place.account("bob")["state"] == "active"


def test_consent_after_a_restore_is_all_it_takes(place: Workplace, sandbox: Sandbox) -> None:
    """The account goes on, and its new grant is alive after several refreshes."""
    place("store", "backup", "backup.db")
    _use(place, sandbox, "alice", times=2)
    _restore(place)
    place.paste("alice", lambda url: give_consent(url, "alice"))
    _use(place, sandbox, "alice", times=2)
    assert place.account("alice")["state"] == "active"


def test_restore_names_accounts_reasons_and_remedies(place: Workplace, sandbox: Sandbox) -> None:
    """In the report, in words, in the status and in the account's history."""
    place("store", "backup", "backup.db")
    _use(place, sandbox, "alice", times=2)
    place.paste("carol", lambda url: give_consent(url, "carol"))
    told = place("store", "restore", "backup.db", expect=3)
    assert "generation 3 was in use since: the old one is spent and is never sent" in told.out
    assert "mend it: worker enroll api alice" in told.out
    assert "mend it: worker enroll api carol" in told.out
    assert "is spent" in place("status", expect=3).out
    assert "is spent" in place("accounts", "why", "api", "alice").out


def test_restore_without_anything_spent_answers_0(place: Workplace) -> None:
    """A backup of this minute."""
    made = place("store", "backup", "backup.db", "--json").json
    report = place("store", "restore", "backup.db", "--json").json
    assert (made["accounts"], report["accounts"], report["marked"], report["lost"]) == (2, 2, [], [])


def test_old_database_copied_back_by_hand_is_recognised(place: Workplace, sandbox: Sandbox, tmp_path: Path) -> None:
    """Nobody has called `store restore`; the first command that opens the store finds out."""
    database = place.folder / "state" / "worker.db"
    shutil.copy(database, tmp_path / "copy.db")
    _use(place, sandbox, "alice", times=2)
    before = sandbox.refreshes("alice")
    database.write_bytes((tmp_path / "copy.db").read_bytes())
    sandbox.control.expire()
    done = place("jobs", "run", "good", "--account", "alice", expect=None)
    assert done.code == 3
    assert "older than it was" in done.err
    assert sandbox.refreshes("alice") == before


def test_doctor_sees_an_old_copy_and_marks_nothing(place: Workplace, sandbox: Sandbox, tmp_path: Path) -> None:
    """So the newer file can still be put back, and nobody has to consent."""
    database = place.folder / "state" / "worker.db"
    shutil.copy(database, tmp_path / "old.db")
    _use(place, sandbox, "alice")
    shutil.copy(database, tmp_path / "new.db")
    database.write_bytes((tmp_path / "old.db").read_bytes())
    assert "older than its witness: 1 behind (api/alice)" in place("doctor", "--offline", expect=78).out
    assert "OLD COPY" in place("status", expect=1).out
    database.write_bytes((tmp_path / "new.db").read_bytes())
    place("doctor", "--offline")
    _use(place, sandbox, "alice")


def test_restore_is_undone_by_restoring_what_was_kept_aside(place: Workplace, sandbox: Sandbox) -> None:
    """The wrong backup, by mistake: the accounts that it flagged work again without anybody's consent."""
    place("store", "backup", "backup.db")
    _use(place, sandbox, "alice", times=2)
    aside = _restore(place)["kept_aside"]
    undone = place("store", "restore", aside, "--json").json
    assert (undone["marked"], undone["lost"]) == ([], [])
    _use(place, sandbox, "alice")
    assert place.account("alice")["state"] == "active"


def test_backup_is_made_and_restore_refused_while_the_daemon_runs(place: Workplace) -> None:
    """The one needs no pause; the other names who is in the way."""
    with place.daemon():
        place("store", "backup", "backup.db")
        refused = place("store", "restore", "backup.db", expect=78)
    with closing(sqlite3.connect(place.folder / "backup.db")) as copy:
        assert copy.execute("SELECT count(*) FROM account").fetchone() == (2,)
    assert "the daemon" in refused.err


def test_restore_without_a_terminal_asks_nobody(place: Workplace) -> None:
    """A script drives it, and what it replaces is kept aside."""
    place("store", "backup", "backup.db")
    report = place("store", "restore", "backup.db", "--json").json
    assert (report["accounts"], Path(report["kept_aside"]).exists()) == (2, True)


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 130), (b"y\n", 0)])
def test_restore_on_a_terminal_asks_first(place: Workplace, answer: bytes, code: int) -> None:
    """Whoever says no keeps the store."""
    place("store", "backup", "backup.db")
    database = place.folder / "state" / "worker.db"
    before = database.stat().st_ino
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    done = subprocess.run(
        [COMMAND, "store", "restore", "backup.db"],
        cwd=place.folder,
        env=place.environment,
        stdin=theirs,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, b"Replace the store by backup.db?" in done.stderr) == (code, True)
    assert (database.stat().st_ino == before) == (code != 0)


def test_job_that_first_ran_after_the_backup_goes_on_at_once(place: Workplace) -> None:
    """Its sink is ahead of the store: the first run finds that out, and the next one follows without a wait."""
    place("store", "backup", "backup.db")
    place.configure(JOBS.replace("jobs.good", "jobs.later"))
    for _ in range(3):
        place("jobs", "run", "later", "--account", "bob")
    place("store", "restore", "backup.db")
    with place.daemon() as daemon:
        done = place.wait_for_run("bob", lambda run: run["job"] == "later" and run["state"] == "succeeded", "bob's run")
        daemon.stop()
    states = [run["state"] for run in place.runs("bob") if run["job"] == "later"]
    assert (states, done["error"]) == (["interrupted", "succeeded"], None)


def test_check_lists_the_faults_of_a_damaged_database(place: Workplace) -> None:
    """Although it cannot be opened any more: what is broken, and the way out."""
    database = place.folder / "state" / "worker.db"
    content = bytearray(database.read_bytes())
    with closing(sqlite3.connect(database)) as connection:
        roots = "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name IN ('account', 'timeline')"
        for (page,) in connection.execute(roots).fetchall():
            content[(page - 1) * 4096 : (page - 1) * 4096 + 64] = b"\x55" * 64
    database.write_bytes(content)
    told = place("store", "check", expect=78)
    assert "worker store restore FILE" in told.err
    faults = place("store", "check", "--json", expect=78).json["faults"]
    assert {fault.split(":")[0] for fault in faults} >= {"account", "timeline"}
    assert all(fault in told.err for fault in faults)


def test_check_of_something_else_says_so(place: Workplace) -> None:
    """Not a database at all."""
    (place.folder / "state" / "worker.db").write_bytes(b"something else, and long enough to be looked at" * 100)
    assert place("store", "check", "--json", expect=78).json["faults"] != []


def test_backup_never_overwrites(place: Workplace) -> None:
    """A mistyped cron line must not cost the only other backup."""
    place("store", "backup", "backup.db")
    before = (place.folder / "backup.db").read_bytes()
    assert "never overwrites" in place("store", "backup", "backup.db", expect=2).err
    assert (place.folder / "backup.db").read_bytes() == before
