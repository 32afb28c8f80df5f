"""Time that was missed, clocks that jump, schedules that change, restarts."""

from __future__ import annotations

import pytest

from worker.states import RunState
from worker.store.records import RunCounts
from worker.store.runs import RunEnd

HOUR = 3600.0


def test_missed_firings_are_one_run(house, idle_job):
    """Eight hours asleep with a firing every minute: one run, and then the next minute's."""
    house.add_job(idle_job)
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    house.clock.advance(8 * HOUR)
    house.turn(engine)
    assert (len(house.runs()), house.turn(engine)) == (2, 0)
    assert house.row(account).next_due <= house.clock.now() + 60


def test_phase_is_kept_over_a_restart(house, idle_job):
    """A new engine, in the middle of the interval, moves no due time."""
    house.add_job(idle_job, every=900.0)
    accounts = [house.enroll(f"acme-{number}") for number in range(5)]
    house.turn(house.engine(concurrency=8))
    before = [house.row(account).next_due for account in accounts]
    house.clock.advance(1)
    house.turn(house.engine(concurrency=8))
    assert [house.row(account).next_due for account in accounts] == before


def test_restarts_more_frequent_than_the_interval_do_not_starve_a_job(house, idle_job):
    """Restarted every ten minutes, an hourly job still runs hourly."""
    house.add_job(idle_job, every=HOUR)
    house.enroll()
    for _ in range(19):
        house.turn(house.engine())
        house.clock.advance(600)
    assert len(house.runs()) == 4


@pytest.mark.parametrize("hours", [1, 30])
def test_clock_set_back_does_not_stop_the_work(house, idle_job, hours):
    """Due times that lie hours ahead now are computed anew."""
    house.add_job(idle_job)
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    house.clock.set_wall(house.clock.now() - hours * HOUR)
    house.turn(engine)
    assert house.row(account).next_due <= house.clock.now() + 60


def test_clock_that_jumped_ahead_and_came_back_does_not_stop_the_work(house, idle_job):
    """A run at a wrong time in the year 2200, and then back to the schedule."""
    house.add_job(idle_job)
    account = house.enroll()
    engine = house.engine()
    right = house.clock.now()
    house.clock.set_wall(7_258_118_400.0)
    house.turn(engine)
    house.clock.advance(10)
    house.clock.set_wall(right + 10)
    house.turn(engine)
    assert house.row(account).next_due <= right + 70


def test_interval_that_was_shortened_counts_from_now(house, idle_job):
    """A day's interval made a minute: nobody waits for the day to pass."""
    house.add_job(idle_job, every=24 * HOUR)
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    house.add_job(idle_job, every=60.0)
    engine.use(house.jobs)
    house.turn(engine)
    assert house.row(account).next_due <= house.clock.now() + 60


def test_cron_line_that_was_moved_later_does_not_run_at_its_old_time(house, idle_job):
    """Two in the afternoon becomes ten at night; it is noon."""
    house.clock.set_wall(1_767_225_600.0 + 12 * HOUR)
    house.add_job(idle_job, cron="0 14 * * *")
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    house.add_job(idle_job, cron="0 22 * * *")
    engine.use(house.jobs)
    house.turn(engine)
    assert house.row(account).next_due == 1_767_225_600.0 + 22 * HOUR


def test_ring_moves_no_due_time(house, idle_job):
    """It says that accounts may have changed, not schedules: a wait that an API asked for stays."""
    house.add_job(idle_job)
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    house.store.schedule.ensure("invoices", {account.id: 0.0})

    claim = house.store.schedule.claim(house.row(account), house.clock.now(), house.clock.now() + 60, "t", "schedule")
    asked = house.clock.now() + 2 * HOUR
    house.store.runs.finish(claim, RunEnd(RunState.FAILED, RunCounts(), "429", next_due=asked), house.clock.now())
    engine.ring()
    house.turn(engine)
    assert house.row(account).next_due == asked


def test_missed_cron_firing_with_catch_up_off_is_skipped_and_says_so(house, idle_job, until):
    """The nightly run was due while nothing ran; it is recorded, not made."""
    house.add_job(idle_job, cron="0 2 * * *", catch_up=False)
    account = house.enroll()
    house.turn(house.engine())
    house.clock.advance(12 * HOUR)
    house.engine().start()
    until(house.runs)
    assert [(run.state, run.error) for run in house.runs()] == [
        (RunState.SKIPPED, "missed while nothing ran; catch_up is off")
    ]
    assert house.row(account).next_due == 1_767_225_600.0 + 26 * HOUR


def test_missed_cron_firing_is_made_up_for_otherwise(house, idle_job, until):
    """The default."""
    house.add_job(idle_job, cron="0 2 * * *")
    house.enroll()
    house.turn(house.engine())
    house.clock.advance(60 * HOUR)
    house.engine().start()
    until(lambda: house.states() == ["succeeded"])
