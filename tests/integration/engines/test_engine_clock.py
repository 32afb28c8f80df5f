"""Time that was missed, clocks that jump, schedules that change, restarts."""

from __future__ import annotations

import pytest

from worker.engines.history import forget
from worker.errors import TryAgainLater
from worker.states import RunState
from worker.store.records import CLOCK_SKEW, Finding, RunCounts
from worker.store.runs import RunEnd

HOUR = 3600.0
YEAR = 365 * 24 * HOUR


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
    house.store.runs.finish(claim, RunEnd(RunState.FAILED, RunCounts(), "429", not_before=asked), house.clock.now())
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


# ---- waits that others asked for


def throttled(house, after, retries=0):
    """A job whose API wants to be left alone for so long, once; and its account."""
    answers = [TryAgainLater("429", after=after)]

    def job(_context):
        if answers:
            raise answers.pop()

    house.add_job(job, retries=retries)
    return house.enroll()


def wait_of_refresh(house, account, seconds):
    """The account's refresh has just failed, and may be tried again after so long."""
    grant, now = house.store.grants.read(account.id), house.clock.now()
    house.store.grants.begin_refresh(grant, "test", now)
    house.store.grants.fail_refresh(grant, Finding("try again later", "503"), now, not_before=now + seconds)


def left_of_refresh(house, account):
    return house.store.grants.read(account.id).not_before - house.clock.now()


@pytest.mark.parametrize("jump", [-YEAR, -HOUR, YEAR])
def test_clock_that_is_set_leaves_a_wait_of_the_provider_as_long_as_it_was(house, idle_job, jump):
    """Ten minutes are left of a quarter of an hour, whatever the clock says: not a year, and not nothing."""
    house.add_job(idle_job)
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    wait_of_refresh(house, account, 900)
    house.clock.advance(300)
    engine.dispatch()
    house.clock.set_wall(house.clock.now() + jump)
    house.turn(engine)
    assert left_of_refresh(house, account) == pytest.approx(600, abs=1)


@pytest.mark.parametrize("jump", [-YEAR, YEAR])
def test_clock_that_is_set_leaves_an_incidents_wait_as_long_as_it_was(house, idle_job, jump):
    """The client is refused; half a minute is half a minute."""
    house.add_job(idle_job)
    house.enroll()
    engine = house.engine()
    house.turn(engine)
    now = house.clock.now()
    house.store.incidents.report("books", "client_refused", Finding("c", "refused"), now, not_before=now + 30)
    house.clock.set_wall(house.clock.now() + jump)
    house.turn(engine)
    left = house.store.incidents.find_open("books", "client_refused").not_before - house.clock.now()
    assert left == pytest.approx(30, abs=1)


def test_clock_set_back_while_nothing_ran_is_found_at_the_start(house, idle_job):
    """The newest run lies in the future: what waits is moved by as much."""
    house.add_job(idle_job)
    account = house.enroll()
    house.turn(house.engine())
    wait_of_refresh(house, account, 900)
    house.clock.set_wall(house.clock.now() - YEAR)
    engine = house.engine()
    engine.run_due()
    assert left_of_refresh(house, account) == pytest.approx(900, abs=1)
    assert house.row(account).next_due <= house.clock.now() + 60


def test_clock_set_back_is_found_at_one_start_only(house, idle_job):
    """The next start after it finds a run of the new time, and moves nothing."""
    house.add_job(idle_job)
    account = house.enroll()
    house.turn(house.engine())
    house.clock.set_wall(house.clock.now() - YEAR)
    house.engine().run_due()
    house.clock.advance(60)
    house.engine().run_due()
    wait_of_refresh(house, account, 900)
    house.engine().run_due()
    assert left_of_refresh(house, account) == pytest.approx(900, abs=1)


def test_clock_set_back_does_not_make_a_retry_wait_for_a_year(house):
    """The run goes on with its next attempt after the seconds that were left."""
    account = throttled(house, 300.0, retries=3)
    engine = house.engine()
    house.turn(engine)
    house.clock.set_wall(house.clock.now() - YEAR)
    house.turn(engine)
    assert 300 <= house.row(account).next_due - house.clock.now() <= 400
    house.clock.advance(400)
    house.turn(engine)
    assert house.states() == ["succeeded"]


