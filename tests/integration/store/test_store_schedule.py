"""The schedule: what is due, who takes it, and what becomes of what was missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_helpers import DEAD, NOW, consent, enrol, entry, race, schedule

from worker.states import RunState
from worker.store.records import Claim, RunCounts
from worker.store.runs import RunEnd, RunFilter

if TYPE_CHECKING:
    from worker.store.records import Due, Grant
    from worker.store.store import Store

_HOUR = 3600.0


def _claim(store: Store, due: Due, now: float = NOW, trigger: str = "schedule") -> Claim:
    claim = store.schedule.claim(due, now, now + _HOUR, "me", trigger)
    assert claim is not None
    return claim


def _jobs_due(store: Store, now: float, job: str | None = None) -> list[str]:
    return [due.job for due in store.schedule.due(now, 100, job)]


# Rows


def test_ensure_makes_rows_once(store: Store, grant: Grant) -> None:
    """A second time it changes nothing: existing rows keep their time."""
    assert store.schedule.ensure("sync", {grant.account.id: NOW}) == 1
    assert store.schedule.ensure("sync", {grant.account.id: NOW + 99}) == 0
    assert entry(store, grant).next_due == NOW


def test_ensure_at_once_makes_each_row_once(store: Store, grant: Grant) -> None:
    """Two daemons start on one server: no quarrel over the first row."""
    outcomes = race(8, lambda _: store.schedule.ensure("sync", {grant.account.id: NOW}))
    assert sorted(outcomes, key=str) == [0] * 7 + [1]


def test_open_entry_at_once_makes_one_row(store: Store, grant: Grant) -> None:
    """Likewise for runs by hand."""
    outcomes = race(8, lambda _: store.schedule.open_entry("sync", grant.account))
    assert {outcome.next_due for outcome in outcomes} == {None}


def test_open_entry_answers_the_row_that_is_there(store: Store, grant: Grant) -> None:
    """With its time."""
    due = schedule(store, grant)
    assert store.schedule.open_entry("sync", grant.account) == due


def test_ensure_takes_away_accounts_that_are_not_named(store: Store, grant: Grant) -> None:
    """The job's list of accounts was shortened; the row's history stays."""
    other = enrol(store, "beta")
    store.schedule.ensure("sync", {grant.account.id: NOW, other.account.id: NOW})
    assert store.schedule.ensure("sync", {grant.account.id: NOW}) == 1
    assert (store.schedule.known("sync"), entry(store, other).next_due) == (frozenset({grant.account.id}), None)


def test_ensure_revives_a_retired_row(store: Store, grant: Grant) -> None:
    """The job came back: same row, same fence."""
    claim = _claim(store, schedule(store, grant))
    store.runs.finish(claim, RunEnd(RunState.SUCCEEDED, RunCounts()), NOW)
    store.schedule.retire([])
    assert store.schedule.ensure("sync", {grant.account.id: NOW + 5}) == 1
    assert (entry(store, grant).next_due, entry(store, grant).fence) == (NOW + 5, claim.fence)


def test_retire_takes_every_other_job_off_the_schedule(store: Store, grant: Grant) -> None:
    """Those that left the config."""
    for job in ("a", "b", "c"):
        schedule(store, grant, job)
    assert store.schedule.retire(["b"]) == 2
    assert _jobs_due(store, NOW) == ["b"]


def test_entry_of_nothing_is_none(store: Store, grant: Grant) -> None:
    """No error."""
    assert store.schedule.entry("sync", grant.account.id) is None


# Due


def test_row_is_due_at_its_moment_and_not_before(store: Store, grant: Grant) -> None:
    """To the instant."""
    schedule(store, grant, due=NOW + 10)
    assert (_jobs_due(store, NOW + 9.999), _jobs_due(store, NOW + 10)) == ([], ["sync"])


def test_due_rows_come_longest_overdue_first(store: Store, grant: Grant) -> None:
    """As many as asked for."""
    for job, due in (("b", NOW - 5), ("a", NOW - 9), ("c", NOW - 1)):
        schedule(store, grant, job, due)
    assert _jobs_due(store, NOW) == ["a", "b", "c"]
    assert [due.job for due in store.schedule.due(NOW, 2)] == ["a", "b"]


def test_due_rows_of_one_job_are_not_crowded_out(store: Store, grant: Grant) -> None:
    """The limit counts that job's rows only."""
    schedule(store, grant, "other", NOW - 99)
    schedule(store, grant, "sync")
    assert [due.job for due in store.schedule.due(NOW, 1, "sync")] == ["sync"]


