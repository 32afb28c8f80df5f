"""How fast an integration's API may be asked: by the config, and by what its answers say. Shared by all its jobs and
accounts in this process; another process learns for itself.

Whoever asks is never made to wait here: he is told how long, and whether that is worth a thread is his business.

What an answer says concerns the account that asked, at the host that answered; all accounts there, if the config has
limits that they share and no others. Where it has both, the length of a wait tells: one that is longer than the window
of what is shared comes from what is not. A 503 speaks for the host (RFC 9110 section 15.6.4).

pyrate-limiter counts the windows. Its own waiting and its thread for each window are not used: a thousand accounts with
a limit of their own would be a thousand threads. Whoever asks clears the window first.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from worker.jobs.addresses import origin
from worker.jobs.answers import retry_after
from worker.jobs.limit_fields import read_quotas
from worker.runner.learnt import Learnt

if TYPE_CHECKING:
    import requests

    from worker.clock import Clock
    from worker.config.model import RateLimit

_UNAVAILABLE = 503
#: Of a second, in which pyrate-limiter counts.
_MILLISECONDS = 1000
#: Milliseconds by which a window is longer here: a request may be quicker on its way than the one a window before it.
_MARGIN = 50
#: Windows kept before those are dropped that count nothing.
_MANY = 1000


class _Window:
    """One count. Moments are seconds of a clock that never goes back."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit.count
        self._bucket = InMemoryBucket([Rate(limit.count, int(limit.seconds * _MILLISECONDS) + _MARGIN)])

    def wait(self, now: float) -> float:
        """Seconds until there is room; 0 when there is."""
        if not self.is_empty(now) and self._bucket.count() >= self._limit:
            item = _item(now)
            self._bucket.put(item)  # refused, and that is how it finds out for how long
            waiting = self._bucket.waiting(item)
            assert isinstance(waiting, int)
            return max(waiting, 1) / _MILLISECONDS
        return 0.0

    def take(self, now: float) -> None:
        """Count a request."""
        self._bucket.put(_item(now))

    def is_empty(self, now: float) -> bool:
        """Whether the window holds nothing."""
        self._bucket.leak(_item(now).timestamp)
        return self._bucket.count() == 0


@dataclass
class Counts:
    """What was sent and what was heard."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    windows: dict[tuple[RateLimit, str], _Window] = field(default_factory=dict)
    learnt: Learnt = field(default_factory=Learnt)
    #: Windows, from which number on those are dropped that count nothing.
    look_at: int = _MANY


class RateLimiter:
    """At most so many requests in any window, and none while the API wants none. Threads share it."""

    def __init__(self, limits: tuple[RateLimit, ...], clock: Clock, counts: Counts | None = None) -> None:
        self.limits = limits
        self._clock = clock
        #: Another limiter of the same API may go on with these.
        self.counts = counts or Counts()
        self._shared_up_to = _shared_up_to(limits)

    def reserve(self, account: str, url: str) -> float:
        """Take leave to send one request: 0 when it is given, else the seconds after which to ask again."""
        if not self.limits and not self.counts.learnt:
            return 0.0  # nothing to count, and nothing heard
        place = origin(url)
        concerned = [(account, place), ("", place)]
        with self.counts.lock:
            now = self._clock.monotonic()
            windows = self._windows(account, place)
            wait = max([*(self.counts.learnt.wait(key, now) for key in concerned), *(one.wait(now) for one in windows)])
            if wait > 0:
                return wait
            for window in windows:
                window.take(now)
            for key in concerned:
                self.counts.learnt.take(key)
            return 0.0

    def heard(self, account: str, response: requests.Response) -> None:
        """Take in what an answer says."""
        place, wall = response.url or "", self._clock.now()
        quotas, asked = read_quotas(response.headers, wall), retry_after(response, wall)
        if not quotas and not asked and not self.counts.learnt:
            return  # nearly every answer
        with self.counts.lock:
            now = self._clock.monotonic()
            for whose in (account, ""):
                told = [quota for quota in quotas if self._whose(account, quota.renewed_in) == whose]
                self.counts.learnt.told((whose, origin(place)), told, now)
            if asked:
                self.counts.learnt.hold(self._held(account, response, asked), now + asked)

    def _held(self, account: str, response: requests.Response, asked: float) -> tuple[str, str]:
        """Whom a Retry-After concerns; with a redirection, where it leads to (RFC 9110 section 10.2.3)."""
        place = response.url or ""
        if response.is_redirect:
            place = _joined(place, response.headers.get("Location", ""))
        return "" if response.status_code == _UNAVAILABLE else self._whose(account, asked), origin(place)

    def _whose(self, account: str, wait: float) -> str:
        return "" if wait <= self._shared_up_to else account

    def _windows(self, account: str, place: str) -> list[_Window]:
        """Those that a request counts in, made where they are new."""
        counts, of = self.counts, {"account": account, "host": place}
        keys = [(limit, of.get(limit.per, "")) for limit in self.limits]
        if new := [key for key in keys if key not in counts.windows]:
            if len(counts.windows) >= counts.look_at:
                now = self._clock.monotonic()
                idle = [key for key, window in counts.windows.items() if key not in keys and window.is_empty(now)]
                for key in idle:
                    del counts.windows[key]
                counts.look_at = max(_MANY, 2 * len(counts.windows))
            counts.windows.update({key: _Window(key[0]) for key in new})
        return [counts.windows[key] for key in keys]


def _shared_up_to(limits: tuple[RateLimit, ...]) -> float:
    """Seconds up to which a wait concerns all accounts; negative when none does."""
    shared = [limit.seconds for limit in limits if limit.per != "account"]
    if not shared:
        return -1.0
    return math.inf if len(shared) == len(limits) else max(shared)


def _item(now: float) -> RateItem:
    return RateItem("request", int(now * _MILLISECONDS))


def _joined(base: str, place: str) -> str:
    try:
        return urljoin(base, place)
    except ValueError:  # half an IPv6 address
        return base
