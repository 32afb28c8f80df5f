"""When a job is due next for an account: "next after now", in one step however long nobody looked.

Intervals count from the epoch, shifted by a phase: a stable hash of job and account. So a thousand accounts on a
quarter-hour spread evenly over it, and neither a restart nor a re-enrolment moves them. There is no random jitter: with
intervals it accumulates, and the mean period grows.

Cron lines are read in their time zone. Where the clocks go back, a line that names its hours runs once, the first time;
one that leaves them open (`*/15 * * * *`) runs in both passes of the hour. Where they go forward, a time that does not
exist runs as long after the gap as it was meant to come after its beginning, and with whatever else falls there as one.
With `jitter`, an account's runs start that much later, always by the same amount.

APScheduler says which wall times a line names, and nothing about zones: by itself it leaves out firings near a change
of the clocks (a midnight that does not exist, the first hour after one that came twice).
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from worker.config.cron import cron_trigger, has_fixed_hour

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.config.model import JobConfig

#: Seconds on either side of a moment in which a change of the clocks matters to it: a zone may leave out a whole day.
_NEAR = 86400.0


def phase(job: str, account: str) -> float:
    """A number in [0, 1) that belongs to this job and account for ever."""
    return int.from_bytes(hashlib.sha256(f"{job}\0{account}".encode()).digest()[:8]) / 2**64


class Timetable:
    """The firings of one job."""

    def __init__(self, job: JobConfig) -> None:
        self._job = job
        self._cron: Any = None
        self._fixed_hour = False
        self._zone = ZoneInfo(job.timezone)
        if job.cron is not None:
            # In UTC, so that every wall time is there, and once.
            self._cron = cron_trigger(job.cron, UTC)
            self._fixed_hour = has_fixed_hour(job.cron)

    @property
    def scheduled(self) -> bool:
        """Whether the job runs by itself at all."""
        return self._job.every is not None or self._cron is not None

    def first(self, account: str, now: float) -> float | None:
        """When a new account's first run is due: at once for an interval, at its time for a cron line."""
        return now if self._job.every is not None else self.after(account, now)

    def after(self, account: str, now: float) -> float | None:
        """The first firing after a moment; None when the job has no schedule or the cron line never comes again."""
        own = phase(self._job.name, account)
        if self._job.every is not None:
            return _next_in_steps(self._job.every, own * self._job.every, now)
        if self._cron is None:
            return None
        shift = own * self._job.jitter
        return self._next_by_cron(now, shift)

    def _next_by_cron(self, now: float, shift: float) -> float | None:
        start, best = now - shift, math.inf
        for wall in self._walls(start + min(self._offsets(start))):
            # A wall time in a gap comes late, so one that follows it may come first; this far on, none can.
            if best < math.inf and wall.timestamp() > best + max(self._offsets(best)):
                break
            # Compared as it is answered: `moment > now - shift` may round the other way, and be the same firing again.
            best = min(best, *(moment for moment in self._moments(wall) if moment + shift > now), math.inf)
        return best + shift if best < math.inf else None

    def _walls(self, start: float) -> Iterator[datetime]:
        """What the line names from then on: wall times, written as if they were UTC."""
        wall: datetime | None = datetime.fromtimestamp(math.floor(start), UTC)
        while (wall := self._cron.get_next_fire_time(None, wall)) is not None:
            yield wall
            wall += timedelta(seconds=1)

    def _moments(self, wall: datetime) -> Iterator[float]:
        """When the clocks of the zone show this, or would have (PEP 495)."""
        first = wall.replace(tzinfo=self._zone)
        yield first.timestamp()
        again = first.replace(fold=1)
        back = datetime.fromtimestamp(again.timestamp(), self._zone)
        if not self._fixed_hour and back.replace(tzinfo=None) == again.replace(tzinfo=None):
            yield again.timestamp()

    def _offsets(self, moment: float) -> set[float]:
        """Seconds by which the zone is ahead of UTC, around a moment."""
        near = (datetime.fromtimestamp(at, self._zone) for at in (moment - _NEAR, moment, moment + _NEAR))
        return {offset.total_seconds() for at in near if (offset := at.utcoffset()) is not None}


def _next_in_steps(step: float, shift: float, now: float) -> float:
    """The first of the moments `n * step + shift` after `now`. The loops mend what rounding does to the division."""
    count = math.floor((now - shift) / step)
    while count * step + shift > now:
        count -= 1
    while count * step + shift <= now:
        count += 1
    return count * step + shift
