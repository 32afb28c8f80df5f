"""The figures for monitoring: plain SQL that says the same as the repositories, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store_helpers import DEAD, NOW, enrol, entry

from worker.jobs.brake import Gone
from worker.jobs.listing import Swept
from worker.states import RunState
from worker.store.changes import APPROVED, Decision
from worker.store.figures import Figures, read_figures
from worker.store.observed import Observed
from worker.store.records import RunCounts
from worker.store.runs import RunEnd
from worker.store.snapshot import take

if TYPE_CHECKING:
    from pathlib import Path

    from worker.store.records import Account
    from worker.store.store import Store

SWEPT = Swept("things", Gone(40, 100, 60), ("1", "2"), "too many", "c0ffee")


def _place(store: Store) -> tuple[str, Path | None]:
    return store.database.url.render_as_string(hide_password=False), (
        store.database.path if store.database.is_sqlite else None
    )


def _figures(store: Store, now: float) -> Figures:
    return read_figures(*_place(store), now, 10)


def _run(store: Store, account: Account, end: RunEnd, now: float) -> None:
    """One run of `sync`, ended so."""
    due = store.schedule.entry("sync", account.id)
    assert due is not None
    claim = store.schedule.claim(due, now, now + 60, "me", "schedule")
    assert claim is not None
    store.runs.finish(claim, end, now)


def test_figures_of_an_empty_store_are_none(store: Store) -> None:
    """Nothing to divide by, nothing to be late."""
    found = _figures(store, NOW)
    assert (found.accounts, found.runs, found.late, found.waiting) == ([], [], [], 0)


def test_figures_count_runs_rows_and_what_is_held(store: Store) -> None:
    """By job and state."""
    grant = enrol(store)
    store.grants.flag(enrol(store, "dead"), DEAD, NOW)
    store.schedule.ensure("sync", {grant.account.id: NOW})
    end = RunEnd(RunState.SUCCEEDED, RunCounts(rows=7, deleted=3, held=40), observed=Observed((SWEPT,)))
    _run(store, grant.account, end, NOW)
    found = _figures(store, NOW + 1)
    assert [tuple(row[:5]) for row in found.runs] == [("sync", "succeeded", 1, 7, 3)]
    assert [tuple(row) for row in found.held] == [("sync", 1, 40)]
    assert [tuple(row) for row in found.accounts] == [("arlo", "active", 1), ("arlo", "needs_consent", 1)]
    assert found.waiting == 2  # the dead grant, and the held deletions


def test_figures_and_snapshot_tell_what_is_late_as_the_repository_does(store: Store) -> None:
    """One that never succeeded and one that did, and not one that needs consent."""
    names = ("never", "once", "dead")
    accounts = {name: enrol(store, name) for name in names}
    store.schedule.ensure("sync", {grant.account.id: NOW for grant in accounts.values()})
    store.freshness.expect("sync", 100.0, NOW)
    _run(store, accounts["once"].account, RunEnd(RunState.SUCCEEDED, RunCounts()), NOW + 50)
    store.grants.flag(accounts["dead"], DEAD, NOW + 1)
    assert store.freshness.late(NOW + 99) == []
    now = NOW + 151
    late = [(one.account.name, one.since) for one in store.freshness.late(now)]
    assert late == [("never", NOW + 100), ("once", NOW + 150)]
    assert [(row[2], row[4]) for row in _figures(store, now).late] == late
    shown = take(*_place(store), 10, now=now)["late"]
    assert [(row["account"], row["late_since"]) for row in shown] == late


def test_lateness_is_told_once_and_again_when_it_comes_back(store: Store) -> None:
    """A success in between ends it."""
    grant = enrol(store)
    store.schedule.ensure("sync", {grant.account.id: NOW})
    store.freshness.expect("sync", 100.0, NOW)
    assert [len(store.freshness.tell(NOW + 101)) for _ in range(2)] == [1, 0]
    _run(store, grant.account, RunEnd(RunState.SUCCEEDED, RunCounts()), NOW + 200)
    assert entry(store, grant).last_success == NOW + 200
    assert store.freshness.tell(NOW + 250) == []
    assert len(store.freshness.tell(NOW + 301)) == 1


def test_approved_change_makes_the_norm(store: Store) -> None:
    """What somebody has approved is usual; decided is decided."""
    grant = enrol(store)
    store.schedule.ensure("sync", {grant.account.id: NOW})
    _run(store, grant.account, RunEnd(RunState.SUCCEEDED, RunCounts(), observed=Observed((SWEPT,))), NOW)
    change = store.changes.get("c0ff")
    decision = Decision("sync", change.account, APPROVED, "somebody", 39)
    assert [store.changes.decide(change, decision, NOW + 1) for _ in range(2)] == [True, False]
    assert store.profiles.of("sync", grant.account.id)["things"].swept == (39,)
    assert [(one.state, one.applied) for one in store.changes.list(only_waiting=False)] == [("approved", 39)]
