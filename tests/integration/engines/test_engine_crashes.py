"""Runs that take their process with them: made again, but not for ever, and not at the others' expense."""

from __future__ import annotations

import threading

import pytest

from worker.states import RunState
from worker.store.records import RunCounts
from worker.store.runs import RunEnd

PATIENCE = 60.0


def crash(house, *accounts, job="invoices"):
    """A process takes these rows, and is gone; another one finds out."""
    for account in accounts:
        following = house.clock.now() + 60
        assert house.store.schedule.claim(
            house.row(account, job), house.clock.now(), following, "a process", "schedule"
        )
    house.clock.advance(0.01)
    house.engine().recover()


def wait_of(house, account):
    return house.row(account).next_due - house.clock.now()


def test_first_crash_is_followed_by_a_run_at_once(house, idle_job):
    """It may have been chance, or somebody's kill -9."""
    house.add_job(idle_job)
    account = house.enroll()
    house.turn(house.engine())
    crash(house, account)
    house.turn(house.engine())
    assert house.states() == ["succeeded", "interrupted", "succeeded"]


def test_second_crash_in_a_row_is_followed_by_a_pause(house, idle_job):
    """A minute, in which the others are served."""
    house.add_job(idle_job)
    account = house.enroll()
    house.turn(house.engine())
    crash(house, account)
    crash(house, account)
    assert (house.states()[1:], wait_of(house, account)) == (["interrupted"] * 2, pytest.approx(60, abs=1))


def test_pause_after_a_crash_is_not_cut_short_by_a_restart(house, idle_job):
    """The job is due every two seconds, and due times are brought in line with that at each start."""
    house.add_job(idle_job, every=2.0)
    account = house.enroll()
    house.turn(house.engine())
    crash(house, account)
    crash(house, account)
    house.turn(house.engine())
    assert wait_of(house, account) == pytest.approx(60, abs=1)


def test_third_crash_in_a_row_is_a_failed_run(house, idle_job):
    """With the reason; from then on the schedule goes on with longer pauses."""
    house.add_job(idle_job)
    account = house.enroll()
    house.turn(house.engine())
    for _ in range(3):
        crash(house, account)
    last = house.runs()[-1]
    assert (last.state, last.error) == (
        RunState.FAILED,
        "took its process with it 3 times in a row; the process that ran it is gone",
    )
    assert wait_of(house, account) == pytest.approx(300, abs=1)


def test_crashes_that_go_on_are_half_an_hour_apart_at_least(house, idle_job):
    """Each a failed run of its own."""
    house.add_job(idle_job)
    account = house.enroll()
    house.turn(house.engine())
    for _ in range(6):
        crash(house, account)
    assert (house.states()[-3:], wait_of(house, account)) == (["failed"] * 3, pytest.approx(1800, abs=1))


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED, RunState.TIMED_OUT, RunState.RETRYING])
def test_end_that_is_recorded_clears_the_count(house, idle_job, state):
    """The process was there to tell: however the run ended, it did not take it along."""
    house.add_job(idle_job)
    account = house.enroll()
    house.turn(house.engine())
    crash(house, account)
    crash(house, account)
    claim = house.store.schedule.claim(house.row(account), house.clock.now(), None, "a process", "schedule")
    house.store.runs.finish(claim, RunEnd(state, RunCounts(), "x"), house.clock.now())
    assert house.row(account).crashes == 0


def test_shutdown_does_not_count(house):
    """What a drain leaves behind starts again first, however often."""
    entered, hold = threading.Event(), threading.Event()

    def job(_context):
        entered.set()
        assert hold.wait(PATIENCE)

    house.add_job(job)
    account = house.enroll()
    engine = house.engine()
    engine.dispatch()
    assert entered.wait(PATIENCE)
    engine.abandon()
    hold.set()
    engine.wait_idle(PATIENCE)
    assert (house.row(account).crashes, house.row(account).trigger) == (0, "interrupted")


def test_suspects_run_one_at_a_time(house):
    """Three runs were under way in both crashes: one of them did it, and the next crash has to tell which."""
    inside, most, lock = [], [], threading.Lock()

    def job(context):
        with lock:
            inside.append(context.account)
            most.append(len(inside))
        threading.Event().wait(0.05)
        with lock:
            inside.remove(context.account)

    house.add_job(job)
    accounts = [house.enroll(f"acme-{number}") for number in range(3)]
    house.turn(house.engine())
    most.clear()
    crash(house, *accounts)
    crash(house, *accounts)
    house.clock.advance(60)
    house.engine().run_due()
    assert (max(most), len(most)) == (1, 3)
    assert [house.row(account).crashes for account in accounts] == [0, 0, 0]


def test_suspect_is_not_starved_by_the_others(house, idle_job):
    """It is looked at first, although more rows are due than there is room for."""
    house.add_job(idle_job)
    accounts = [house.enroll(f"acme-{number}") for number in range(8)]
    engine = house.engine(concurrency=1)
    while house.turn(engine):
        pass
    crash(house, accounts[7])
    crash(house, accounts[7])
    house.clock.advance(600)
    engine = house.engine(concurrency=1)
    engine.recover()
    house.turn(engine)
    assert house.runs()[-1].account == "acme-7"


def test_suspect_does_not_keep_the_others_waiting(house, until):
    """While it runs, they do; the other suspect waits."""
    entered, hold = threading.Event(), threading.Event()

    def job(context):
        if context.account != "acme" and house.row(suspects[0]).crashes:
            entered.set()
            assert hold.wait(PATIENCE)

    house.add_job(job)
    house.enroll("acme")
    suspects = [house.enroll(name) for name in ("globex", "initech")]
    house.turn(house.engine())
    crash(house, *suspects)
    crash(house, *suspects)
    house.clock.advance(60)
    engine = house.engine()
    engine.recover()
    engine.dispatch()
    assert entered.wait(PATIENCE)
    until(lambda: house.states(account="acme") == ["succeeded"] * 2)
    waiting = engine.running
    hold.set()
    assert engine.wait_idle(PATIENCE)
    assert waiting == 1
