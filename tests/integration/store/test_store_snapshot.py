"""The quick look for `worker status`: plain SQL that says the same as the repositories."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from store_helpers import DEAD, LATER, NOW, SILENCE, enrol, entry, look, schedule

from worker.errors import Busy, StoreUnusable, TryAgainLater, WorkerError
from worker.redact import Secret
from worker.states import AccountState, RunState
from worker.store import snapshot
from worker.store.locks import run_lock
from worker.store.records import Finding, RunCounts
from worker.store.runs import RunEnd, RunFilter

if TYPE_CHECKING:
    from worker.store.records import Account
    from worker.store.store import Store


@pytest.fixture
def busy_store(store: Store) -> Store:
    """A bit of everything: accounts in every state, runs of every kind, an incident open and one closed."""
    grants = {
        name: enrol(store, name) for name in ("good", "dead", "failing", "paused", "revoked", "parked", "doubtful")
    }
    store.grants.flag(grants["dead"], DEAD, NOW + 1)
    for step in (2, 3):
        store.grants.fail_refresh(grants["failing"], LATER, NOW + step, not_before=NOW + 60)
    store.accounts.pause(grants["paused"].account, NOW + 0.5, "holiday")
    store.grants.leave_in_doubt(grants["doubtful"], SILENCE, NOW + 6, not_before=NOW)
    store.grants.erase(grants["revoked"].account, NOW + 5)
    store.schedule.ensure("sync", {grant.account.id: NOW + number for number, grant in enumerate(grants.values())})
    store.schedule.ensure("other", {grants["good"].account.id: NOW + 9})
    store.schedule.ensure("gone", {grants["good"].account.id: NOW})
    store.schedule.retire(["sync", "other"])
    store.schedule.park("sync", grants["parked"].account.id, "lacks write", ["write"])
    first = store.schedule.claim(entry(store, grants["good"]), NOW, NOW + 60, "me", "first")
    assert first is not None
    store.runs.finish(first, RunEnd(RunState.SUCCEEDED, RunCounts(rows=7)), NOW + 10)
    assert store.schedule.claim(entry(store, grants["failing"]), NOW + 1, NOW + 60, "me", "first") is not None
    store.runs.skip(entry(store, grants["dead"]), "needs_consent", NOW + 2, NOW + 60)
    for kind in ("down", "client_refused"):
        store.incidents.report("arlo", kind, Finding(kind, f"{kind}!"), NOW, remedy="mend it", not_before=NOW)
    store.incidents.close("arlo", "down", NOW + 1)
    return store


def test_snapshot_of_an_empty_store_is_empty(store: Store) -> None:
    """Every part is there, with nothing in it."""
    assert look(store) == {
        "accounts": {},
        "troubled": [],
        "failing": [],
        "failing_jobs": [],
        "incidents": [],
        "jobs": [],
        "held": [],
        "late": [],
        "backfills": [],
        "routes": [],
        "last_runs": [],
    }


def test_snapshot_counts_accounts_as_the_repository_does(busy_store: Store) -> None:
    """By state."""
    counted: dict[str, int] = {}
    for account in busy_store.accounts.list():
        counted[account.state] = counted.get(account.state, 0) + 1
    assert look(busy_store)["accounts"] == counted


def test_snapshot_lists_accounts_in_trouble_as_the_repository_does(busy_store: Store) -> None:
    """Everything but active: what needs a human before the rest, longest first."""
    expected = [
        {
            "integration": account.integration,
            "account": account.name,
            "state": account.state,
            "cause": account.cause,
            "reason": account.reason,
            "state_since": account.state_since,
        }
        for account in sorted(busy_store.accounts.list(), key=_urgency)
        if account.state != AccountState.ACTIVE
    ]
    assert look(busy_store)["troubled"] == expected
    assert len(expected) == 4


def _urgency(account: Account) -> tuple[bool, bool, float]:
    return account.state != AccountState.NEEDS_CONSENT, account.state != AccountState.IN_DOUBT, account.state_since


def test_snapshot_lists_failing_grants_as_the_repository_does(busy_store: Store) -> None:
    """How often, since when, until when, what came last."""
    found = []
    for name in ("failing", "doubtful"):
        grant = busy_store.grants.read(busy_store.accounts.get("arlo", name).id)
        last = busy_store.timeline.of(grant.account)[-1].message
        facts = (grant.failures, grant.failing_since, grant.not_before, grant.alerted_at, last)
        names = ("failures", "failing_since", "not_before", "alerted_at", "last_answer")
        found.append(dict(zip(names, facts, strict=True)))
        found[-1] |= {"integration": "arlo", "account": name}
    assert look(busy_store)["failing"] == found


def test_snapshot_lists_incidents_as_the_repository_does(busy_store: Store) -> None:
    """The open ones."""
    expected = [
        {
            "integration": incident.integration,
            "kind": incident.kind,
            "opened_at": incident.opened_at,
            "last_at": incident.last_at,
            "occurrences": incident.occurrences,
            "cause": incident.cause,
            "remedy": incident.remedy,
        }
        for incident in busy_store.incidents.list()
    ]
    assert look(busy_store)["incidents"] == expected
    assert len(expected) == 1


def test_snapshot_lists_runs_as_the_repository_does(busy_store: Store) -> None:
    """Newest first."""
    expected = [
        {
            "id": run.id,
            "job": run.job,
            "account_id": busy_store.accounts.get(run.integration, run.account).id,
            "integration": run.integration,
            "account": run.account,
            "state": run.state,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
            "rows": run.counts.rows,
            "error": run.error,
            "note": run.note or None,
        }
        for run in busy_store.runs.list(RunFilter())
    ]
    assert look(busy_store)["last_runs"] == expected
    assert len(expected) == 3


def test_snapshot_sums_up_jobs_as_the_repository_does(busy_store: Store) -> None:
    """Next, last, how many accounts, how many under way or parked; retired jobs are left out."""
    rows = busy_store.schedule.entries()
    expected = [
        {
            "job": job,
            "next_due": min(row.next_due or 0 for row in rows if row.job == job),
            "last_started": last,
            "oldest_success": success,
            "accounts": sum(row.job == job for row in rows),
            "running": sum(row.job == job for row in busy_store.schedule.running()),
            "parked": sum(row.job == job and row.parked != "" for row in rows),
        }
        for job, last, success in (("other", None, None), ("sync", NOW + 1, NOW + 10))
    ]
    assert look(busy_store)["jobs"] == expected


def test_snapshot_keeps_to_its_limit(busy_store: Store) -> None:
    """Of each part."""
    found = look(busy_store, 1)
    assert {len(found[name]) for name in ("troubled", "failing", "incidents", "jobs", "last_runs")} == {1}


def test_snapshot_opens_nothing_sealed(busy_store: Store) -> None:
    """Not even ciphertext leaves through it."""
    assert not any(isinstance(value, bytes) for part in look(busy_store).values() for value in _leaves(part))


def _leaves(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return [leaf for value in part.values() for leaf in _leaves(value)]
    if isinstance(part, list):
        return [leaf for value in part for leaf in _leaves(value)]
    return [part]


def test_snapshot_without_a_database_says_what_to_do(tmp_path: Path) -> None:
    """Nobody has enrolled yet. Looking makes no file."""
    with pytest.raises(StoreUnusable, match="there is no database at") as caught:
        snapshot.take("", tmp_path / "worker.db", 5)
    assert "worker enroll" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_snapshot_of_a_database_without_tables_says_so(database_url: str, tmp_path: Path) -> None:
    """Nothing of ours is in it yet."""
    path = None
    if database_url.startswith("sqlite"):
        path = tmp_path / "empty.db"
        path.touch()
    with pytest.raises(StoreUnusable, match="cannot be read"):
        snapshot.take(database_url, path, 5)


def test_snapshot_of_garbage_says_so(tmp_path: Path) -> None:
    """Something else lies there."""
    (tmp_path / "worker.db").write_text("dear aunt" * 500)
    with pytest.raises(StoreUnusable, match="file is not a database"):
        snapshot.take("", tmp_path / "worker.db", 5)


@pytest.mark.parametrize(("password", "kind"), [("hunter%zz2", StoreUnusable), ("hunter2-secret", TryAgainLater)])
def test_snapshot_of_an_unreachable_server_hides_the_password(password: str, kind: type[WorkerError]) -> None:
    """Also one that the driver stumbles over. A server that is not there may be there later: 75, not 78."""
    with pytest.raises(kind, match="the PostgreSQL store cannot be read") as caught:
        snapshot.take(f"postgresql://worker:{password}@127.0.0.1:1/x", None, 5)
    assert "hunter" not in f"{caught.value} {caught.value.hint} {caught.value.evidence}"


def test_snapshot_after_a_crash_sees_what_was_committed(sqlite_store: Store, spawn) -> None:
    """The daemon was killed in the middle of a transaction: its journal is rolled back by whoever reads first."""
    schedule(sqlite_store, enrol(sqlite_store))
    sqlite_store.secrets.set("arlo", "x", Secret("y"), NOW)
    process = spawn("spill", sqlite_store, "200")
    assert process.line() == "spilled"
    process.kill()
    assert look(sqlite_store)["accounts"] == {"active": 1}


def test_snapshot_of_a_hot_copy_sees_what_was_committed(sqlite_store: Store, spawn, tmp_path: Path) -> None:
    """The same for a copy of file and journal, as a snapshot of the disk gives them."""
    enrol(sqlite_store)
    process = spawn("spill", sqlite_store, "200")
    assert process.line() == "spilled"
    for end in ("", "-journal"):
        shutil.copy(f"{sqlite_store.database.path}{end}", tmp_path / f"copy.db{end}")
    process.kill()
    assert snapshot.take("", tmp_path / "copy.db", 5)["accounts"] == {"active": 1}


def test_snapshot_writes_nothing(sqlite_store: Store) -> None:
    """It only looks."""
    before = sqlite_store.database.path.read_bytes()
    look(sqlite_store)
    assert sqlite_store.database.path.read_bytes() == before


def test_snapshot_of_a_locked_file_is_a_matter_of_time(sqlite_store: Store) -> None:
    """Exit code 75, not 78: nothing has to be changed."""
    sqlite_store.close()
    holder = sqlite3.connect(sqlite_store.database.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Busy, match=r"worker\.db was locked by another process for 0\.1 s"):
        snapshot.take("", sqlite_store.database.path, 5, lock_wait=0.1)
    holder.close()


def test_snapshot_of_a_damaged_file_says_so(sqlite_store: Store) -> None:
    """With the way to a backup."""
    sqlite_store.close()
    with sqlite_store.database.path.open("r+b") as file:
        for page in range(1, 30):
            file.seek(page * 4096 + 3)
            file.write(b"\xff" * 8)
    with pytest.raises(StoreUnusable, match="malformed") as caught:
        snapshot.take("", sqlite_store.database.path, 5)
    assert "restore a backup" in caught.value.hint


def test_run_whose_process_is_gone_is_cut_off(sqlite_store: Store) -> None:
    """Its record says that it runs, and nobody holds its lock."""
    runs = _running(sqlite_store)
    assert snapshot.cut_off(sqlite_store.database.path, runs) == {runs[0]["id"]}


def test_run_whose_lock_is_held_is_not_cut_off(sqlite_store: Store) -> None:
    """By a daemon, `worker once`, or a command typed by hand."""
    runs = _running(sqlite_store)
    with sqlite_store.locks.hold(run_lock("sync", runs[0]["account_id"])):
        assert snapshot.cut_off(sqlite_store.database.path, runs) == set()


def test_run_that_ended_after_it_was_read_is_not_cut_off(sqlite_store: Store) -> None:
    """It let go of its lock, too."""
    runs = _running(sqlite_store)
    sqlite_store.runs.interrupt(sqlite_store.schedule.running()[0], "it ended", NOW + 1)
    assert snapshot.cut_off(sqlite_store.database.path, runs) == set()


def _running(store: Store) -> list[dict[str, Any]]:
    """The runs as a look shows them: one, which runs."""
    grant = enrol(store)
    store.schedule.ensure("sync", {grant.account.id: NOW})
    assert store.schedule.claim(entry(store, grant), NOW, NOW + 60, "me", "first") is not None
    runs: list[dict[str, Any]] = look(store)["last_runs"]
    assert [run["state"] for run in runs] == ["running"]
    return runs
