"""What is due although no run asks for it: a canary's probe, an alert. On a thread of its own, beside the dispatcher,
because a probe waits for a provider that may be down, and a pool full of long runs must not keep an alert back.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.clock import Clock

log = logging.getLogger(__name__)

#: Seconds between two looks at least.
_INTERVAL = 30.0


class Tending:
    """Calls `tend` every half minute; never twice at the same time."""

    def __init__(self, tend: Callable[[], None], clock: Clock) -> None:
        self._tend = tend
        self._clock = clock
        self._looked_at = float("-inf")
        self._alone = threading.Lock()

    def look(self) -> None:
        """Tend in the background if it is time. Never raises."""
        moment = self._clock.monotonic()
        if moment - self._looked_at < _INTERVAL or self._alone.locked():
            return
        self._looked_at = moment
        try:
            threading.Thread(target=self.now, name="tending", daemon=True).start()
        except RuntimeError:  # the machine gives us no thread
            log.warning("accounts could not be tended: no thread")

    def now(self) -> None:
        """Tend, and come back when it is done. Never raises."""
        with self._alone:
            try:
                self._tend()
            except Exception as error:  # the next look does what this one could not
                known = isinstance(error, WorkerError)
                log.error(
                    "accounts could not be tended", extra={"error": str(error)}, exc_info=None if known else error
                )
