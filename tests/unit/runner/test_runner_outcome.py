"""What the end of an attempt means for what happens next."""

from __future__ import annotations

import pytest
import requests

from worker.errors import (
    Busy,
    DeadlineExceeded,
    FenceLost,
    Interrupted,
    Misconfigured,
    NeedsConsent,
    OutOfQuota,
    ScopeMissing,
    TryAgainLater,
    WorkerError,
)
from worker.redact import Scrubber, Secret
from worker.runner.outcome import FIRST_RETRY, end_of, error_text, state_of, uses_a_retry, wait_before_retry
from worker.states import RunState
from worker.store.records import RunCounts

NOW = 1_767_225_600.0


def end(error, retry_at=None):
    return end_of(error, RunCounts(), retry_at=retry_at, now=NOW, text=str(error or ""))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_retry_follows_an_answer_that_a_pause_mends(answer, status):
    """Throttled, or down."""
    error = requests.HTTPError(response=answer(status))
    assert wait_before_retry(error, 1, NOW, 0.0) == FIRST_RETRY


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 451])
def test_no_retry_follows_an_answer_that_stays_the_same(answer, status):
    """A wrong request is wrong in a minute, too."""
    assert wait_before_retry(requests.HTTPError(response=answer(status)), 1, NOW, 0.0) is None


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("reset"),
        requests.ConnectTimeout(),
        requests.ReadTimeout(),
        requests.exceptions.ChunkedEncodingError(),
        requests.exceptions.ProxyError(),
        TryAgainLater(),
        Busy(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_retry_follows_a_fault_of_the_network(error):
    """Lines break, and are mended."""
    assert wait_before_retry(error, 1, NOW, 0.0) == FIRST_RETRY


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        KeyError("id"),
        WorkerError("404"),
        NeedsConsent(),
        Misconfigured(),
        DeadlineExceeded(),
        Interrupted(),
        FenceLost(),
        requests.exceptions.MissingSchema("no scheme"),
        SystemExit(1),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_retry_follows_what_a_pause_does_not_mend(error):
    """Faults of the job, of the configuration, or for a human."""
    assert wait_before_retry(error, 1, NOW, 0.0) is None


def test_retry_waits_double_each_time():
    """5, 10, 20, 40 seconds, and no more than a quarter of an hour."""
    waits = [wait_before_retry(TryAgainLater(), attempt, NOW, 0.0) for attempt in (1, 2, 3, 4, 30)]
    assert waits == [5.0, 10.0, 20.0, 40.0, 900.0]


def test_retry_is_lengthened_by_chance_and_never_shortened():
    """Accounts that failed together do not come back together."""
    assert wait_before_retry(TryAgainLater(), 1, NOW, 1.0) > wait_before_retry(TryAgainLater(), 1, NOW, 0.0)


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_retry_honours_retry_after_whole(answer, chance):
    """An hour asked for is an hour at least."""
    error = requests.HTTPError(response=answer(429, Retry_After="3600"))
    assert wait_before_retry(error, 1, NOW, chance) >= 3600.0


def test_retry_honours_a_date_in_retry_after(answer):
    """The other form, against the answer's own Date."""
    headers = {"Retry_After": "Thu, 01 Jan 2026 02:00:00 GMT", "Date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    assert wait_before_retry(requests.HTTPError(response=answer(503, **headers)), 1, NOW, 0.0) == 7200.0


def test_retry_waits_its_own_time_when_less_was_asked_for():
    """`Retry-After: 0` is no leave to hammer."""
    assert wait_before_retry(TryAgainLater(after=0.0), 3, NOW, 0.0) == 20.0


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, RunState.SUCCEEDED),
        (DeadlineExceeded(), RunState.TIMED_OUT),
        (Interrupted(), RunState.INTERRUPTED),
        (FenceLost(), RunState.INTERRUPTED),
        (NeedsConsent(), RunState.FAILED),
        (TryAgainLater(), RunState.FAILED),
        (ValueError(), RunState.FAILED),
        (SystemExit(0), RunState.FAILED),
    ],
    ids=lambda value: str(value) if isinstance(value, RunState) else type(value).__name__,
)
def test_state_of_a_run_follows_from_its_error(error, state):
    """One table."""
    assert state_of(error) is state


