"""Backfills in the store: rows of the schedule that are never due, listed as long as somebody cares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_helpers import NOW, look, schedule

from worker.states import RunState
from worker.store.records import RunCounts
from worker.store.runs import RunEnd

if TYPE_CHECKING:
    from worker.store.records import Claim, Grant
    from worker.store.store import Store

NAME = "sync@2026-01-01..2026-02-01"


@pytest.fixture
def begun(store: Store, grant: Grant) -> Claim:
    """A backfill under way, beside the live job."""
    schedule(store, grant)
    due = store.schedule.open_entry(NAME, grant.account)
    claim = store.schedule.claim(due, NOW, None, "me", "backfill")
    assert claim is not None
    return claim


def test_backfill_under_way_is_listed(store: Store, begun: Claim) -> None:
    """In the list and in the quick look; it is never due."""
    (found,) = store.schedule.backfills()
    assert (found.job, found.running, found.last_started, found.done_at) == (NAME, True, NOW, None)
    assert [row["job"] for row in look(store)["backfills"]] == [NAME]
    assert [due.job for due in store.schedule.due(NOW + 1e9, 10)] == ["sync"]


@pytest.mark.parametrize(
    ("state", "done_at", "waiting"), [(RunState.SUCCEEDED, NOW + 9, []), (RunState.FAILED, None, [NAME])]
)
def test_backfill_that_has_ended_is_done_or_waits(
    store: Store, begun: Claim, state: RunState, done_at: float | None, waiting: list[str]
) -> None:
    """The quick look shows what somebody has to go on with."""
    store.runs.finish(begun, RunEnd(state, RunCounts()), NOW + 9)
    assert [found.done_at for found in store.schedule.backfills()] == [done_at]
    assert [row["job"] for row in look(store)["backfills"]] == waiting


def test_backfill_that_is_forgotten_keeps_its_fence(store: Store, begun: Claim, grant: Grant) -> None:
    """It is listed nowhere; begun anew, it is ahead of what the sink has seen."""
    store.runs.finish(begun, RunEnd(RunState.FAILED, RunCounts()), NOW + 9)
    store.schedule.forget_backfill(NAME, grant.account.id)
    assert (store.schedule.backfills(), look(store)["backfills"]) == ([], [])
    again = store.schedule.claim(store.schedule.open_entry(NAME, grant.account), NOW + 10, None, "me", "backfill")
    assert again is not None
    assert again.fence > begun.fence


def test_live_job_is_not_forgotten_as_a_backfill(store: Store, grant: Grant) -> None:
    """Its last start is none of a backfill's."""
    claim = store.schedule.claim(schedule(store, grant), NOW, NOW + 60, "me", "schedule")
    assert claim is not None
    store.schedule.forget_backfill("sync", grant.account.id)
    assert [row["last_started"] for row in look(store)["jobs"]] == [NOW]
