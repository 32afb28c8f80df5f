"""What a process that is gone has left behind, found by the lock that nobody holds any more."""

from __future__ import annotations

import threading

from worker.states import AccountState
from worker.store.locks import account_lock, run_lock


def leave_running(house, account):
    """A run that was begun by a process that is gone."""
    house.store.schedule.ensure("invoices", {account.id: house.clock.now()})
    due = house.row(account)
    claim = house.store.schedule.claim(due, house.clock.now(), house.clock.now() + 60, "process 1 on gone", "schedule")
    house.clock.advance(1)
    return claim


def test_run_of_a_process_that_is_gone_is_interrupted_and_made_again(house, idle_job):
    """A new run, at once."""
    house.add_job(idle_job)
    leave_running(house, house.enroll())
    engine = house.engine()
    engine.recover()
    house.turn(engine)
    assert [(str(run.state), run.trigger) for run in house.runs()] == [
        ("interrupted", "schedule"),
        ("succeeded", "interrupted"),
    ]


def test_run_of_a_process_that_lives_is_left_alone(house, idle_job):
    """Its lock is held: it may take as long as it likes."""
    house.add_job(idle_job)
    account = house.enroll()
    leave_running(house, account)
    engine = house.engine()
    with house.store.locks.hold(run_lock("invoices", account.id)):
        engine.recover()
    assert house.states() == ["running"]


def test_run_of_our_own_is_left_alone(house):
    """A sweep in the middle of it."""
    entered, hold = threading.Event(), threading.Event()

    def job(_context):
        entered.set()
        hold.wait(60)

    house.add_job(job)
    house.enroll()
    engine = house.engine()
    engine.dispatch()
    assert entered.wait(60)
    engine.recover()
    hold.set()
    assert engine.wait_idle(60)
    assert house.states() == ["succeeded"]


def test_run_that_is_interrupted_moves_the_fence(house, idle_job):
    """Should the lost process wake up after all, its results are refused."""
    house.add_job(idle_job)
    account = house.enroll()
    claim = leave_running(house, account)
    house.engine().recover()
    assert house.row(account).fence > claim.fence


def test_interrupted_run_starts_from_the_last_checkpoint(house):
    """Rows exactly once: what was committed is not fetched again."""
    seen = []
    aborting = house.wiring.stopping.aborting

    def job(context):
        seen.append(dict(context.cursor))
        for number in range(context.cursor.get("next", 0), 4):
            context.emit("invoices", {"id": number})
            context.checkpoint(next=number + 1)
            if number == 1 and len(seen) == 1:
                aborting.set()

    house.add_job(job)
    house.enroll()
    house.turn(house.engine())
    aborting.clear()
    house.turn(house.engine())
    assert (house.states(), seen) == (["interrupted", "succeeded"], [{}, {"next": 2}])
    assert [row["id"] for row in house.sink.tables["invoices"]] == [0, 1, 2, 3]


def test_refresh_of_a_process_that_is_gone_leaves_the_account_in_doubt(house, idle_job):
    """Its outcome is unknown, and the account says so."""
    house.add_job(idle_job)
    account = house.enroll()
    house.store.grants.begin_refresh(house.store.grants.read(account.id), "process 1 on gone", house.clock.now())
    house.engine().recover()
    assert house.store.accounts.by_id(account.id).state is AccountState.IN_DOUBT


def test_refresh_of_a_process_that_lives_is_left_alone(house, idle_job):
    """Its lock is held."""
    house.add_job(idle_job)
    account = house.enroll()
    house.store.grants.begin_refresh(house.store.grants.read(account.id), "process 1 on here", house.clock.now())
    with house.store.locks.hold(account_lock(account.id)):
        house.engine().recover()
    assert house.store.accounts.by_id(account.id).state is AccountState.ACTIVE


def test_account_in_doubt_runs(house, idle_job):
    """The next use is what settles it."""
    house.add_job(idle_job)
    account = house.enroll()
    house.store.grants.begin_refresh(house.store.grants.read(account.id), "process 1 on gone", house.clock.now())
    engine = house.engine()
    engine.recover()
    house.turn(engine)
    assert house.states() == ["succeeded"]


def test_retrying_run_survives_a_restart(house):
    """Its process is gone while it waits: it goes on as the same run, at its time."""
    from worker.errors import TryAgainLater

    attempts = []

    def job(context):
        attempts.append(context.run_id)
        if len(attempts) == 1:
            raise TryAgainLater("503")

    house.add_job(job, every=3600.0)
    house.enroll()
    house.turn(house.engine())
    engine = house.engine()
    engine.recover()
    early = house.turn(engine)
    house.clock.advance(10)
    house.turn(engine)
    assert (early, house.states(), len(set(attempts))) == (0, ["succeeded"], 1)


def test_abandoned_runs_are_marked_for_the_next_start(house):
    """What a drain leaves behind starts again first; its late results are refused."""
    entered, hold = threading.Event(), threading.Event()

    def job(_context):
        entered.set()
        hold.wait(60)

    house.add_job(job)
    account = house.enroll()
    engine = house.engine()
    engine.dispatch()
    assert entered.wait(60)
    left = engine.abandon()
    hold.set()
    assert engine.wait_idle(60)
    assert (left, house.states(), house.row(account).trigger) == (1, ["interrupted"], "interrupted")
