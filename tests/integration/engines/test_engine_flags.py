"""Accounts that cannot be worked for: recorded as skipped with the reason, and made up for once a human has acted."""

from __future__ import annotations

import pytest

from worker.errors import NeedsConsent, ScopeMissing
from worker.redact import Secret
from worker.states import AccountState, RunState
from worker.store.records import Consent, Finding, NewTokens


@pytest.fixture
def flag(house):
    """Finds an account's grant dead, as a refresh does."""

    def kill(account):
        finding = Finding("revoked", "the provider refuses the refresh token (invalid_grant)")
        return house.store.grants.flag(house.store.grants.read(account.id), finding, house.clock.now())

    return kill


def test_flagged_account_is_skipped_with_the_reason(house, idle_job, flag):
    """Not silently, and at every firing."""
    house.add_job(idle_job)
    account = house.enroll()
    engine = house.engine()
    flag(account)
    house.turn(engine)
    house.clock.advance(61)
    house.turn(engine)
    reason = "needs_consent: the provider refuses the refresh token (invalid_grant)"
    assert [(run.state, run.error) for run in house.runs()] == [(RunState.SKIPPED, reason)] * 2


def test_flagged_account_remembers_since_when_runs_are_missing(house, idle_job, flag):
    """The oldest one, not the latest."""
    house.add_job(idle_job)
    account = house.enroll()
    engine = house.engine()
    begun = house.clock.now()
    flag(account)
    house.turn(engine)
    house.clock.advance(61)
    house.turn(engine)
    assert house.row(account).missed_since == begun


def test_flagged_account_takes_no_room_in_the_pool(house, flag):
    """A hundred of them do not keep a working one waiting."""
    ran = []
    house.add_job(lambda context: ran.append(context.account))
    for number in range(100):
        flag(house.enroll(f"dead-{number}"))
    house.enroll("z-alive")
    engine = house.engine(concurrency=1)
    while house.turn(engine):
        pass
    assert ran == ["z-alive"]


def test_consent_makes_the_missed_run_due_at_once(house, idle_job, flag):
    """As a catch-up, without waiting for the next firing."""
    house.add_job(idle_job, every=86400.0)
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    flag(account)
    house.clock.advance(86400)
    house.turn(engine)
    house.clock.advance(10)
    house.enroll()
    house.turn(engine)
    assert [(str(run.state), run.trigger) for run in house.runs()] == [
        ("succeeded", "first"),
        ("skipped", "schedule"),
        ("succeeded", "catch_up"),
    ]


def test_consent_goes_on_from_the_last_cursor(house, flag):
    """What was missed is what has changed since then."""
    seen = []

    def job(context):
        seen.append(dict(context.cursor))
        context.checkpoint(run=len(seen))

    house.add_job(job)
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    flag(account)
    house.clock.advance(600)
    house.turn(engine)
    house.enroll()
    house.turn(engine)
    assert seen == [{}, {"run": 1}]


def test_consent_clears_the_missed_time(house, idle_job, flag):
    """It was made up for."""
    house.add_job(idle_job)
    account = house.enroll()
    engine = house.engine()
    flag(account)
    house.turn(engine)
    house.enroll()
    house.turn(engine)
    assert house.row(account).missed_since is None


def test_consent_without_anything_missed_starts_nothing(house, idle_job):
    """A second consent is no reason for a run."""
    house.add_job(idle_job)
    house.enroll()
    engine = house.engine()
    house.turn(engine)
    house.enroll()
    engine.ring()
    assert house.turn(engine) == 0


def test_run_that_finds_the_grant_dead_is_made_up_for(house):
    """The run itself failed: it is the first of the missed ones."""
    dead = [True]

    def job(_context):
        if dead:
            raise NeedsConsent("books/acme needs consent")

    house.add_job(job)
    house.enroll()
    engine = house.engine()
    house.turn(engine)
    dead.clear()
    house.clock.advance(1)
    house.enroll()
    house.turn(engine)
    assert [(str(run.state), run.trigger) for run in house.runs()] == [("failed", "first"), ("succeeded", "catch_up")]


def test_paused_account_is_skipped_with_the_reason(house, idle_job):
    """By the operator."""
    house.add_job(idle_job)
    account = house.enroll()
    house.store.accounts.pause(account, house.clock.now(), "moving house")
    house.turn(house.engine())
    assert [(run.state, run.error) for run in house.runs()] == [(RunState.SKIPPED, "paused: moving house")]


def test_resumed_account_makes_up_for_what_it_missed(house, idle_job):
    """At once."""
    house.add_job(idle_job)
    account = house.enroll()
    engine = house.engine()
    paused = house.store.accounts.pause(account, house.clock.now(), "")
    house.turn(engine)
    house.store.accounts.resume(paused, house.clock.now())
    house.turn(engine)
    assert house.states() == ["skipped", "succeeded"]