def test_clock_set_back_during_a_run_leaves_its_next_firing_near(house):
    """Its row was not due, so nobody had to look at its time; afterwards it must not lie a year ahead."""
    engines = []

    def job(_context):
        house.clock.set_wall(house.clock.now() - YEAR)
        engines[0].dispatch()

    house.add_job(job)
    account = house.enroll()
    engines.append(house.engine())
    house.turn(engines[0])
    house.turn(engines[0])
    assert house.row(account).next_due <= house.clock.now() + 60


@pytest.mark.parametrize("jump", [0.0, -YEAR, YEAR])
def test_retry_after_of_a_run_that_failed_for_good_is_honoured_whole(house, jump):
    """The retries are used up; the next firing is a minute away, and the API asked for two hours."""
    account = throttled(house, 2 * HOUR)
    engine = house.engine()
    house.turn(engine)
    house.clock.set_wall(house.clock.now() + jump)
    for _ in range(100):
        house.turn(engine)
        house.clock.advance(60)
    assert house.states() == ["failed"]
    house.clock.advance(1300)
    house.turn(engine)
    assert house.states() == ["failed", "succeeded"]
    assert house.row(account).not_before is None


def test_retry_after_is_honoured_over_a_restart_and_a_reload(house, idle_job):
    """Due times are brought in line with the schedule then; this one is no firing of it."""
    account = throttled(house, 2 * HOUR)
    house.turn(house.engine())
    asked = house.row(account).next_due
    engine = house.engine()
    house.turn(engine)
    house.add_job(idle_job, every=30.0)
    engine.use(house.jobs)
    house.turn(engine)
    assert (house.row(account).next_due, asked > house.clock.now() + HOUR) == (asked, True)


def test_retry_after_is_honoured_after_a_pause(house):
    """Resumed, the account makes up for what it missed, as soon as the API wants to hear of it."""
    account = throttled(house, 2 * HOUR)
    engine = house.engine()
    house.turn(engine)
    asked = house.row(account).next_due
    paused = house.store.accounts.pause(account, house.clock.now(), "")
    house.store.schedule.ensure("invoices", {})
    house.store.schedule.ensure("invoices", {account.id: house.clock.now()})
    house.store.accounts.resume(paused, house.clock.now())
    assert house.row(account).next_due == asked


def test_run_by_hand_does_not_wait_for_what_the_api_asked(house):
    """An operator decides; afterwards the schedule goes on as usual."""
    account = throttled(house, 2 * HOUR)
    house.turn(house.engine())
    following = house.clock.now() + 60
    house.wiring.runner.run(house.jobs["invoices"], house.row(account), lambda _now: following, trigger="manual")
    assert (house.states(), house.row(account).next_due) == (["failed", "succeeded"], following)


# ---- the history


def test_history_is_newest_first_although_the_clock_was_set_back(house, idle_job):
    """What `runs list` shows on top is what happened last."""
    house.add_job(idle_job)
    house.enroll()
    engine = house.engine()
    house.turn(engine)
    house.clock.set_wall(house.clock.now() - YEAR)
    for _ in range(4):
        house.turn(engine)
        house.clock.advance(60)
    first, *later = [run.created_at for run in house.runs()]
    assert (later == sorted(later), len(later), first > max(later)) == (True, 3, True)


def test_history_survives_a_clock_that_jumps_a_year_ahead(house, idle_job):
    """Nothing has aged by a year in this minute."""
    house.add_job(idle_job)
    house.enroll()
    house.turn(house.engine())
    house.clock.set_wall(house.clock.now() + YEAR)
    assert forget(house.store, house.clock, 90 * 24 * HOUR) == 0
    assert len(house.runs()) == 1


def test_history_is_not_forgotten_while_somebody_contradicts_the_clock(house, idle_job):
    """A process that began with the wrong clock cannot tell by itself; an authorization server can."""
    house.add_job(idle_job)
    house.enroll()
    house.turn(house.engine())
    house.clock.advance(YEAR)
    now = house.clock.now()
    house.store.incidents.report("books", CLOCK_SKEW, Finding(CLOCK_SKEW, "a year ahead"), now, not_before=now)
    assert forget(house.store, house.clock, 90 * 24 * HOUR) == 0
    house.store.incidents.close("books", CLOCK_SKEW, now)
    assert forget(house.store, house.clock, 90 * 24 * HOUR) > 0
