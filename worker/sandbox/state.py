"""Everything the sandbox remembers, under one lock, with one clock that tests can push forward."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from worker.sandbox.churn import Churn
from worker.sandbox.faults import FaultPlan
from worker.sandbox.seeding import seeded_dataset
from worker.sandbox.tally import Tally
from worker.sandbox.tokens import TokenKeeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.sandbox.authorize import Asked
    from worker.sandbox.settings import SandboxConfig, Settings


class State:
    """Shared by all handlers. Take `lock` before touching anything in here but `config`, `now` and `pause`."""

    def __init__(self, config: SandboxConfig, clock: Callable[[], float]) -> None:
        self.lock = threading.RLock()
        self.config = config
        self.settings: Settings = config
        self.tally = Tally()
        self.faults = FaultPlan()
        self.tokens = TokenKeeper(lambda: self.settings, lambda: self.tally)
        self.dataset = seeded_dataset(config.rows, config.seed)
        self.churn = Churn(self.dataset, config.seed)
        #: Consent pages that were shown and not answered yet, by their one-time id.
        self.asked: dict[str, Asked] = {}
        #: Times of the API requests in the current rate window, oldest first.
        self.recent: deque[float] = deque()
        #: Seconds by which `advance` has pushed the clock.
        self.offset = 0.0
        self.stopping = threading.Event()
        self.port = 0
        self._clock = clock

    @property
    def base_url(self) -> str:
        """Origin of this sandbox."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def issuer(self) -> str:
        """The authorization server's issuer identifier."""
        return f"{self.base_url}/oauth"

    @property
    def api_base(self) -> str:
        """Where the API's resources are, with a slash at the end."""
        return f"{self.base_url}/api/2012-02-01/auth/resources/"

    def now(self) -> float:
        """Seconds since 1970 on the sandbox's clock."""
        return self._clock() + self.offset

    def pause(self, seconds: float) -> None:
        """Wait without the lock; ends early when the sandbox stops."""
        if seconds > 0:
            self.stopping.wait(seconds)

    def wait_for_rate(self) -> float:
        """Count an API request; 0 when it is within the limit, else the seconds until one fits."""
        limit, window, now = self.settings.rate_limit, self.settings.rate_window, self.now()
        if not limit:
            return 0.0
        while self.recent and self.recent[0] <= now - window:
            self.recent.popleft()
        if len(self.recent) >= limit:
            return self.recent[len(self.recent) - limit] + window - now
        self.recent.append(now)
        return 0.0
