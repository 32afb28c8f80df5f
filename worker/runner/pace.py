"""Manners and limits of one run: its deadline, the rate limits, "not so fast", and what is sent again.

A wait that the limits or the API ask for is honoured whole. A short one is waited out here, so the job does not notice;
a long one ends the attempt, and the run comes back after that time without having held a place in the pool.

A failure that a pause may mend ends the attempt of a run which has had no answer yet: there is nothing to lose, and the
schedule's pauses grow. Once it has, the request is sent again first, so that one lost connection on page 400 does not
cost the 399 before it.
"""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from worker.accounts.backoff import wait_after
from worker.accounts.network_words import what_happened
from worker.clock import span
from worker.errors import DeadlineExceeded, Interrupted, OutOfQuota, TryAgainLater
from worker.jobs.addresses import plain
from worker.jobs.answers import asked_wait
from worker.jobs.validators import NOT_MODIFIED
from worker.runner.rate import RateLimiter

if TYPE_CHECKING:
    from worker.clock import Clock

log = logging.getLogger(__name__)

#: Seconds that are waited out inside a run: a window of a minute, which most limits have, and some more.
LONGEST_WAIT = 90.0
#: Seconds that are waited out even while the process shuts down: a limit of so many a second does not end a run.
SHORT_WAIT = 2.0
#: How often one request is sent again, be it because the API asked for patience or because it failed.
MOST_REPEATS = 3
#: Of the requests of a run, so many may be repeated after failures, and one of so many more: where everything fails
#: every other time, to insist is a burden on a server that has enough to carry.
FREE_REPEATS, REPEATS_PART = 10, 10
#: Seconds before the first repetition after a failure; doubled with each more.
FIRST_PAUSE = 1.0
#: Answers that ask for patience (RFC 6585 section 4, RFC 9110 section 15.6.4; GitHub's 403), if they say how long.
_PATIENCE = frozenset({403, 429, 503})
#: Answers that may be another one next time: timeout, too many, and what servers and gateways say of themselves.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
#: Failures to get an answer that may go by. One of TLS does not.
_LOST = requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError
_SUCCESSES = range(200, 300)


@dataclass
class Stopping:
    """How far a shutdown has come."""

    #: No new runs, no long waits; what runs may finish.
    draining: threading.Event = field(default_factory=threading.Event)
    #: The deadline has passed: every run ends at its next request.
    aborting: threading.Event = field(default_factory=threading.Event)

    def rest(self, seconds: float) -> bool:
        """Let time pass; answers whether a shutdown came in between. It leaves short waits alone until it aborts."""
        return (self.draining if seconds > SHORT_WAIT else self.aborting).wait(seconds)


class RunPace:
    """The pace of one run's session."""

    def __init__(
        self, clock: Clock, stopping: Stopping, limiter: RateLimiter | None, account: str, timeout: float | None
    ) -> None:
        self._clock = clock
        self._stopping = stopping
        self._limiter = limiter or RateLimiter((), clock)
        self._account = account
        self._timeout = timeout
        #: Requests sent, those of them that were repeated after a failure, and whether any was answered well.
        self._sent = self._repeated = 0
        self._answered = False
        self._ends_at = None if timeout is None else clock.monotonic() + timeout

    @property
    def left(self) -> float | None:
        """Seconds until the deadline, 0 when it has passed; None without one."""
        return None if self._ends_at is None else max(self._ends_at - self._clock.monotonic(), 0.0)

    def before(self, url: str) -> float | None:
        """See `worker.accounts.pace.Pace`. Raises TryAgainLater when leave is too long in coming."""
        self.check()
        while wait := self._limiter.reserve(self._account, url):
            if self._is_too_long(wait):
                raise _too_long(url, wait)
            if wait > SHORT_WAIT:
                log.debug("waiting for room within a rate limit", extra={"url": plain(url), "wait": round(wait, 1)})
            self._rest(wait)
        self._sent += 1
        return self.left

    def heard(self, response: requests.Response) -> None:
        """See `worker.accounts.pace.Pace`."""
        self._limiter.heard(self._account, response)
        self._answered |= response.status_code in _SUCCESSES or response.status_code == NOT_MODIFIED

    def again(self, outcome: requests.Response | requests.RequestException, attempt: int) -> bool:
        """See `worker.accounts.pace.Pace`."""
        if attempt > MOST_REPEATS:
            return False
        if isinstance(outcome, requests.Response) and outcome.status_code in _PATIENCE:
            asked = asked_wait(outcome, self._clock.now())
            if asked is not None:
                # Waited for in `before`, with all others whom it concerns.
                return not self._is_too_long(asked) and _told(outcome, asked, attempt)
        return self._may_insist(outcome) and self._pause(outcome, attempt)

    def _may_insist(self, outcome: requests.Response | requests.RequestException) -> bool:
        if isinstance(outcome, requests.Response):
            passing = outcome.status_code in _PASSING
        else:
            passing = isinstance(outcome, _LOST) and not isinstance(outcome, requests.exceptions.SSLError)
        return passing and self._answered and self._repeated < FREE_REPEATS + self._sent // REPEATS_PART

    def _pause(self, outcome: requests.Response | requests.RequestException, attempt: int) -> bool:
        wait = wait_after(attempt, None, random.random(), first=FIRST_PAUSE)  # noqa: S311 - no secret
        if self._is_too_long(wait):
            return False
        self._repeated += 1
        _told(outcome, wait, attempt)
        self._rest(wait)
        return True

    def _is_too_long(self, wait: float) -> bool:
        return wait > LONGEST_WAIT or (self.left is not None and wait >= self.left)

    def _rest(self, wait: float) -> None:
        until = self._clock.monotonic() + wait
        if self._stopping.rest(wait):
            left = max(until - self._clock.monotonic(), 0.0)
            raise Interrupted(f"the process shut down while a request had to wait {span(wait)}", after=left)

    def check(self) -> None:
        """Raise what must end this run, if anything."""
        if self._stopping.aborting.is_set():
            raise Interrupted
        if self._ends_at is not None and self._clock.monotonic() >= self._ends_at:
            raise self.overdue()

    def overdue(self) -> DeadlineExceeded:
        """What a run ends with whose time is up."""
        return DeadlineExceeded(
            f"the run took longer than its timeout of {self._timeout:.0f} s",
            hint="a longer timeout in the job's config, or smaller steps with ctx.checkpoint",
        )


def _too_long(url: str, wait: float) -> TryAgainLater:
    """What an attempt ends with instead of waiting. Where only its own time is too short, that is its own fault."""
    words = f"{urlsplit(url).hostname} is not to be asked for another {span(wait)}: its rate limit is used up"
    if wait <= LONGEST_WAIT:
        return TryAgainLater(f"{words}, and so is the run's timeout", after=wait, hint="a longer timeout of the job")
    return OutOfQuota(words, after=wait, hint="nothing: it goes on by itself; or look at rate_limit in the config")


def _told(outcome: requests.Response | requests.RequestException, wait: float, attempt: int) -> bool:
    """Say why a request is sent again, and when."""
    if isinstance(outcome, requests.Response):
        url, reason = plain(outcome.url), f"answered {outcome.status_code}"
    else:
        url, reason = plain(getattr(outcome.request, "url", None)), what_happened(outcome)
    facts = {"url": url, "reason": reason, "wait": round(wait, 1), "attempt": attempt}
    log.info("request is sent again", extra=facts)
    return True
