"""The pace of one run: deadline, shutdown, rate limit, and "not so fast"."""

from __future__ import annotations

import threading

import pytest

from worker.config.model import RateLimit
from worker.errors import DeadlineExceeded, Interrupted
from worker.runner.pace import LONGEST_WAIT, MOST_WAITS, RunPace, Stopping
from worker.runner.rate import RateLimiter
from worker.testing import ManualClock

URL = "https://api.test/"


@pytest.fixture
def stopping() -> Stopping:
    """Nobody wants us to stop."""
    return Stopping()


def pace(clock: ManualClock, stopping: Stopping, timeout: float | None = 60.0, limiter: RateLimiter | None = None):
    return RunPace(clock, stopping, limiter, "acme", timeout)


def test_pace_gives_each_request_what_is_left(clock, stopping):
    """A request must not outlast its run."""
    run = pace(clock, stopping)
    clock.advance(45)
    assert run.before(URL) == 15.0


def test_pace_without_a_timeout_has_no_end(clock, stopping):
    """Nothing is left, and nothing is over."""
    run = pace(clock, stopping, timeout=None)
    clock.advance(1e9)
    assert run.before(URL) is None


def test_pace_ends_the_run_at_its_next_request(clock, stopping):
    """Cooperatively: whatever it was doing, it may not ask again."""
    run = pace(clock, stopping)
    clock.advance(60)
    with pytest.raises(DeadlineExceeded, match="timeout of 60 s"):
        run.before(URL)


def test_pace_does_not_care_about_a_wall_clock_that_jumps(clock, stopping):
    """A run is not over because somebody set the clock."""
    run = pace(clock, stopping)
    clock.set_wall(clock.now() + 1e6)
    assert run.before(URL) == 60.0


def test_pace_lets_requests_go_on_while_draining(clock, stopping):
    """Runs may finish."""
    run = pace(clock, stopping)
    stopping.draining.set()
    assert run.before(URL) == 60.0


def test_pace_ends_the_run_when_the_drain_is_over(clock, stopping):
    """At its next request."""
    run = pace(clock, stopping)
    stopping.aborting.set()
    with pytest.raises(Interrupted):
        run.before(URL)


@pytest.mark.parametrize("status", [429, 503])
def test_pace_waits_out_a_short_retry_after(clock, stopping, answer, status):
    """And asks for the request to be sent again."""
    assert pace(clock, stopping).after(answer(status, Retry_After="0"), 1)


@pytest.mark.parametrize("status", [200, 401, 404, 500, 502])
def test_pace_leaves_other_answers_to_the_caller(clock, stopping, answer, status):
    """Even with a Retry-After, a 500 is an answer."""
    assert not pace(clock, stopping).after(answer(status, Retry_After="0"), 1)


def test_pace_leaves_an_answer_without_retry_after_to_the_caller(clock, stopping, answer):
    """Nobody said how long."""
    assert not pace(clock, stopping).after(answer(429), 1)


def test_pace_does_not_hold_a_thread_for_a_long_wait(clock, stopping, answer):
    """It ends the attempt instead; the run comes back after that time."""
    run = pace(clock, stopping, timeout=3600.0)
    assert not run.after(answer(429, Retry_After=str(int(LONGEST_WAIT) + 1)), 1)


def test_pace_does_not_wait_beyond_the_deadline(clock, stopping, answer):
    """There would be no time left to use."""
    assert not pace(clock, stopping, timeout=20.0).after(answer(429, Retry_After="20"), 1)


def test_pace_gives_up_after_some_waits(clock, stopping, answer):
    """The answer then is the caller's."""
    assert not pace(clock, stopping).after(answer(429, Retry_After="0"), MOST_WAITS + 1)


def test_pace_wakes_from_a_wait_when_the_process_drains(clock, stopping, answer):
    """A shutdown does not wait for it; what is left of the wait goes with the error."""
    run = pace(clock, stopping)
    stopping.draining.set()
    with pytest.raises(Interrupted) as caught:
        run.after(answer(429, Retry_After="30"), 1)
    assert caught.value.after == 30.0


def test_pace_waits_for_the_rate_limit(clock, stopping):
    """The second request of a window of a quarter of a second has to wait for the next one."""
    limiter = RateLimiter(RateLimit(1, 0.25, "integration"))
    run = pace(clock, stopping, limiter=limiter)
    run.before(URL)
    assert not limiter.acquire("acme", 0.0)
    assert run.before(URL) == 60.0


def test_pace_ends_a_run_that_waits_for_the_rate_limit(clock, stopping):
    """Also an hour's limit does not hold a shutdown."""
    limiter = RateLimiter(RateLimit(1, 3600.0, "integration"))
    run = pace(clock, stopping, limiter=limiter)
    run.before(URL)
    timer = threading.Timer(0.05, stopping.aborting.set)
    timer.start()
    with pytest.raises(Interrupted):
        run.before(URL)
    timer.join()
