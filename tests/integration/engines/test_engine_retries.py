"""Attempts that fail in a way that a pause mends: the same run goes on, after the time that was asked for."""

from __future__ import annotations

import threading

import pytest

from worker.errors import Misconfigured, TryAgainLater
from worker.states import RunState

HOUR = 3600.0


def failing(times, error):
    """A job that raises so often, and then does its work; and the list of its attempts."""
    attempts = []

    def job(context):
        attempts.append(context.run_id)
        if len(attempts) <= times:
            raise error

    return job, attempts


def drive(house, engine, seconds=2000.0, step=5.0):
    """Let time pass in small steps, with a look at each."""
    for _ in range(int(seconds / step)):
        house.turn(engine)
        house.clock.advance(step)


def test_retry_goes_on_as_the_same_run(house):
    """One entry in the history, with three attempts."""
    job, attempts = failing(2, TryAgainLater("503"))
    house.add_job(job, every=HOUR)
    house.enroll()
    drive(house, house.engine(), seconds=60)
    assert [(run.state, run.attempt) for run in house.runs()] == [(RunState.SUCCEEDED, 3)]
    assert len(set(attempts)) == 1


def test_retry_is_recorded_as_retrying_meanwhile(house):
    """With the error, so that an operator sees why."""
    job, _ = failing(1, TryAgainLater("GET /invoices answered 503"))
    house.add_job(job)
    house.enroll()
    house.turn(house.engine())
    assert [(run.state, run.error) for run in house.runs()] == [(RunState.RETRYING, "GET /invoices answered 503")]


def test_retry_waits(house):
    """Not at once; and longer each time."""
    job, attempts = failing(9, TryAgainLater("503"))
    house.add_job(job, every=HOUR)
    account = house.enroll()
    engine = house.engine()
    waits = []
    for _ in range(3):
        house.turn(engine)
        waits.append(house.row(account).next_due - house.clock.now())
        house.clock.advance(waits[-1])
    assert [5 <= waits[0] <= 6.25, 10 <= waits[1] <= 12.5, 20 <= waits[2] <= 25] == [True] * 3
    assert len(attempts) == 3


def test_retries_that_are_used_up_are_a_failed_run(house):
    """Three retries are four attempts."""
    job, attempts = failing(99, TryAgainLater("503"))
    house.add_job(job, every=HOUR, retries=3)
    house.enroll()
    drive(house, house.engine(), seconds=600)
    assert [(run.state, run.attempt) for run in house.runs()] == [(RunState.FAILED, 4)]
    assert len(attempts) == 4


def test_retries_that_are_used_up_leave_the_schedule_alone(house):
    """The next firing is a run of its own."""
    job, _ = failing(2, TryAgainLater("503"))
    house.add_job(job, every=HOUR, retries=1)
    house.enroll()
    drive(house, house.engine(), seconds=2 * HOUR + 60, step=60)
    assert house.states() == ["failed", "succeeded", "succeeded"]


def test_no_retries_means_none(house):
    """`retries = 0`."""
    job, attempts = failing(9, TryAgainLater("503"))
    house.add_job(job, every=HOUR, retries=0)
    house.enroll()
    drive(house, house.engine(), seconds=300)
    assert (house.states(), len(attempts)) == (["failed"], 1)


@pytest.mark.parametrize("retries", [0, 3])
def test_retry_after_is_honoured_whole(house, retries):
    """Two hours asked for on a job of every minute: nothing for two hours, retries left or not."""
    job, attempts = failing(1, TryAgainLater("429", after=2 * HOUR))
    house.add_job(job, every=60.0, retries=retries)
    house.enroll()
    engine = house.engine()
    drive(house, engine, seconds=2 * HOUR, step=60)
    asked_early = len(attempts)
    drive(house, engine, seconds=HOUR, step=60)
    assert asked_early == 1
    assert len(attempts) > 1


def test_retry_after_survives_a_ring_and_a_restart_while_retries_are_left(house):
    """A new engine and a command's ring pull nothing in."""
    job, attempts = failing(1, TryAgainLater("429", after=2 * HOUR))
    house.add_job(job, every=60.0)
    house.enroll()
    house.turn(house.engine())
    house.clock.advance(600)
    engine = house.engine()
    engine.ring()
    house.turn(engine)
    assert len(attempts) == 1


