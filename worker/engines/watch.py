"""What the clocks say about the time since the last look at the schedule.

Two things have to be noticed. The wall clock was set back: due times that lie a day ahead would have us wait for a day.
And nobody has looked for a while, because the machine slept or the process did not run: what fell due then was missed,
while what is merely late because the pool was full was not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.clock import Clock

#: Seconds by which the wall clock may fall behind the elapsed time before it was set back; slewing takes less.
_SET_BACK = 1.0
#: Seconds without a look after which nobody was there. Looks are half a minute apart at most, unless the store is slow.
_ABSENT = 90.0
#: Seconds that a firing may be late when we come back and still not count as missed.
_LATE = 60.0


class Watch:
    """Asked at every look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: tuple[float, float] | None = None
        self._here_since = float("-inf")

    def begin(self) -> None:
        """From now on somebody looks; what fell due before has been missed."""
        self._here_since = self._clock.now()

    def look(self) -> tuple[float, bool]:
        """The wall time, and whether it was set back since the last look."""
        now, elapsed = self._clock.now(), self._clock.monotonic()
        set_back = False
        if self._last is not None:
            passed = now - self._last[0]
            set_back = passed < elapsed - self._last[1] - _SET_BACK
            if set_back:
                self._here_since = min(self._here_since, now)
            elif passed > _ABSENT:
                self._here_since = now
        self._last = (now, elapsed)
        return now, set_back

    def missed(self, due: float) -> bool:
        """Whether nobody was there when this fell due."""
        return due < self._here_since - _LATE
