"""What happens to an account while a job runs for it: paused, resumed, consented anew, revoked, removed."""

from __future__ import annotations

import threading

import pytest

from worker.errors import AccountPaused
from worker.states import AccountState, RunState

HOUR = 3600.0
PATIENCE = 60.0


def job_with(change):
    """A job that reads, has its account changed, and finds its token expired; and how often it was run."""
    seen = []

    def job(context):
        seen.append(context.run_id)
        context.get("events/")
        if len(seen) == 1:
            change()
            context.get("events/")

    return job, seen


@pytest.fixture
def acme(online):
    """The account, as it is now."""
    online.enroll("acme")
    return lambda: online.store.accounts.get("books", "acme")


def pause(online, sandbox, acme):
    online.store.accounts.pause(acme(), online.clock.now(), "enough")
    sandbox.expire()


def test_pause_during_a_run_interrupts_it_at_its_next_need_of_a_token(online, sandbox, acme):
    """No failure of the job: an operator has stopped it."""
    job, _ = job_with(lambda: pause(online, sandbox, acme))
    online.add_job(job, every=HOUR)
    online.turn(online.engine())
    assert [(run.state, run.error) for run in online.runs()] == [(RunState.INTERRUPTED, "books/acme is paused")]


def test_run_that_a_pause_has_interrupted_is_made_up_for_when_it_ends(online, sandbox, acme):
    """At once, and not at the next firing."""
    job, seen = job_with(lambda: pause(online, sandbox, acme))
    online.add_job(job, every=HOUR)
    engine = online.engine()
    online.turn(engine)
    assert online.turn(engine) == 0
    online.store.accounts.resume(acme(), online.clock.now())
    online.turn(engine)
    assert (online.states(), len(seen)) == (["interrupted", "succeeded"], 2)


def test_run_that_a_pause_has_interrupted_is_made_up_for_although_the_pause_ended_first(online, sandbox, acme):
    """Resumed before the run's end was written: nobody else would wake the row."""

    def change():
        pause(online, sandbox, acme)
        online.store.accounts.resume(acme(), online.clock.now())
        raise AccountPaused("books/acme is paused")

    job, seen = job_with(change)
    online.add_job(job, every=HOUR)
    engine = online.engine()
    online.turn(engine)
    online.turn(engine)
    assert (online.states(), len(seen)) == (["interrupted", "succeeded"], 2)


def test_pause_during_a_run_that_needs_no_token_lets_it_end(online, acme):
    """What is in hand is good; nothing new begins."""
    job, _ = job_with(lambda: online.store.accounts.pause(acme(), online.clock.now(), ""))
    online.add_job(job, every=HOUR)
    online.turn(online.engine())
    assert online.states() == ["succeeded"]


def test_consent_during_a_run_whose_grant_died_has_it_made_up_for(online, sandbox, acme):
    """The refresh found the grant dead, and somebody consented before the run's end was written."""

    def change():
        sandbox.revoke("acme")
        try:
            online.wiring.refresher.refresh(acme().id, online.store.grants.read(acme().id).generation)
        finally:
            online.enroll("acme")

    job, seen = job_with(change)
    online.add_job(job, every=HOUR)
    engine = online.engine()
    online.turn(engine)
    online.turn(engine)
    assert (online.states(), len(seen)) == (["failed", "succeeded"], 2)


def test_consent_during_a_run_is_used_by_it(online, sandbox, acme):
    """The token in hand is void, and the store has a newer one."""

    def change():
        sandbox.revoke("acme")
        online.enroll("acme")

    job, _ = job_with(change)
    online.add_job(job, every=HOUR)
    online.turn(online.engine())
    assert (online.states(), acme().state) == (["succeeded"], AccountState.ACTIVE)


def test_run_whose_grant_is_dead_is_not_made_up_for_before_somebody_acts(online, sandbox, acme):
    """It would go round for ever."""
    job, seen = job_with(lambda: sandbox.revoke("acme"))
    online.add_job(job, every=HOUR)
    engine = online.engine()
    online.turn(engine)
    assert (online.turn(engine), online.states(), len(seen)) == (0, ["failed"], 1)


def test_revocation_during_a_run_is_told_as_such(online, sandbox, acme, caplog):
    """The grant was given back; no traceback."""

    def change():
        online.wiring.enrolment.revoke(online.wiring.client("books"), acme())
        sandbox.revoke("acme")

    job, _ = job_with(change)
    online.add_job(job, every=HOUR)
    online.turn(online.engine())
    (run,) = online.runs()
    assert (run.state, "has no grant: it is revoked" in run.error) == (RunState.FAILED, True)
    assert [record for record in caplog.records if record.exc_info] == []


def test_removal_during_a_run_ends_it_quietly(online, sandbox, acme, caplog):
    """Nothing is left to record it with, and no traceback says so."""

    def change():
        online.store.accounts.remove(acme())
        sandbox.expire()

    job, _ = job_with(change)
    online.add_job(job, every=HOUR)
    engine = online.engine()
    online.turn(engine)
    assert (online.runs(), engine.ended) == ([], {RunState.INTERRUPTED: 1})
    assert [record for record in caplog.records if record.exc_info] == []


def test_job_that_is_removed_by_a_reload_while_it_waits_for_a_token_ends_normally(online, acme):
    """Its run goes on under the configuration it began with; the row is off the schedule."""
    entered, hold = threading.Event(), threading.Event()

    def job(context):
        entered.set()
        assert hold.wait(PATIENCE)
        context.get("events/")

    online.add_job(job)
    engine = online.engine()
    engine.dispatch()
    assert entered.wait(PATIENCE)
    engine.use({})
    engine.dispatch()
    hold.set()
    assert engine.wait_idle(PATIENCE)
    assert (online.states(), online.row(acme()).next_due) == (["succeeded"], None)
