"""Manners and limits of one run: its deadline, the integration's rate limit, and "not so fast" from the other side.

A wait that the API asks for is honoured whole. A short one is waited out here, so the job does not notice; a long one
ends the attempt, and the run comes back after that time without having held a place in the pool.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.errors import DeadlineExceeded, Interrupted
from worker.jobs.answers import retry_after

if TYPE_CHECKING:
    import requests

    from worker.clock import Clock
    from worker.runner.rate import RateLimiter

#: Seconds that an API may ask for and be waited out inside a run.
LONGEST_WAIT = 90.0
#: How often one request is sent again because the API asked for patience.
MOST_WAITS = 3
#: Answers that ask for patience (RFC 6585 section 4, RFC 9110 section 15.6.4). Without Retry-After they are answers.
_PATIENCE = frozenset({429, 503})


@dataclass
class Stopping:
    """How far a shutdown has come."""

    #: No new runs, no long waits; what runs may finish.
    draining: threading.Event = field(default_factory=threading.Event)
    #: The deadline has passed: every run ends at its next request.
    aborting: threading.Event = field(default_factory=threading.Event)


class RunPace:
    """The pace of one run's session."""

    def __init__(
        self, clock: Clock, stopping: Stopping, limiter: RateLimiter | None, account: str, timeout: float | None
    ) -> None:
        self._clock = clock
        self._stopping = stopping
        self._limiter = limiter
        self._account = account
        self._timeout = timeout
        self._ends_at = None if timeout is None else clock.monotonic() + timeout

    @property
    def left(self) -> float | None:
        """Seconds until the deadline, 0 when it has passed; None without one."""
        return None if self._ends_at is None else max(self._ends_at - self._clock.monotonic(), 0.0)

    def before(self, url: str) -> float | None:  # noqa: ARG002 - the protocol's
        """See `worker.accounts.pace.Pace`."""
        self.check()
        if self._limiter is not None:
            while not self._limiter.acquire(self._account, min(1.0, self.left or 1.0)):
                self.check()
        return self.left

    def after(self, response: requests.Response, attempt: int) -> bool:
        """See `worker.accounts.pace.Pace`."""
        if response.status_code not in _PATIENCE or attempt > MOST_WAITS:
            return False
        wait = retry_after(response, self._clock.now())
        if wait is None or wait > LONGEST_WAIT or (self.left is not None and wait >= self.left):
            return False
        until = self._clock.monotonic() + wait
        if self._stopping.draining.wait(wait):
            left = max(until - self._clock.monotonic(), 0.0)
            raise Interrupted(f"the process shut down while waiting {wait:.0f} s as the API had asked", after=left)
        return True

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
