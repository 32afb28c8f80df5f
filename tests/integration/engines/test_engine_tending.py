"""What happens although no run asks for it, and what runs see of it: held accounts, lost answers, alerts."""

from __future__ import annotations

import pytest

from worker.engines.tending import Tending
from worker.errors import StoreUnusable
from worker.events import AccountFailing, AccountMoved
from worker.states import RunState
from worker.store.records import Finding
from worker.testing import ManualClock

NAMES = [f"a{number}" for number in range(6)]


@pytest.fixture
def reading():
    """A job that asks the API for something."""
    return lambda context: context.session.get("events/").raise_for_status()


def calls(sandbox):
    return sum(sandbox.stats()["token_calls"].get("refresh_token", {}).values())


def states(house):
    return [str(account.state) for account in house.store.accounts.list()]


def turn_all(house):
    """Everything that is due now, one run after the other."""
    while house.turn(house.engines[0]):
        pass


@pytest.fixture
def outage(staged, sandbox, reading):
    """Six accounts whose provider refuses them all, after the first round of runs."""
    staged.add_job(reading)
    for name in NAMES:
        staged.enroll(name)
    sandbox.expire()
    sandbox.fault("token", "invalid_grant", times=-1)
    staged.engine(concurrency=1)
    turn_all(staged)
    return staged


def test_held_account_is_skipped_with_the_reason(outage, sandbox):
    """It costs neither retries nor calls, however often its time comes."""
    assert states(outage) == ["needs_consent"] * 4 + ["in_doubt"] * 2
    before = calls(sandbox)
    for _ in range(5):
        outage.clock.advance(301)
        turn_all(outage)
    assert calls(sandbox) == before
    (account, *_) = [account for account in outage.store.accounts.list() if account.cause == "held"]
    last = outage.runs(account=account.name)[-1]
    assert (last.state, "a canary decides" in last.error) == (RunState.SKIPPED, True)


def test_runs_that_were_missed_are_made_up_when_the_canary_tells(outage, sandbox):
    """Of those who were held, and of those who had been flagged before."""
    outage.clock.advance(301)
    turn_all(outage)
    sandbox.clear_faults()
    outage.wiring.runner.tend()
    assert states(outage) == ["active"] * 6
    turn_all(outage)
    assert {str(outage.runs(account=name)[-1].state) for name in NAMES} == {"succeeded"}
    assert {outage.runs(account=name)[-1].trigger for name in NAMES} == {"catch_up"}


def test_one_shot_engine_probes_before_it_runs(outage, sandbox):
    """Under a cron there is no daemon to do it."""
    sandbox.clear_faults()
    outage.clock.advance(301)
    outage.engine().run_due()
    assert states(outage) == ["active"] * 6
    assert {str(outage.runs(account=name)[-1].state) for name in NAMES} == {"succeeded"}


def test_lost_answer_within_a_grace_period_costs_no_run(staged, sandbox, reading):
    """The run waits and succeeds by itself; nobody is alarmed, and the timeline tells of it."""
    told = []
    staged.wiring.events.subscribe(told.append)
    staged.add_job(reading)
    account = staged.enroll()
    sandbox.set(grace=86400.0)
    sandbox.expire()
    sandbox.fault("token", "reset_after")
    engine = staged.engine()
    staged.turn(engine)
    assert staged.states() == ["retrying"]
    staged.clock.advance(10)
    staged.turn(engine)
    assert staged.states() == ["succeeded"]
    assert [str(event.after) for event in told if isinstance(event, AccountMoved)] == ["in_doubt", "active"]
    kinds = [entry.cause for entry in staged.store.timeline.of(account)]
    assert kinds[-3:] == ["no answer", "refreshed", "settled"]


def test_dispatcher_tends_by_itself(live, until):
    """An alert comes although no job runs."""
    told = []
    live.wiring.events.subscribe(told.append)
    account = live.enroll()
    grant = live.store.grants.read(account.id)
    long_ago = live.clock.now() - 7 * 3600
    live.store.grants.fail_refresh(grant, Finding("try again later", "503"), long_ago, not_before=long_ago)
    live.engine().start()
    until(lambda: [event for event in told if isinstance(event, AccountFailing)], "the alert")


def test_tending_that_fails_takes_nothing_with_it():
    """A store that cannot be written: the next look does it."""
    looks = []

    def tend():
        looks.append(1)
        if len(looks) == 1:
            raise StoreUnusable("no")

    clock = ManualClock()
    tending = Tending(tend, clock)
    tending.now()
    tending.now()
    assert len(looks) == 2
