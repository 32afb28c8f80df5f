"""Waits: honoured whole whoever wakes the row, and as long as they were when the clock is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_helpers import DEAD, LATER, NOW, consent, entry, schedule

from worker.states import RunState
from worker.store.records import Claim, RunCounts
from worker.store.runs import RunEnd, RunFilter

if TYPE_CHECKING:
    from worker.store.records import Due, Grant
    from worker.store.store import Store

_HOUR, _YEAR = 3600.0, 365 * 86400.0


def _claim(store: Store, due: Due, now: float = NOW) -> Claim:
    claim = store.schedule.claim(due, now, now + 60, "me", "schedule")
    assert claim is not None
    return claim


@pytest.fixture
def waiting(store: Store, grant: Grant) -> Grant:
    """An account whose job failed, and whose API wants to be left alone for two hours."""
    claim = _claim(store, schedule(store, grant))
    store.runs.finish(claim, RunEnd(RunState.FAILED, RunCounts(), "429", not_before=NOW + 2 * _HOUR), NOW)
    return grant


def test_wait_puts_the_next_firing_off(store: Store, waiting: Grant) -> None:
    """It was a minute away."""
    assert entry(store, waiting).next_due == NOW + 2 * _HOUR


def test_wait_is_over_with_a_claim(store: Store, waiting: Grant) -> None:
    """It has passed, or somebody runs the job by hand."""
    store.runs.finish(_claim(store, entry(store, waiting)), RunEnd(RunState.SUCCEEDED, RunCounts()), NOW)
    assert (entry(store, waiting).not_before, entry(store, waiting).next_due) == (None, NOW + 60)


def test_consent_does_not_cut_a_wait_short(store: Store, waiting: Grant) -> None:
    """What was missed is made up for when the API wants to hear of it."""
    store.runs.skip(entry(store, waiting), "needs_consent", NOW + 1, NOW + 60)
    store.grants.flag(waiting, DEAD, NOW + 1)
    store.grants.store_consent(consent(), NOW + 2)
    assert (entry(store, waiting).next_due, entry(store, waiting).trigger) == (NOW + 2 * _HOUR, "catch_up")


def test_integration_that_works_again_does_not_cut_a_wait_short(store: Store, waiting: Grant) -> None:
    """Likewise, for all rows in one statement."""
    store.runs.skip(entry(store, waiting), "held", NOW + 1, NOW + 60)
    store.schedule.wake_integration("arlo", NOW + 2)
    assert entry(store, waiting).next_due == NOW + 2 * _HOUR


def test_shorter_interval_does_not_cut_a_wait_short(store: Store, waiting: Grant) -> None:
    """A due time beyond the next firing is pulled in; this one is no firing."""
    assert store.schedule.clamp("sync", {waiting.account.id: NOW + 5}, now=NOW) == 0
    assert entry(store, waiting).next_due == NOW + 2 * _HOUR


def test_wait_of_a_retry_is_not_cut_short_by_a_resume(store: Store, grant: Grant) -> None:
    """Its own backoff may be; what was asked for is not."""
    claim = _claim(store, schedule(store, grant))
    end = RunEnd(RunState.RETRYING, RunCounts(), "429", NOW + 150, not_before=NOW + 100)
    store.runs.finish(claim, end, NOW)
    store.accounts.resume(store.accounts.pause(grant.account, NOW, ""), NOW + 1)
    assert entry(store, grant).next_due == NOW + 100


@pytest.mark.parametrize("jump", [-_YEAR, -_HOUR, _HOUR, _YEAR])
def test_shift_keeps_the_length_of_every_wait(store: Store, waiting: Grant, jump: float) -> None:
    """The row's, its due time's, the grant's and the incident's."""
    store.grants.begin_refresh(waiting, "me", NOW)
    store.grants.fail_refresh(waiting, LATER, NOW, not_before=NOW + 900)
    store.incidents.report("arlo", "down", DEAD, NOW, not_before=NOW + 30)
    later = NOW + 10 + jump
    assert store.waits.shift(jump, later) >= 3
    grant, incident, row = (
        store.grants.read(waiting.account.id),
        store.incidents.find_open("arlo", "down"),
        entry(store, waiting),
    )
    assert incident is not None
    left = [moment - later for moment in (grant.not_before or 0, incident.not_before or 0, row.not_before or 0)]
    assert left == pytest.approx([890, 20, 2 * _HOUR - 10])
    # Set ahead, a wait must not be over because the due time stayed; set back, `clamp` pulls it in afterwards.
    assert row.next_due is not None
    assert row.next_due >= (row.not_before or 0)


def test_shift_does_not_revive_a_wait_that_was_over(store: Store, grant: Grant) -> None:
    """It ended ten minutes before the clock was set back by an hour."""
    store.grants.begin_refresh(grant, "me", NOW)
    store.grants.fail_refresh(grant, LATER, NOW, not_before=NOW + 60)
    now = NOW + 660 - _HOUR
    store.waits.shift(-_HOUR, now)
    assert (store.grants.read(grant.account.id).not_before or 0) <= now


def test_shift_leaves_firings_of_the_schedule_alone(store: Store, grant: Grant) -> None:
    """They are computed anew, from the schedule."""
    schedule(store, grant, due=NOW + 50)
    store.waits.shift(_HOUR, NOW + _HOUR)
    assert entry(store, grant).next_due == NOW + 50


def test_last_written_is_the_run_that_was_made_last(store: Store, grant: Grant) -> None:
    """By its order, and not by its time: the clock was set back in between."""
    due = schedule(store, grant)
    assert store.waits.last_written() is None
    store.runs.finish(_claim(store, due), RunEnd(RunState.SUCCEEDED, RunCounts()), NOW)
    store.runs.finish(_claim(store, entry(store, grant), NOW - _YEAR), RunEnd(RunState.SUCCEEDED, RunCounts()), NOW)
    assert store.waits.last_written() == NOW - _YEAR
    assert [run.created_at for run in store.runs.list(RunFilter())] == [NOW - _YEAR, NOW]


def test_failures_are_as_old_as_they_were_when_the_clock_is_set_back(store: Store, grant: Grant) -> None:
    """Otherwise nobody would be told of them for a year."""
    store.grants.fail_refresh(grant, LATER, NOW, not_before=NOW)
    store.waits.shift(-_YEAR, NOW - _YEAR + _HOUR)
    assert store.grants.read(grant.account.id).failing_since == NOW - _YEAR


def test_alert_is_repeated_although_the_clock_is_set_back(store: Store, grant: Grant) -> None:
    """A day after the one before."""
    store.grants.fail_refresh(grant, LATER, NOW, not_before=NOW)
    assert len(store.failing.tell("arlo", _HOUR, NOW + _HOUR)) == 1
    store.waits.shift(-_YEAR, NOW + _HOUR - _YEAR)
    assert store.failing.tell("arlo", _HOUR, NOW - _YEAR + 23 * _HOUR) == []
    assert len(store.failing.tell("arlo", _HOUR, NOW - _YEAR + 26 * _HOUR)) == 1


def test_attempt_is_as_old_as_it_was_when_the_clock_is_set_back(store: Store, grant: Grant) -> None:
    """Otherwise an account would be left alone for a year, because its holder may still be at work."""
    store.grants.begin_refresh(grant, "process 1", NOW)
    store.waits.shift(-_YEAR, NOW - _YEAR + _HOUR)
    assert store.grants.read(grant.account.id).attempt_begun_at == NOW - _YEAR


def test_incident_is_as_old_as_it_was_when_the_clock_is_set_back(store: Store) -> None:
    """Otherwise the canary of held refusals would be probed for a year, and nothing be decided."""
    store.incidents.report("arlo", "grants_refused", DEAD, NOW, not_before=NOW)
    store.waits.shift(-_YEAR, NOW - _YEAR + _HOUR)
    assert store.incidents.list()[0].opened_at == NOW - _YEAR