def test_due_rows_that_are_in_hand_do_not_crowd_out_others(store: Store, grant: Grant) -> None:
    """They are left out, and the limit counts what is left."""
    schedule(store, grant, "first", NOW - 9)
    schedule(store, grant, "second", NOW - 5)
    found = store.schedule.due(NOW, 1, but={("first", grant.account.id)})
    assert [due.job for due in found] == ["second"]


def test_interrupted_rows_come_before_everything_else(store: Store, grant: Grant) -> None:
    """Though others are longer overdue."""
    schedule(store, grant, "old", NOW - 999)
    _claim(store, schedule(store, grant, "cut off"))
    store.runs.interrupt(entry(store, grant, "cut off"), "gone", NOW)
    assert _jobs_due(store, NOW) == ["cut off", "old"]


def test_row_with_a_run_under_way_is_not_due(store: Store, grant: Grant) -> None:
    """However late it gets."""
    _claim(store, schedule(store, grant))
    assert _jobs_due(store, NOW + 99 * _HOUR) == []
    assert [due.job for due in store.schedule.running()] == ["sync"]


def test_earliest_is_the_soonest_row_that_does_not_run(store: Store, grant: Grant) -> None:
    """When to wake up; None when nothing is scheduled."""
    assert store.schedule.earliest() is None
    _claim(store, schedule(store, grant, "running"))
    schedule(store, grant, "b", NOW + 20)
    schedule(store, grant, "a", NOW + 30)
    assert store.schedule.earliest() == NOW + 20


def test_entries_are_listed_soonest_first_without_the_retired(store: Store, grant: Grant) -> None:
    """What will happen."""
    schedule(store, grant, "b", NOW + 20)
    schedule(store, grant, "a", NOW + 30)
    store.schedule.open_entry("by hand", grant.account)
    assert [due.job for due in store.schedule.entries()] == ["b", "a"]


# Claims


def test_claim_takes_the_firing_in_one_step(store: Store, grant: Grant) -> None:
    """Fence, run, next due time."""
    claim = _claim(store, schedule(store, grant, due=NOW - 5), NOW)
    assert (claim.fence, claim.attempt, claim.due_at, claim.trigger) == (1, 1, NOW - 5, "schedule")
    row = entry(store, grant)
    assert (row.fence, row.next_due, row.run_id, row.attempts) == (1, NOW + _HOUR, claim.run_id, 1)
    run = store.runs.get(claim.run_id)
    assert (run.state, run.started_at, run.due_at, run.holder) == (RunState.RUNNING, NOW, NOW - 5, "me")


def test_claims_at_once_have_one_winner(store: Store, grant: Grant) -> None:
    """Sixteen threads, one firing: one run, one fence, on both databases."""
    due = schedule(store, grant)
    outcomes = race(16, lambda number: store.schedule.claim(due, NOW, NOW + _HOUR, f"thread {number}", "schedule"))
    winners = [outcome for outcome in outcomes if outcome is not None]
    assert len(winners) == 1
    assert isinstance(winners[0], Claim)
    assert (entry(store, grant).fence, len(store.runs.list(RunFilter()))) == (1, 1)


def test_claims_by_processes_have_one_winner(store: Store, grant: Grant, spawn) -> None:
    """And two processes on one machine or two."""
    schedule(store, grant)
    first = spawn("claim", store, "sync", "acme")
    assert first.line() not in {"", "nothing"}
    assert store.schedule.claim(entry(store, grant), NOW, NOW + _HOUR, "me", "schedule") is None


def test_claim_with_an_older_fence_is_refused(store: Store, grant: Grant) -> None:
    """The firing that was read is over."""
    due = schedule(store, grant)
    store.runs.finish(_claim(store, due), RunEnd(RunState.SUCCEEDED, RunCounts()), NOW)
    assert store.schedule.claim(due, NOW, NOW + _HOUR, "me", "schedule") is None


