"""What the clocks say about the time since the last look at the schedule.

Two things have to be noticed. The wall clock was set: back, and due times that lie a day ahead would have us wait for a
day; ahead, and waits that others asked for seem to be over. And nobody has looked for a while, because the machine
slept, the process did not run or the clock jumped: what fell due then was missed, while what is merely late because the
pool was full was not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from worker.clock import Clock

#: Seconds by which the wall clock may fall behind the elapsed time before it was set back; slewing takes less.
_SET_BACK = 1.0
#: … and by which it may run ahead of it. A virtual machine that was held for a moment catches up like that.
_SET_AHEAD = 60.0
#: Seconds without a look after which nobody was there. Looks are half a minute apart at most, unless the store is slow.
_ABSENT = 90.0
#: Seconds that a firing may be late when we come back and still not count as missed.
_LATE = 60.0


class Look(NamedTuple):
    """What one look at the clocks found."""

    #: Wall time.
    now: float
    #: Seconds by which the wall clock was set since the look before; negative: back. 0 when it was not.
    jump: float


class Watch:
    """Asked at every look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: tuple[float, float] | None = None
        self._here_since = float("-inf")

    def begin(self) -> None:
        """From now on somebody looks; what fell due before has been missed."""
        self._here_since = self._clock.now()

    def look(self) -> Look:
        """The wall time, and what was done to it since the last look."""
        now, elapsed = self._clock.now(), self._clock.monotonic()
        jump = 0.0
        if self._last is not None:
            passed = now - self._last[0]
            jump = passed - (elapsed - self._last[1])
            if jump < -_SET_BACK:
                self._here_since = min(self._here_since, now)
            elif passed > _ABSENT:
                self._here_since = now
        self._last = (now, elapsed)
        return Look(now, jump if jump < -_SET_BACK or jump > _SET_AHEAD else 0.0)

    def set_back_since(self, written: float | None) -> float:
        """Seconds (negative) by which the clock was set back since a moment that was written down; 0 if it was not."""
        ahead = 0.0 if written is None else written - self._clock.now()
        return -ahead if ahead > _LATE else 0.0

    def missed(self, due: float) -> bool:
        """Whether nobody was there when this fell due."""
        return due < self._here_since - _LATE