def test_fault_of_the_job_is_not_tried_again(house):
    """It would fail the same way."""
    job, attempts = failing(9, ValueError("a bug"))
    house.add_job(job, every=HOUR)
    house.enroll()
    drive(house, house.engine(), seconds=300)
    assert (house.states(), len(attempts)) == (["failed"], 1)


def test_fault_of_the_configuration_is_not_tried_again_and_counts_as_missed(house):
    """It is made up for when the integration works again."""
    job, attempts = failing(1, Misconfigured("the provider refuses the client itself"))
    house.add_job(job, every=HOUR)
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    house.clock.advance(10)
    missed = house.row(account).missed_since
    house.store.schedule.wake_integration("books", house.clock.now())
    house.turn(engine)
    assert missed is not None
    assert (house.states(), len(attempts)) == (["failed", "succeeded"], 2)


def test_flag_ends_a_run_that_waits_for_its_retry(house):
    """Recorded as skipped, in its own entry."""
    job, _ = failing(9, TryAgainLater("503"))
    house.add_job(job, every=HOUR)
    account = house.enroll()
    engine = house.engine()
    house.turn(engine)
    house.store.accounts.pause(account, house.clock.now(), "enough")
    house.clock.advance(60)
    house.turn(engine)
    assert [(run.state, run.error) for run in house.runs()] == [(RunState.SKIPPED, "paused: enough")]


def test_run_by_hand_of_an_unscheduled_job_does_not_wait_for_a_retry_that_never_comes(house):
    """Nobody would make it: the run fails."""
    job, _ = failing(9, TryAgainLater("503"))
    assignment = house.add_job(job, every=None)
    account = house.enroll()
    due = house.store.schedule.open_entry("invoices", account)
    ended = house.wiring.runner.run(assignment, due, lambda _now: None, trigger="manual")
    assert (ended.state, house.states()) == (RunState.FAILED, ["failed"])


def test_retry_of_a_job_that_left_the_configuration_is_given_up(house):
    """The run does not stay `retrying` for ever."""
    job, _ = failing(9, TryAgainLater("503"))
    house.add_job(job)
    house.enroll()
    engine = house.engine()
    house.turn(engine)
    engine.use({})
    house.turn(engine)
    assert house.states() == ["failed"]


def test_run_by_hand_takes_the_place_of_one_whose_process_is_gone(house, idle_job):
    """The record says that it is running; nobody holds its lock."""
    assignment = house.add_job(idle_job, every=None)
    account = house.enroll()
    due = house.store.schedule.open_entry("invoices", account)
    house.store.schedule.claim(due, house.clock.now(), None, "a process that was killed", "manual")
    house.clock.advance(1)
    ended = house.wiring.runner.run(assignment, house.row(account), lambda _now: None, trigger="manual")
    assert (ended.state, house.states()) == (RunState.SUCCEEDED, ["interrupted", "succeeded"])


def test_keyboard_interrupt_is_recorded_as_an_interruption(house):
    """Ctrl-C in `worker jobs run`: the run does not stay `running`."""

    def job(_context):
        raise KeyboardInterrupt

    assignment = house.add_job(job)
    account = house.enroll()
    due = house.store.schedule.open_entry("invoices", account)
    ended = house.wiring.runner.run(assignment, due, lambda now: now + 60, trigger="manual")
    assert (ended.state, house.states()) == (RunState.INTERRUPTED, ["interrupted"])


# ---- against the sandbox


def test_short_retry_after_is_waited_out_inside_the_run(online, sandbox):
    """The job does not notice; one attempt."""
    online.add_job(lambda context: context.get("events/"), every=HOUR)
    online.enroll()
    sandbox.fault("api", "http_429", retry_after="1")
    began = online.clock.now()
    online.turn(online.engine())
    assert [(run.state, run.attempt) for run in online.runs()] == [(RunState.SUCCEEDED, 1)]
    assert online.clock.now() - began >= 1.0