def test_claim_of_a_retired_row_is_refused(store: Store, grant: Grant) -> None:
    """It would put the job back on the schedule."""
    due = schedule(store, grant)
    store.schedule.retire([])
    assert store.schedule.claim(due, NOW, NOW + _HOUR, "me", "schedule") is None


def test_claim_of_a_removed_account_is_refused(store: Store, grant: Grant) -> None:
    """Nothing left to run for."""
    due = schedule(store, grant)
    store.accounts.remove(grant.account)
    assert store.schedule.claim(due, NOW, NOW + _HOUR, "me", "schedule") is None


def test_claim_sees_the_account_as_it_is_now(store: Store, grant: Grant) -> None:
    """Not as it was when the row was read."""
    due = schedule(store, grant)
    store.grants.flag(grant, DEAD, NOW)
    assert _claim(store, due).account.state == "needs_consent"


def test_firings_that_were_missed_are_one_run(store: Store, grant: Grant) -> None:
    """A hundred intervals asleep: one claim, and the next firing lies ahead."""
    due = schedule(store, grant, due=NOW - 100 * _HOUR)
    store.runs.finish(_claim(store, due), RunEnd(RunState.SUCCEEDED, RunCounts()), NOW)
    assert _jobs_due(store, NOW) == []


def test_run_that_waits_for_its_retry_goes_on_as_the_same_run(store: Store, grant: Grant) -> None:
    """Same id, next attempt, next fence; counts add up."""
    first = _claim(store, schedule(store, grant))
    store.runs.finish(first, RunEnd(RunState.RETRYING, RunCounts(rows=2, requests=3), "503", NOW + 5), NOW)
    due = entry(store, grant)
    assert (due.trigger, due.next_due, due.attempts) == ("retry", NOW + 5, 1)
    second = _claim(store, due, NOW + 5, due.trigger)
    assert (second.run_id, second.attempt, second.fence) == (first.run_id, 2, 2)
    store.runs.finish(second, RunEnd(RunState.SUCCEEDED, RunCounts(rows=1, requests=1, refreshes=1)), NOW + 6)
    run = store.runs.get(first.run_id)
    assert (run.state, run.attempt, run.error) == (RunState.SUCCEEDED, 2, None)
    assert (run.started_at, run.finished_at, run.counts) == (NOW, NOW + 6, RunCounts(3, 4, 1))


def test_run_after_a_retried_one_starts_anew(store: Store, grant: Grant) -> None:
    """Attempts do not carry over."""
    first = _claim(store, schedule(store, grant))
    store.runs.finish(first, RunEnd(RunState.RETRYING, RunCounts(), "503", NOW + 5), NOW)
    store.runs.finish(_claim(store, entry(store, grant)), RunEnd(RunState.FAILED, RunCounts(), "503"), NOW)
    third = _claim(store, entry(store, grant))
    assert (third.attempt, third.run_id != first.run_id) == (1, True)


# Clamp


def test_clamp_pulls_in_a_time_beyond_the_next_firing(store: Store, grant: Grant) -> None:
    """The interval was shortened, or the clock went back."""
    schedule(store, grant, due=NOW + 9 * _HOUR)
    assert store.schedule.clamp("sync", {grant.account.id: NOW + _HOUR}) == 1
    assert entry(store, grant).next_due == NOW + _HOUR


def test_clamp_leaves_nearer_times_alone(store: Store, grant: Grant) -> None:
    """Whatever is due earlier has its reason."""
    schedule(store, grant, due=NOW + 5)
    assert store.schedule.clamp("sync", {grant.account.id: NOW + _HOUR}) == 0


def test_clamp_leaves_a_retry_to_its_time(store: Store, grant: Grant) -> None:
    """The other side asked for that wait: Retry-After is honoured whole."""
    claim = _claim(store, schedule(store, grant))
    store.runs.finish(claim, RunEnd(RunState.RETRYING, RunCounts(), "429", NOW + 9 * _HOUR), NOW)
    assert store.schedule.clamp("sync", {grant.account.id: NOW + _HOUR}) == 0


# Parking and waking