def test_end_with_a_retry_is_retrying():
    """Whatever the error says of the state."""
    ended = end(TryAgainLater(), retry_at=NOW + 5)
    assert (ended.state, ended.next_due) == (RunState.RETRYING, NOW + 5)


def test_end_by_interruption_is_due_at_once():
    """It starts again first thing."""
    assert end(Interrupted()).next_due == NOW


def test_end_by_interruption_in_a_wait_keeps_what_is_left_of_it():
    """A restart is no way around Retry-After."""
    assert end(Interrupted(after=40.0)).next_due == NOW + 40


@pytest.mark.parametrize("error", [NeedsConsent(), ScopeMissing(), Misconfigured()], ids=lambda e: type(e).__name__)
def test_end_that_needs_a_human_counts_as_missed(error):
    """It is made up for as soon as somebody has acted."""
    assert end(error).missed


@pytest.mark.parametrize("error", [None, ValueError(), TryAgainLater(), DeadlineExceeded(), Interrupted()])
def test_end_that_needs_no_human_is_not_missed(error):
    """The schedule goes on by itself."""
    assert not end(error).missed


def test_end_after_the_last_retry_still_honours_retry_after(answer):
    """The next firing is the API's to delay."""
    assert end(requests.HTTPError(response=answer(429, Retry_After="3600"))).not_before == NOW + 3600


def test_end_that_lost_its_place_in_the_sink_brings_the_newer_fence():
    """So that a store from a backup catches up with the sink in one step."""
    assert end(FenceLost(evidence={"newer": 9})).newer_fence == 9


def test_error_text_holds_no_secret():
    """It is kept in the history for months."""
    scrubber = Scrubber()
    scrubber.learn(Secret("s3cr3t-value-of-a-token"))
    assert "s3cr3t" not in error_text(ValueError("refused s3cr3t-value-of-a-token"), scrubber)


def test_error_text_is_cut():
    """A page of HTML is no message."""
    assert len(error_text(ValueError("x" * 50_000), Scrubber())) <= 1000


def test_error_text_names_the_kind_of_a_foreign_error():
    """`'id'` alone would say nothing."""
    assert error_text(KeyError("id"), Scrubber()) == "KeyError: 'id'"


@pytest.mark.parametrize("attempt", [1, 20])
def test_wait_for_room_within_a_limit_does_not_grow(attempt):
    """Nothing has failed; the twentieth time is like the first."""
    assert wait_before_retry(OutOfQuota(after=100.0), attempt, NOW, 0.0) == 100.0


def test_retry_follows_a_403_that_says_how_long(answer):
    """A limit in another spelling; a library has raised it as an HTTPError."""
    error = requests.HTTPError(response=answer(403, Retry_After="60"))
    assert wait_before_retry(error, 1, NOW, 0.0) == 60


@pytest.mark.parametrize("credentials", ["me:s3cr3t-password@", "s3cr3t-token@"])
def test_error_text_of_the_network_names_the_address_and_nothing_secret_in_it(credentials):
    """Neither credentials in it, which no pattern finds when they have no name, nor what was asked for."""
    error = requests.ConnectionError(
        "no", request=requests.Request("GET", f"http://{credentials}api.example/rows?s=1#f")
    )
    text = error_text(error, Scrubber())
    assert "s3cr3t" not in text
    assert text.endswith("gave no answer (ConnectionError)")


def test_error_text_of_the_network_says_whom_it_asked():
    """Which of the addresses that a job uses is out of reach."""
    error = requests.ConnectionError("no", request=requests.Request("GET", "http://me:pw@api.example:81/rows?s=1"))
    assert error_text(error, Scrubber()).startswith("http://api.example:81/rows gave no answer")


@pytest.mark.parametrize(
    ("error", "rows", "requests_sent", "uses"),
    [
        (OutOfQuota(after=1.0), 5, 9, False),
        (OutOfQuota(after=1.0), 0, 0, False),
        (OutOfQuota(after=1.0), 0, 9, True),
        (TryAgainLater(), 5, 9, True),
    ],
)
def test_wait_for_room_uses_a_retry_only_in_vain(error, rows, requests_sent, uses):
    """A run that gets on, or had not begun, waits as often as it has to."""
    assert uses_a_retry(error, RunCounts(rows=rows, requests=requests_sent)) is uses
