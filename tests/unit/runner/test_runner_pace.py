"""The pace of one run: deadline, shutdown, rate limits, "not so fast", and what is sent again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
import requests

from worker.config.model import RateLimit
from worker.errors import DeadlineExceeded, Interrupted, OutOfQuota, TryAgainLater
from worker.runner.pace import FREE_REPEATS, LONGEST_WAIT, MOST_REPEATS, RunPace, Stopping
from worker.runner.rate import RateLimiter
from worker.testing import ManualClock

URL = "https://api.test/"


@dataclass
class Rests(Stopping):
    """Rests by moving the clock; a shutdown may come after some seconds of it."""

    clock: ManualClock | None = None
    rests: list[float] = field(default_factory=list)
    drains_after: float | None = None

    def rest(self, seconds: float) -> bool:
        assert self.clock is not None
        self.rests.append(seconds)
        if self.drains_after is not None:
            self.clock.advance(self.drains_after)
            self.draining.set()
            return True
        self.clock.advance(seconds)
        return False


@pytest.fixture
def stopping(clock: ManualClock) -> Rests:
    """Nobody wants us to stop."""
    return Rests(clock=clock)


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


def answered(run: RunPace, answer):
    """The run has got something already."""
    run.before(URL)
    run.heard(answer(200))


class TestPatience:
    """The API says how long."""

    @pytest.mark.parametrize("status", [403, 429, 503])
    def test_short_wait_is_waited_out_whole(self, clock, stopping, answer, status):
        """From the first request on; the next leave comes after it."""
        run = pace(clock, stopping)
        refusal = answer(status, Retry_After="30")
        run.heard(refusal)
        assert run.again(refusal, 1)
        assert (run.before(URL), stopping.rests) == (30.0, [30.0])

    def test_quota_that_is_used_up_says_how_long_as_well(self, clock, stopping, answer):
        """A 429 without Retry-After."""
        run = pace(clock, stopping)
        refusal = answer(429, RateLimit='"default";r=0;t=12')
        run.heard(refusal)
        assert run.again(refusal, 1)
        assert (run.before(URL), stopping.rests) == (48.0, [12.0])

    @pytest.mark.parametrize("status", [200, 202])
    def test_success_may_ask_for_patience_too(self, clock, stopping, answer, status):
        """It is an answer, and the next request waits."""
        run = pace(clock, stopping)
        told = answer(status, Retry_After="5")
        run.heard(told)
        assert not run.again(told, 1)
        run.before(URL)
        assert stopping.rests == [5.0]

    @pytest.mark.parametrize(
        ("asked", "timeout", "kind"), [(LONGEST_WAIT + 1, 3600.0, OutOfQuota), (20.0, 20.0, TryAgainLater)]
    )
    def test_long_wait_holds_no_thread(self, clock, stopping, answer, asked, timeout, kind):
        """Too long for a thread, or for the run: the answer is the caller's, and the next request ends the attempt."""
        run = pace(clock, stopping, timeout=timeout)
        refusal = answer(429, Retry_After=str(int(asked)))
        run.heard(refusal)
        assert not run.again(refusal, 1)
        with pytest.raises(TryAgainLater, match=r"api\.test is not to be asked for another") as caught:
            run.before(URL)
        assert (type(caught.value), caught.value.after, stopping.rests) == (kind, int(asked), [])

    def test_patience_has_an_end(self, clock, stopping, answer):
        """The answer then is the caller's."""
        assert not pace(clock, stopping).again(answer(429, Retry_After="0"), MOST_REPEATS + 1)

    def test_wait_ends_when_the_process_drains(self, clock, stopping, answer):
        """A shutdown does not wait for it; what is left of the wait goes with the error."""
        stopping.drains_after = 10.0
        run = pace(clock, stopping)
        run.heard(answer(429, Retry_After="30"))
        with pytest.raises(Interrupted) as caught:
            run.before(URL)
        assert caught.value.after == 20.0

    def test_what_one_run_hears_another_heeds(self, clock, stopping, answer):
        """All runs of an account at an API share what it says."""
        limiter = RateLimiter((), clock)
        pace(clock, stopping, limiter=limiter).heard(answer(429, Retry_After="30"))
        pace(clock, stopping, limiter=limiter).before(URL)
        assert stopping.rests == [30.0]


class TestLimits:
    """The config says how many."""

    def test_pace_waits_for_the_rate_limit(self, clock, stopping):
        """The second request of a minute has to wait for the next one."""
        run = pace(clock, stopping, 600.0, RateLimiter((RateLimit(1, 60.0, "integration"),), clock))
        run.before(URL)
        run.before(URL)
        assert sum(stopping.rests) == pytest.approx(60.0, abs=0.1)

    def test_pace_does_not_hold_a_thread_for_an_hours_limit(self, clock, stopping):
        """The attempt ends, with the whole wait."""
        run = pace(clock, stopping, 7200.0, RateLimiter((RateLimit(1, 3600.0, "integration"),), clock))
        run.before(URL)
        with pytest.raises(OutOfQuota) as caught:
            run.before(URL)
        assert caught.value.after == pytest.approx(3600.0, abs=0.1)