@pytest.mark.parametrize("missing", [["write"], []])
def test_consent_unparks_a_job_that_lacked_a_scope(store: Store, grant: Grant, missing: list[str]) -> None:
    """And makes it due at once: whether the consent brought the scope, the next run finds out."""
    schedule(store, grant, due=NOW + _HOUR)
    store.schedule.park("sync", grant.account.id, "lacks write", missing)
    store.grants.store_consent(consent(), NOW + 5)
    row = entry(store, grant)
    assert (row.parked, row.next_due, row.trigger) == ("", NOW + 5, "catch_up")


def test_consent_leaves_the_schedule_of_what_missed_nothing(store: Store, grant: Grant) -> None:
    """No burst of runs for nothing."""
    schedule(store, grant, due=NOW + _HOUR)
    enrol(store)
    assert (entry(store, grant).next_due, entry(store, grant).trigger) == (NOW + _HOUR, "first")


def test_consent_does_not_put_a_retired_job_back(store: Store, grant: Grant) -> None:
    """It is not in the config."""
    due = schedule(store, grant)
    store.runs.skip(due, "needs consent", NOW, NOW + _HOUR)
    store.schedule.retire([])
    enrol(store)
    assert entry(store, grant).next_due is None


def test_consent_wakes_only_its_own_account(store: Store, grant: Grant) -> None:
    """The neighbour still waits for his human."""
    other = enrol(store, "beta")
    due = schedule(store, other)
    store.runs.skip(due, "needs consent", NOW, NOW + _HOUR)
    enrol(store)
    assert entry(store, other).next_due == NOW + _HOUR


def test_consent_brings_a_retry_forward(store: Store, grant: Grant) -> None:
    """What it waited for may have been the grant."""
    claim = _claim(store, schedule(store, grant))
    store.runs.finish(claim, RunEnd(RunState.RETRYING, RunCounts(), "503", NOW + _HOUR), NOW)
    enrol(store)
    assert entry(store, grant).next_due == NOW


def test_run_that_fails_for_want_of_consent_is_made_up_for(store: Store, grant: Grant) -> None:
    """It ran and could not do its work: missed since its firing, due when the human has acted."""
    claim = _claim(store, schedule(store, grant, due=NOW - 7))
    store.runs.finish(claim, RunEnd(RunState.FAILED, RunCounts(), "needs consent", missed=True), NOW)
    assert entry(store, grant).missed_since == NOW - 7
    store.grants.store_consent(consent(), NOW + 50)
    assert entry(store, grant).next_due == NOW + 50


def test_catch_up_ends_with_its_run(store: Store, grant: Grant) -> None:
    """Claimed, it is not missed any more."""
    due = schedule(store, grant)
    store.runs.skip(due, "needs consent", NOW, NOW + _HOUR)
    enrol(store)
    claim = _claim(store, entry(store, grant), NOW, entry(store, grant).trigger)
    assert (claim.trigger, entry(store, grant).missed_since, entry(store, grant).trigger) == ("catch_up", None, "retry")


def test_integration_that_works_again_wakes_what_was_missed(store: Store, grant: Grant) -> None:
    """Its own accounts, not the parked, not the retired, not those of another integration."""
    other = enrol(store, "acme", integration="other")
    for job, owner in (("missed", grant), ("fine", grant), ("parked", grant), ("missed", other)):
        schedule(store, owner, job) if owner is grant else store.schedule.ensure(
            job, {grant.account.id: NOW, other.account.id: NOW}
        )
    for job, owner in (("missed", grant), ("parked", grant), ("missed", other)):
        store.runs.skip(entry(store, owner, job), "client refused", NOW, NOW + _HOUR)
    store.schedule.park("parked", grant.account.id, "lacks write", ["write"])
    assert store.schedule.wake_integration("arlo", NOW + 5) == 1
    assert entry(store, grant, "missed").next_due == NOW + 5
    assert (entry(store, grant, "parked").next_due, entry(store, other, "missed").next_due) == (
        NOW + _HOUR,
        NOW + _HOUR,
    )


@pytest.mark.parametrize("words", ["half a pair \ud800", "a NUL \0 inside"], ids=["surrogate", "nul"])
def test_park_takes_any_words(store: Store, grant: Grant, words: str) -> None:
    """A provider names scopes as it likes."""
    schedule(store, grant)
    store.schedule.park("sync", grant.account.id, words, [words])
    assert entry(store, grant).parked