def test_long_retry_after_ends_the_attempt_and_is_honoured_whole(online, sandbox):
    """The thread is given back, and the run comes back two hours later at the earliest."""
    online.add_job(lambda context: context.get("events/"), every=60.0)
    account = online.enroll()
    sandbox.fault("api", "http_429", retry_after="7200")
    began = online.clock.now()
    online.turn(online.engine())
    assert online.states() == ["retrying"]
    assert online.row(account).next_due >= began + 7200


@pytest.mark.parametrize(("kind", "status"), [("forbidden", 403), ("http_500", 404)])
def test_answer_4xx_is_a_failed_run_at_once(online, sandbox, kind, status):
    """No retry, and the API's own words."""
    online.add_job(lambda context: context.get("events/"), every=HOUR)
    online.enroll()
    sandbox.fault("api", kind, status=status)
    online.turn(online.engine())
    assert [(run.state, run.attempt) for run in online.runs()] == [(RunState.FAILED, 1)]
    assert str(status) in online.runs()[0].error


@pytest.mark.parametrize("kind", ["http_500", "http_503", "reset_before", "half_body"])
def test_fault_of_the_other_side_is_tried_again(online, sandbox, kind):
    """Server errors and broken lines."""
    online.add_job(lambda context: context.get("events/"), every=HOUR)
    online.enroll()
    sandbox.fault("api", kind, times=5)
    online.turn(online.engine())
    assert online.states() == ["retrying"]


def test_library_that_raises_for_status_is_understood(online, sandbox):
    """`requests.HTTPError` of a job that uses the session by itself."""

    def job(context):
        context.session.get("events/").raise_for_status()

    online.add_job(job, every=HOUR)
    online.enroll()
    sandbox.fault("api", "http_503")
    online.turn(online.engine())
    assert online.states() == ["retrying"]


def test_timeout_ends_the_run_at_its_next_request(online):
    """What was committed before stays."""

    def job(context):
        context.emit("events", {"id": 1}, key="id")
        context.checkpoint(page=1)
        while True:
            context.get("events/")

    online.add_job(job, every=HOUR, timeout=0.3)
    online.enroll()
    online.turn(online.engine())
    assert [(run.state, run.counts.rows) for run in online.runs()] == [(RunState.TIMED_OUT, 1)]


def test_timeout_cuts_a_request_that_hangs(online, sandbox):
    """A silent API: the run is over when its time is, and it is the run's time that was up."""
    online.add_job(lambda context: context.get("events/"), every=HOUR, timeout=0.5)
    online.enroll()
    sandbox.fault("api", "timeout", times=-1)
    engine = online.engine()
    online.turn(engine)
    sandbox.clear_faults()
    assert online.states() == ["timed_out"]


def test_timed_out_run_is_followed_by_the_next_firing(online):
    """From the last checkpoint, at its time; not at once, and not never."""
    online.add_job(lambda context: (threading.Event().wait(0.2) and None) or context.get("events/"), timeout=0.1)
    account = online.enroll()
    online.turn(online.engine())
    assert online.states() == ["timed_out"]
    assert online.row(account).next_due > online.clock.now() - 1


def test_rate_limit_is_shared_by_jobs(online):
    """Two jobs and two accounts of one integration: four requests in a window, not sixteen."""
    from worker.config.model import RateLimit
    from worker.runner.rate import RateLimiter

    limiter = RateLimiter((RateLimit(4, 3600.0, "integration"),), online.clock)
    sent = threading.Semaphore(0)

    def job(context):
        for _ in range(4):
            context.get("events/")
            sent.release()

    for name in ("one", "two"):
        online.add_job(job, name=name, limiter=limiter, timeout=1.5)
    online.enroll("acme")
    online.enroll("globex")
    online.turn(online.engine())
    assert sum(sent.acquire(blocking=False) for _ in range(16)) == 4


def test_connection_that_nobody_answers_is_tried_again(live):
    """No server at all."""

    def job(context):
        context.get("invoices")

    live.add_job(job, every=HOUR, timeout=30.0)
    live.enroll()
    live.turn(live.engine())
    assert live.states() == ["retrying"]
    assert live.runs()[0].error.endswith("/invoices refuses the connection")
