"""The integration's rate limit, shared by all its jobs and accounts in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrate_limiter import Duration, Limiter, Rate

if TYPE_CHECKING:
    from worker.config.model import RateLimit


class RateLimiter:
    """At most so many requests in any window. Threads share it."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._limiters: dict[str, Limiter] = {}

    def acquire(self, account: str, patience: float) -> bool:
        """Wait up to `patience` seconds for leave to send one request; answers whether it was given."""
        key = account if self.limit.per == "account" else ""
        # setdefault: two threads may make one at the same time, and only one of the two is kept.
        limiter = self._limiters.get(key) or self._limiters.setdefault(key, self._new())
        return bool(limiter.try_acquire("request", blocking=True, timeout=patience))

    def _new(self) -> Limiter:
        return Limiter(Rate(self.limit.count, int(self.limit.seconds * Duration.SECOND)))
