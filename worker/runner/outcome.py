"""What the end of an attempt means for what happens next. Pure: time and chance come as arguments.

nothing raised                      succeeded
DeadlineExceeded                    timed_out; the next firing starts from the last checkpoint
Interrupted, FenceLost              interrupted; starts again first thing
AccountPaused                       interrupted; made up for as soon as the account is resumed
NeedsConsent, Misconfigured         failed; made up for as soon as a human has acted
OutOfQuota                          retrying, when the rate limit leaves room again, as long as it gets on
TryAgainLater, network, 429, 5xx    retrying, after the time the other side asked for at least; then failed
anything else                       failed: a fault in the job or an answer nobody expected
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

from worker.accounts.backoff import wait_after
from worker.accounts.network_words import what_happened
from worker.errors import (
    AccountPaused,
    DeadlineExceeded,
    FenceLost,
    Interrupted,
    Misconfigured,
    NeedsConsent,
    OutOfQuota,
    TryAgainLater,
    WorkerError,
)
from worker.jobs.addresses import plain
from worker.jobs.answers import asked_wait, is_passing
from worker.states import RunState
from worker.store.runs import RunEnd

if TYPE_CHECKING:
    from worker.redact import Scrubber
    from worker.store.records import RunCounts

#: Seconds before the first retry of a run.
FIRST_RETRY = 5.0
_NETWORK = requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError
#: Characters of an error that the history keeps.
_LONGEST_ERROR = 1000


def wait_before_retry(error: BaseException, attempt: int, now: float, chance: float) -> float | None:
    """Seconds until the next attempt makes sense; None when a pause mends nothing."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        if not is_passing(error.response, now):
            return None
    elif not isinstance(error, TryAgainLater | _NETWORK):
        return None
    if isinstance(error, OutOfQuota):
        attempt = 1  # nothing has failed, so nothing is gained by waiting longer each time
    return wait_after(attempt, asked_for(error, now), chance, first=FIRST_RETRY)


def uses_a_retry(error: BaseException, counts: RunCounts) -> bool:
    """Whether an attempt that ended so was one in vain. To wait for room within a limit is none, for a run that has
    written something before or had not begun; else a job without checkpoints would begin anew for ever.
    """
    return not isinstance(error, OutOfQuota) or (counts.requests > 0 and counts.rows == 0)


def asked_for(error: BaseException, now: float) -> float | None:
    """Seconds for which the other side does not want to hear of us; None when it did not say."""
    if isinstance(error, TryAgainLater):
        return error.after
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return asked_wait(error.response, now)
    return None


def state_of(error: BaseException | None) -> RunState:
    """The state of a run that ends with this error and is not tried again."""
    if error is None:
        return RunState.SUCCEEDED
    if isinstance(error, DeadlineExceeded):
        return RunState.TIMED_OUT
    return RunState.INTERRUPTED if isinstance(error, Interrupted | FenceLost | AccountPaused) else RunState.FAILED


def exit_code(error: BaseException | None, now: float) -> int:
    """What a command answers whose run ended with this error; 75 for whatever a pause mends."""
    if error is None:
        return 0
    if wait_before_retry(error, 1, now, 0.0) is not None:
        return TryAgainLater.exit_code
    return error.exit_code if isinstance(error, WorkerError) else WorkerError.exit_code


def end_of(error: BaseException | None, counts: RunCounts, *, retry_at: float | None, now: float, text: str) -> RunEnd:
    """The end of an attempt, as the store records it. `text` is the scrubbed error."""
    not_before = _not_before(error, now)
    if retry_at is not None:
        return RunEnd(RunState.RETRYING, counts, text, next_due=retry_at, not_before=not_before)
    newer = error.evidence.get("newer") if isinstance(error, FenceLost) else None
    return RunEnd(
        state_of(error),
        counts,
        text or None,
        next_due=_start_again(error, now),
        missed=isinstance(error, NeedsConsent | Misconfigured | AccountPaused),
        not_before=not_before,
        newer_fence=newer if isinstance(newer, int) else 0,
    )


def _start_again(error: BaseException | None, now: float) -> float | None:
    """When a run that was cut short starts again; None leaves it to the schedule."""
    if isinstance(error, Interrupted):
        return now + error.after
    return now if isinstance(error, FenceLost) else None


def _not_before(error: BaseException | None, now: float) -> float | None:
    """Until when the other side wants to be left alone; None when it did not say."""
    if isinstance(error, Interrupted):
        return now + error.after if error.after else None
    asked = None if error is None else asked_for(error, now)
    return None if asked is None else now + asked


def error_text(error: BaseException | None, scrubber: Scrubber) -> str:
    """An error in one line for the history, without secrets."""
    if error is None:
        return ""
    if isinstance(error, WorkerError):
        words = error.message
    elif isinstance(error, _NETWORK):
        words = f"{plain(getattr(error.request, 'url', None))} {what_happened(error)}"
    else:
        words = f"{type(error).__name__}: {error}"
    return scrubber(words)[:_LONGEST_ERROR]