def test_rest_ends_when_the_process_drains():
    """At once, when it does already."""
    stopping = Stopping()
    stopping.draining.set()
    assert stopping.rest(3600.0)


def test_rest_of_a_moment_is_kept_while_draining():
    """A limit of so many a second ends no run; only the end of the drain does."""
    stopping = Stopping()
    stopping.draining.set()
    assert not stopping.rest(0.01)
    threading.Timer(0.01, stopping.aborting.set).start()
    assert stopping.rest(2.0)


BROKEN = (
    requests.ConnectionError("reset"),
    requests.ReadTimeout("late"),
    requests.exceptions.ChunkedEncodingError("…"),
)


class TestInsisting:
    """A failure that may pass, once the run has something to lose."""

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_answer_that_may_pass_is_asked_for_again(self, clock, stopping, answer, status):
        """After a pause."""
        run = pace(clock, stopping)
        answered(run, answer)
        assert run.again(answer(status), 1)
        assert 1 <= stopping.rests[0] <= 1.25

    @pytest.mark.parametrize("error", BROKEN)
    def test_connection_that_broke_is_tried_again(self, clock, stopping, answer, error):
        """Page 400 of 500."""
        run = pace(clock, stopping)
        answered(run, answer)
        assert run.again(error, 1)

    @pytest.mark.parametrize("status", [200, 204, 304])
    def test_success_is_something_to_lose(self, clock, stopping, answer, status):
        """Also one that has nothing new."""
        run = pace(clock, stopping)
        run.heard(answer(status))
        assert run.again(answer(500), 1)

    def test_pauses_grow(self, clock, stopping, answer):
        """By jitter no two runs keep step."""
        run = pace(clock, stopping)
        answered(run, answer)
        assert [run.again(answer(500), attempt) for attempt in (1, 2, 3, 4)] == [True, True, True, False]
        assert [1 <= stopping.rests[0] <= 1.25, 2 <= stopping.rests[1] <= 2.5, 4 <= stopping.rests[2] <= 5] == [
            True
        ] * 3

    @pytest.mark.parametrize("status", [200, 301, 304, 400, 401, 403, 404, 409, 501])
    def test_other_answers_are_the_callers(self, clock, stopping, answer, status):
        """They would be the same again."""
        run = pace(clock, stopping)
        answered(run, answer)
        assert not run.again(answer(status), 1)

    @pytest.mark.parametrize("error", [requests.exceptions.SSLError("certificate"), requests.exceptions.InvalidURL("")])
    def test_other_failures_are_the_callers(self, clock, stopping, answer, error):
        """A certificate does not get valid."""
        run = pace(clock, stopping)
        answered(run, answer)
        assert not run.again(error, 1)

    @pytest.mark.parametrize("outcome", [500, 404])
    def test_run_without_an_answer_yet_does_not_insist(self, clock, stopping, answer, outcome):
        """It has nothing to lose: the schedule's pauses are longer, and hold no thread."""
        run = pace(clock, stopping)
        run.before(URL)
        run.heard(answer(outcome))
        assert not run.again(answer(500), 1)

    def test_pause_beyond_the_deadline_is_not_begun(self, clock, stopping, answer):
        """There would be no time left to use."""
        run = pace(clock, stopping, timeout=1.0)
        answered(run, answer)
        assert not run.again(answer(500), 1)

    def test_run_does_not_insist_for_ever(self, clock, stopping, answer):
        """Where every request fails once, so many are repeated, and one in ten of the others."""
        run = pace(clock, stopping, timeout=None)
        repeated = 0
        for _ in range(100):
            answered(run, answer)
            repeated += run.again(answer(503), 1)
        assert repeated == FREE_REPEATS + 10

    def test_pause_ends_when_the_process_drains(self, clock, stopping, answer):
        """The run starts again first thing."""
        run = pace(clock, stopping)
        answered(run, answer)
        stopping.drains_after = 0.5
        with pytest.raises(Interrupted):
            run.again(answer(500), 3)

    def test_repetition_is_told(self, clock, stopping, answer, caplog):
        """With where and why, and without what may be secret in an address."""
        caplog.set_level("INFO", "worker")
        run = pace(clock, stopping)
        answered(run, answer)
        run.again(answer(502, "https://me:s3cret@api.test/page?token=s3cret"), 1)
        (line,) = [one for one in caplog.records if one.message == "request is sent again"]
        assert (line.url, line.reason, line.attempt) == (f"{URL}page", "answered 502", 1)