def test_missing_scope_parks_the_job_that_needs_it_alone(house):
    """The account's other jobs go on, now and at their next firing."""

    def greedy(_context):
        raise ScopeMissing("books/acme lacks a scope", missing=("write",))

    house.add_job(greedy, name="greedy", scopes=("write",))
    house.add_job(lambda _context: None, name="modest")
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    house.clock.advance(61)
    house.turn(engine)
    assert house.states(job="greedy") == ["failed", "skipped"]
    assert house.states(job="modest") == ["succeeded", "succeeded"]
    assert house.store.accounts.by_id(account.id).state is AccountState.NEEDS_CONSENT


def test_missing_scope_is_the_reason_of_the_skipped_runs(house):
    """With the scope's name."""

    def greedy(_context):
        raise ScopeMissing("books/acme lacks a scope", missing=("write",))

    house.add_job(greedy)
    house.enroll()
    engine = house.engine()
    house.turn(engine)
    house.clock.advance(61)
    house.turn(engine)
    assert house.runs()[-1].error == "needs_consent: lacks write"


def test_two_parked_jobs_are_both_the_reason(house):
    """What each lacks: whoever consents once more wants to add both scopes."""

    def lacking(scope):
        def run(_context):
            raise ScopeMissing("books/acme lacks a scope", missing=(scope,))

        return run

    house.add_job(lacking("write"), name="first")
    house.add_job(lacking("admin"), name="second")
    account = house.enroll()
    house.turn(house.engine())
    found = house.store.accounts.by_id(account.id)
    assert found.reason == "job first lacks write; job second lacks admin"
    assert house.store.schedule.lacking(account.id) == {"first": ("write",), "second": ("admin",)}


def test_missing_scope_that_nobody_names_is_taken_from_the_job(house):
    """The provider said `insufficient_scope` and no more; the job says what it needs."""

    def greedy(_context):
        raise ScopeMissing("books/acme lacks a scope")

    house.add_job(greedy, scopes=("read", "write"))
    account = house.enroll()
    house.turn(house.engine())
    assert house.row(account).parked == "needs_consent: lacks write"


def test_scope_that_was_not_granted_parks_the_job_before_it_begins(house):
    """Its function is not called; the consent that brings the scope lets it run."""
    called = []
    house.add_job(called.append, scopes=("read", "write"))
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    assert (called, house.row(account).parked) == ([], "needs_consent: lacks write")
    house.clock.advance(1)
    house.enroll(scopes=("read", "write"))
    house.turn(engine)
    assert (len(called), house.states()) == (1, ["failed", "succeeded"])


def test_scope_in_a_spelling_of_the_provider_s_own_does_not_park(house):
    """The grant lists one that nobody asked for: which is it? The API knows."""
    called = []
    house.add_job(called.append, scopes=("email",))
    now = house.clock.now()
    granted = ("https://provider.test/auth/email",)
    tokens = NewTokens(Secret("access-token"), Secret("refresh-token"), "Bearer", 3600.0, now, granted)
    house.store.grants.store_consent(Consent("books", "acme", tokens, ("email",)), now)
    house.turn(house.engine())
    assert (len(called), house.states()) == (1, ["succeeded"])


def test_consent_with_the_scope_unparks_the_job(house):
    """And runs it at once."""
    granted = []

    def greedy(_context):
        if not granted:
            raise ScopeMissing("books/acme lacks a scope", missing=("write",))

    house.add_job(greedy)
    house.enroll()
    engine = house.engine()
    house.turn(engine)
    granted.append("write")
    house.clock.advance(1)
    house.enroll(scopes=("read", "write"))
    house.turn(engine)
    assert house.states() == ["failed", "succeeded"]


def test_consent_without_the_scope_parks_the_job_again(house):
    """Tried once, since providers spell scopes in several ways; then it waits as before."""

    def greedy(_context):
        raise ScopeMissing("books/acme lacks a scope", missing=("write",))

    house.add_job(greedy)
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    house.enroll()
    assert (house.turn(engine), house.row(account).parked) == (1, "needs_consent: lacks write")
    assert house.turn(engine) == 0


def test_pause_and_resume_leave_other_jobs_of_a_scope_flag_alone(house):
    """Resumed, the account lacks a scope as before, which stops the one job and not all of them."""

    def greedy(_context):
        raise ScopeMissing("books/acme lacks a scope", missing=("write",))

    house.add_job(greedy, name="greedy")
    house.add_job(lambda _context: None, name="modest")
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    paused = house.store.accounts.pause(account, house.clock.now(), "")
    house.store.accounts.resume(paused, house.clock.now())
    house.clock.advance(61)
    house.turn(engine)
    assert house.states(job="modest") == ["succeeded", "succeeded"]


def test_job_whose_parking_fails_is_recorded_all_the_same(house):
    """The account is gone from under it: the run still ends."""
    account = house.enroll()

    def greedy(_context):
        house.store.grants.erase(house.store.accounts.by_id(account.id), house.clock.now())
        raise ScopeMissing("books/acme lacks a scope")

    house.add_job(greedy, scopes=("write",))
    house.turn(house.engine())
    assert house.states() == ["failed"]
