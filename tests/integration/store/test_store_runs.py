"""Run history: ends under their own fence, skips, interruptions, and forgetting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from store_helpers import DEAD, NOW, consent, enrol, entry, race, schedule

from worker.errors import FenceLost, UsageFault, WorkerError
from worker.states import FINISHED, RunState
from worker.store.records import Claim, RunCounts
from worker.store.runs import RunEnd, RunFilter, new_run_id

if TYPE_CHECKING:
    from worker.store.records import Due, Grant
    from worker.store.store import Store

_HOUR = 3600.0
_DONE = RunEnd(RunState.SUCCEEDED, RunCounts(rows=5, requests=2, refreshes=1))


@pytest.fixture
def due(store: Store, grant: Grant) -> Due:
    """A job of arlo/acme, due now."""
    return schedule(store, grant)


@pytest.fixture
def claim(store: Store, due: Due) -> Claim:
    """A run of it, under way."""
    return _claim(store, due)


def _claim(store: Store, due: Due, now: float = NOW) -> Claim:
    claim = store.schedule.claim(due, now, now + _HOUR, "me", due.trigger)
    assert claim is not None
    return claim


# Ends


@pytest.mark.parametrize("state", sorted(FINISHED))
def test_end_is_recorded(store: Store, claim: Claim, state: RunState) -> None:
    """State, time, counts, error."""
    store.runs.finish(claim, RunEnd(state, RunCounts(5, 2, 1), "words"), NOW + 9)
    run = store.runs.get(claim.run_id)
    assert (run.state, run.finished_at, run.counts, run.error) == (state, NOW + 9, RunCounts(5, 2, 1), "words")
    assert store.schedule.running() == []


def test_success_is_remembered_beyond_the_history(store: Store, grant: Grant, claim: Claim) -> None:
    """The schedule row keeps it when the run is long forgotten."""
    store.runs.finish(claim, _DONE, NOW + 9)
    store.runs.prune(NOW + 999)
    assert entry(store, grant).last_success == NOW + 9


def test_failure_keeps_the_last_success(store: Store, grant: Grant, claim: Claim) -> None:
    """Since when it has not worked."""
    store.runs.finish(claim, _DONE, NOW)
    store.runs.finish(_claim(store, entry(store, grant)), RunEnd(RunState.FAILED, RunCounts(), "x"), NOW + 5)
    assert entry(store, grant).last_success == NOW


def test_end_under_an_older_fence_is_refused(store: Store, grant: Grant, claim: Claim) -> None:
    """A zombie wakes up after a newer run has begun: nothing of it is written."""
    store.runs.interrupt(entry(store, grant), "gone", NOW)
    newer = _claim(store, entry(store, grant))
    with pytest.raises(FenceLost):
        store.runs.finish(claim, _DONE, NOW)
    assert store.runs.get(claim.run_id).state == RunState.INTERRUPTED
    assert store.runs.get(newer.run_id).state == RunState.RUNNING


def test_end_after_an_interruption_is_refused(store: Store, grant: Grant, claim: Claim) -> None:
    """Also before the newer run has begun."""
    store.runs.interrupt(entry(store, grant), "gone", NOW)
    with pytest.raises(FenceLost):
        store.runs.finish(claim, _DONE, NOW)


def test_end_of_a_removed_account_is_refused(store: Store, grant: Grant, claim: Claim) -> None:
    """With what happened."""
    store.accounts.remove(grant.account)
    with pytest.raises(FenceLost, match="account was removed"):
        store.runs.finish(claim, _DONE, NOW)


def test_end_of_a_job_that_left_the_schedule_is_recorded(store: Store, claim: Claim) -> None:
    """The job is gone, the run is not."""
    store.schedule.retire([])
    store.runs.finish(claim, _DONE, NOW)
    assert store.runs.get(claim.run_id).state == RunState.SUCCEEDED


def test_end_is_written_once(store: Store, claim: Claim) -> None:
    """What is over stays as it was recorded."""
    store.runs.finish(claim, _DONE, NOW)
    with pytest.raises(WorkerError, match="cannot go from succeeded to failed"):
        store.runs.finish(claim, RunEnd(RunState.FAILED, RunCounts(), "x"), NOW)


def test_end_and_interruption_at_once_have_one_winner(store: Store, grant: Grant, claim: Claim) -> None:
    """A run that ends while another process gives it up: either, not both."""
    due = entry(store, grant)

    def act(number: int) -> object:
        return store.runs.finish(claim, _DONE, NOW) if number else store.runs.interrupt(due, "gone", NOW)

    interrupted, finished = race(2, act)
    state = store.runs.get(claim.run_id).state
    assert (interrupted is not None, isinstance(finished, FenceLost), state) in {
        (True, True, RunState.INTERRUPTED),
        (False, False, RunState.SUCCEEDED),
    }


def test_interrupted_end_starts_again_first_thing(store: Store, grant: Grant, claim: Claim) -> None:
    """At a shutdown."""
    store.runs.finish(claim, RunEnd(RunState.INTERRUPTED, RunCounts(), "shutdown", NOW + 1), NOW + 1)
    row = entry(store, grant)
    assert (row.trigger, row.next_due, row.attempts, row.run_id) == ("interrupted", NOW + 1, 0, None)


def test_retry_of_a_job_that_left_the_schedule_fails(store: Store, grant: Grant, claim: Claim) -> None:
    """Nobody would ever try it again."""
    store.schedule.retire([])
    store.runs.finish(claim, RunEnd(RunState.RETRYING, RunCounts(), "503", NOW + 5), NOW)
    assert store.runs.get(claim.run_id).state == RunState.FAILED


def test_waiting_retry_fails_when_its_job_leaves_the_schedule(store: Store, claim: Claim) -> None:
    """Likewise when it leaves while the run waits."""
    store.runs.finish(claim, RunEnd(RunState.RETRYING, RunCounts(), "503", NOW + 5), NOW)
    store.schedule.retire([])
    assert store.runs.get(claim.run_id).state == RunState.FAILED


@pytest.mark.parametrize("words", ["half a pair \ud800", "a NUL \0 inside"], ids=["surrogate", "nul"])
def test_end_takes_any_words(store: Store, claim: Claim, words: str) -> None:
    """A job may raise anything: its run must not stay running for that."""
    store.runs.finish(claim, RunEnd(RunState.FAILED, RunCounts(), words), NOW)
    assert store.runs.get(claim.run_id).state == RunState.FAILED


# Skips


def test_skip_records_the_firing_and_what_is_missing(store: Store, grant: Grant, due: Due) -> None:
    """Nothing is left out silently."""
    store.runs.skip(due, "needs_consent: revoked", NOW + 1, NOW + _HOUR)
    (run,) = store.runs.list(RunFilter())
    assert (run.state, run.error, run.due_at, run.started_at, run.attempt) == (
        RunState.SKIPPED,
        "needs_consent: revoked",
        NOW,
        None,
        0,
    )
    assert (entry(store, grant).missed_since, entry(store, grant).next_due) == (NOW, NOW + _HOUR)


def test_skips_in_a_row_remember_the_oldest(store: Store, grant: Grant, due: Due) -> None:
    """Missing since then."""
    store.runs.skip(due, "x", NOW, NOW + _HOUR)
    store.runs.skip(entry(store, grant), "x", NOW + _HOUR, NOW + 2 * _HOUR)
    assert entry(store, grant).missed_since == NOW


def test_skip_ends_a_run_that_waits_for_its_retry(store: Store, grant: Grant, claim: Claim) -> None:
    """As the same run, not as another."""
    store.runs.finish(claim, RunEnd(RunState.RETRYING, RunCounts(rows=2), "503", NOW + 5), NOW)
    store.runs.skip(entry(store, grant), "needs_consent", NOW + 5, NOW + _HOUR)
    (run,) = store.runs.list(RunFilter())
    assert (run.id, run.state, run.error, run.counts.rows) == (claim.run_id, RunState.SKIPPED, "needs_consent", 2)
    assert (entry(store, grant).attempts, entry(store, grant).run_id) == (0, None)


def test_skip_of_a_firing_that_was_taken_does_nothing(store: Store, due: Due) -> None:
    """Somebody else runs it."""
    claim = _claim(store, due)
    store.runs.skip(due, "x", NOW, NOW + _HOUR)
    assert [run.id for run in store.runs.list(RunFilter())] == [claim.run_id]


def test_skips_of_one_firing_at_once_are_one(store: Store, due: Due) -> None:
    """Two dispatchers read the same row."""
    race(8, lambda _: store.runs.skip(due, "x", NOW, NOW + _HOUR))
    assert len(store.runs.list(RunFilter())) == 1


def test_skip_that_was_decided_before_a_consent_does_nothing(store: Store, grant: Grant, due: Due) -> None:
    """The human acted between reading and skipping: the firing stays due, and is not put off by an hour."""
    flagged = replace(due, account=store.grants.flag(grant, DEAD, NOW))
    store.grants.store_consent(consent(), NOW + 1)
    store.runs.skip(flagged, "needs_consent", NOW + 2, NOW + _HOUR)
    assert (entry(store, grant).next_due, store.runs.list(RunFilter())) == (NOW, [])


def test_skip_that_was_decided_before_a_catch_up_does_nothing(store: Store, grant: Grant, due: Due) -> None:
    """Likewise when the consent has made missed runs due."""
    account = store.grants.flag(grant, DEAD, NOW)
    store.runs.skip(replace(due, account=account), "needs_consent", NOW, NOW + 5)
    second = entry(store, grant)
    store.grants.store_consent(consent(), NOW + 6)
    store.runs.skip(second, "needs_consent", NOW + 7, NOW + _HOUR)
    assert (entry(store, grant).next_due, entry(store, grant).trigger) == (NOW + 6, "catch_up")


def test_consent_and_skip_at_once_never_lose_the_catch_up(store: Store, grant: Grant, due: Due) -> None:
    """Whichever comes first, the firing is due afterwards."""
    flagged = replace(due, account=store.grants.flag(grant, DEAD, NOW))

    def act(number: int) -> object:
        if number:
            return store.runs.skip(flagged, "needs_consent", NOW, NOW + _HOUR)
        return store.grants.store_consent(consent(), NOW)

    race(2, act)
    assert [row.job for row in store.schedule.due(NOW, 10)] == ["sync"]


# Interruptions


def test_interrupted_run_is_marked_and_due_at_once(store: Store, grant: Grant, claim: Claim) -> None:
    """With the reason; the fence moves on."""
    assert store.runs.interrupt(entry(store, grant), "the process is gone", NOW + 9)
    run = store.runs.get(claim.run_id)
    assert (run.state, run.error, run.finished_at) == (RunState.INTERRUPTED, "the process is gone", NOW + 9)
    row = entry(store, grant)
    assert (row.fence, row.next_due, row.trigger, row.attempts) == (claim.fence + 1, NOW + 9, "interrupted", 0)


def test_interruption_happens_once(store: Store, grant: Grant, claim: Claim) -> None:
    """Eight processes find the same dead run."""
    due = entry(store, grant)
    outcomes = race(8, lambda _: store.runs.interrupt(due, "gone", NOW))
    assert sorted(outcomes, key=str) == [None] * 7 + [RunState.INTERRUPTED]


def test_interruption_of_a_run_that_goes_on_elsewhere_is_refused(store: Store, grant: Grant, claim: Claim) -> None:
    """The row that was read is an older one."""
    stale = entry(store, grant)
    store.runs.finish(claim, _DONE, NOW)
    newer = _claim(store, entry(store, grant))
    assert not store.runs.interrupt(stale, "gone", NOW)
    assert store.runs.get(newer.run_id).state == RunState.RUNNING


def test_interrupted_run_by_hand_does_not_enter_the_schedule(store: Store, grant: Grant) -> None:
    """Nobody scheduled it."""
    due = store.schedule.open_entry("by hand", grant.account)
    assert store.schedule.claim(due, NOW, None, "me", "by hand") is not None
    assert store.runs.interrupt(entry(store, grant, "by hand"), "gone", NOW)
    assert entry(store, grant, "by hand").next_due is None


# History


def test_runs_are_listed_newest_first(store: Store, grant: Grant, claim: Claim) -> None:
    """With a limit."""
    store.runs.finish(claim, _DONE, NOW)
    later = _claim(store, entry(store, grant), NOW + 5)
    assert [run.id for run in store.runs.list(RunFilter())] == [later.run_id, claim.run_id]
    assert [run.id for run in store.runs.list(RunFilter(limit=1))] == [later.run_id]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (RunFilter(), 4),
        (RunFilter(job="a"), 2),
        (RunFilter(account="beta"), 2),
        (RunFilter(integration="arlo"), 4),
        (RunFilter(integration="other"), 0),
        (RunFilter(state="skipped"), 2),
        (RunFilter(job="a", account="beta", state="skipped"), 1),
    ],
)
def test_runs_are_filtered(store: Store, wanted: RunFilter, found: int) -> None:
    """By any of their names, and together."""
    grants = [enrol(store, name) for name in ("acme", "beta")]
    for job in ("a", "b"):
        store.schedule.ensure(job, {grant.account.id: NOW for grant in grants})
        _claim(store, entry(store, grants[0], job))
        store.runs.skip(entry(store, grants[1], job), "x", NOW, NOW + _HOUR)
    assert len(store.runs.list(wanted)) == found


def test_run_is_found_by_the_beginning_of_its_id(store: Store, claim: Claim) -> None:
    """As people type it."""
    assert store.runs.get(claim.run_id[:14]).id == claim.run_id


@pytest.mark.parametrize("run_id", ["nope", "%", "_", "0%"])
def test_unknown_run_is_a_fault(store: Store, claim: Claim, run_id: str) -> None:
    """Wildcards are letters here."""
    with pytest.raises(UsageFault, match="no run with id"):
        store.runs.get(run_id)


def test_ambiguous_run_is_a_fault(store: Store, grant: Grant, claim: Claim) -> None:
    """Several begin like that."""
    store.runs.finish(claim, _DONE, NOW)
    _claim(store, entry(store, grant))
    with pytest.raises(UsageFault, match="several runs"):
        store.runs.get(claim.run_id[:5])


def test_run_ids_sort_by_time() -> None:
    """For centuries to come."""
    moments = [0.0, 1.0, NOW, NOW + 0.001, NOW + 1e9]
    assert [new_run_id(moment)[:11] for moment in moments] == sorted(new_run_id(moment)[:11] for moment in moments)


def test_prune_forgets_what_ended_before(store: Store, grant: Grant, claim: Claim) -> None:
    """Not what ended later, and not what still runs."""
    store.runs.finish(claim, _DONE, NOW)
    second = _claim(store, entry(store, grant))
    store.runs.finish(second, _DONE, NOW + 100)
    third = _claim(store, entry(store, grant))
    assert store.runs.prune(NOW + 50) == 1
    assert {run.id for run in store.runs.list(RunFilter())} == {second.run_id, third.run_id}


def test_prune_keeps_a_run_that_waits_for_its_retry(store: Store, grant: Grant, claim: Claim) -> None:
    """However long the wait is."""
    store.runs.finish(claim, RunEnd(RunState.RETRYING, RunCounts(), "503", NOW + 5), NOW)
    assert store.runs.prune(NOW + 999) == 0
    assert _claim(store, entry(store, grant)).run_id == claim.run_id
