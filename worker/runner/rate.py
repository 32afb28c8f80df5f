"""The integration's rate limit, shared by all its jobs and accounts in this process.

pyrate-limiter clears its buckets on a thread that it starts for each of them and never ends: a thousand accounts with
a limit of their own would be a thousand threads. Here whoever asks clears the bucket first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate, SingleBucketFactory

if TYPE_CHECKING:
    from worker.config.model import RateLimit


class RateLimiter:
    """At most so many requests in any window. Threads share it."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._windows: dict[str, _Window] = {}

    def acquire(self, account: str, patience: float) -> bool:
        """Wait up to `patience` seconds for leave to send one request; answers whether it was given."""
        key = account if self.limit.per == "account" else ""
        # setdefault: two threads may make one at the same time, and only one of the two is kept.
        window = self._windows.get(key) or self._windows.setdefault(key, _Window(self.limit))
        return window.acquire(patience)


class _Window:
    """One count."""

    def __init__(self, limit: RateLimit) -> None:
        self._bucket = InMemoryBucket([Rate(limit.count, int(limit.seconds * Duration.SECOND))])
        self._limiter = Limiter(SingleBucketFactory(self._bucket, schedule_leak=False))

    def acquire(self, patience: float) -> bool:
        self._bucket.leak(self._bucket.now())  # type: ignore[no-untyped-call]
        return bool(self._limiter.try_acquire("request", blocking=True, timeout=patience))
