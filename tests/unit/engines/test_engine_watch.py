"""What the clocks say about the time between two looks."""

from __future__ import annotations

import pytest

from worker.engines.watch import Watch
from worker.testing import ManualClock

HOUR = 3600.0


def test_watch_notices_nothing_in_normal_times(clock: ManualClock):
    """Time that passes on both clocks alike is just time."""
    watch = Watch(clock)
    watch.look()
    clock.advance(30)
    assert watch.look() == (clock.now(), False)


def test_watch_notices_a_clock_set_back(clock: ManualClock):
    """An hour back, while ten seconds passed."""
    watch = Watch(clock)
    watch.look()
    clock.advance(10)
    clock.set_wall(clock.now() - HOUR)
    assert watch.look()[1]


def test_watch_notices_a_clock_set_back_by_less_than_has_passed(clock: ManualClock):
    """The wall clock has advanced, but by five seconds less than it should."""
    watch = Watch(clock)
    watch.look()
    clock.advance(30)
    clock.set_wall(clock.now() - 5)
    assert watch.look()[1]


def test_watch_tells_of_a_jump_back_once(clock: ManualClock):
    """The look after it is a normal one."""
    watch = Watch(clock)
    watch.look()
    clock.set_wall(clock.now() - HOUR)
    watch.look()
    clock.advance(1)
    assert not watch.look()[1]


def test_watch_takes_a_jump_forward_for_time_that_passed(clock: ManualClock):
    """It is told, by its length; what is due is due."""
    watch = Watch(clock)
    watch.look()
    clock.set_wall(clock.now() + HOUR)
    assert watch.look() == (clock.now(), HOUR)


def test_watch_takes_what_a_jump_forward_has_passed_for_missed(clock: ManualClock):
    """Whether the clock was wrong or a machine stood still, nobody was there."""
    watch = Watch(clock)
    watch.begin()
    due = clock.now() + 600
    watch.look()
    clock.set_wall(clock.now() + HOUR)
    watch.look()
    assert watch.missed(due)


def test_watch_lets_a_machine_that_was_held_for_a_moment_catch_up(clock: ManualClock):
    """Half a minute ahead is no news."""
    watch = Watch(clock)
    watch.look()
    clock.set_wall(clock.now() + 30)
    assert watch.look().jump == 0.0


def test_watch_notices_a_suspend_as_time_and_not_as_a_jump(clock: ManualClock):
    """Both clocks have gone on for eight hours."""
    watch = Watch(clock)
    watch.look()
    clock.advance(8 * HOUR)
    assert watch.look().jump == 0.0


@pytest.mark.parametrize(("written", "back"), [(None, 0.0), (-HOUR, 0.0), (30.0, 0.0), (HOUR, -HOUR)])
def test_watch_tells_a_clock_set_back_while_nothing_ran_by_what_was_written(clock: ManualClock, written, back):
    """The newest record lies in the future: the clock was set back since."""
    moment = None if written is None else clock.now() + written
    assert Watch(clock).set_back_since(moment) == back


def test_watch_calls_a_firing_before_the_start_missed(clock: ManualClock):
    """The process was not there two minutes ago."""
    watch = Watch(clock)
    watch.begin()
    assert watch.missed(clock.now() - 120)


def test_watch_is_lenient_about_a_quick_restart(clock: ManualClock):
    """A firing of half a minute ago is run, not missed."""
    watch = Watch(clock)
    watch.begin()
    assert not watch.missed(clock.now() - 30)


def test_watch_calls_a_firing_late_but_not_missed_when_somebody_was_there(clock: ManualClock):
    """An hour late because the pool was full: somebody looked all the time."""
    watch = Watch(clock)
    watch.begin()
    due = clock.now() + 1
    for _ in range(120):
        clock.advance(30)
        watch.look()
    assert not watch.missed(due)


def test_watch_calls_a_firing_during_sleep_missed(clock: ManualClock):
    """Eight hours without a look: the machine slept."""
    watch = Watch(clock)
    watch.begin()
    watch.look()
    due = clock.now() + HOUR
    clock.advance(8 * HOUR)
    watch.look()
    assert watch.missed(due)


def test_watch_that_never_began_misses_nothing(clock: ManualClock):
    """`worker once` runs whatever is due, however late."""
    watch = Watch(clock)
    watch.look()
    assert not watch.missed(clock.now() - 30 * 24 * HOUR)
