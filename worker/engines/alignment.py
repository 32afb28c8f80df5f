"""Keeping the schedule's rows in line with what they stand for: the configured jobs, the enrolled accounts, the clock.

Any of them may change behind our back: jobs by a reload, accounts by a command or on another machine, the clock by
whoever sets it. What is known of a change is only that there may have been one, and it is forgotten only when the rows
have been brought in line.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from worker.clock import span
from worker.engines.plan import reconcile
from worker.engines.watch import Watch

if TYPE_CHECKING:
    from worker.clock import Clock
    from worker.engines.plan import Plan
    from worker.store.store import Store

log = logging.getLogger(__name__)

#: Seconds after which accounts are counted though nobody has said that some have come or gone.
_COUNT_AFTER = 30.0


class Alignment:
    """Asked before every look at the schedule. `use` and the marks may come from any thread, `look` from one."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.watch = Watch(clock)
        #: What the rows are to follow.
        self.plan: Plan = {}
        #: Whether the rows may be out of line with accounts and jobs, and their times with schedules and clock.
        self._stale = self._realign = True
        self._counted_at = float("-inf")
        self._census: object = None
        #: Seconds by which the clock was set and the store's waits have yet to move.
        self._jump = 0.0

    def use(self, plan: Plan) -> None:
        """Follow these jobs from now on."""
        self.plan = plan
        self._realign = self._stale = True

    def suspect(self) -> None:
        """A row was found that does not belong there."""
        self._stale = True

    def count_again(self) -> None:
        """Accounts may have come or gone."""
        self._counted_at = float("-inf")

    def begin(self) -> None:
        """Take up a store that others, or an earlier process of ours, have worked with."""
        self._jump = self.watch.set_back_since(self._store.waits.last_written())

    def look(self) -> float:
        """Bring the rows in line where something may have changed; answers the time of this look."""
        now, jump = self.watch.look()
        self._jump += jump
        if self._jump:
            self._follow_clock(now)
        if self._clock.monotonic() - self._counted_at >= _COUNT_AFTER:
            # An account that was enrolled without a ring, from another machine say, is found all the same.
            self._counted_at = self._clock.monotonic()
            census = self._store.accounts.census()
            self._stale = self._stale or census != self._census
            self._census = census
        if self._stale:
            realign, self._stale, self._realign = self._realign, False, False
            try:
                reconcile(self._store, self.plan, now, realign=realign)
            except BaseException:
                self._stale, self._realign = True, self._realign or realign
                raise
        return now

    def _follow_clock(self, now: float) -> None:
        """The clock was set: waits keep their length, and due times that now lie too far ahead are computed anew.

        What a jump ahead has passed is due: whether the clock was wrong or the machine stood still, nobody knows.
        """
        log.warning("the clock was set %s by %s", "back" if self._jump < 0 else "ahead", span(self._jump))
        self._store.waits.shift(self._jump, now)
        if self._jump < 0:
            self._realign = self._stale = True
        self._jump = 0.0
