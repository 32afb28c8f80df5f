"""When a job is due next for an account: "next after now", in one step however long nobody looked.

Intervals count from the epoch, shifted by a phase: a stable hash of job and account. So a thousand accounts on a
quarter-hour spread evenly over it, and neither a restart nor a re-enrolment moves them. There is no random jitter: with
intervals it accumulates, and the mean period grows.

Cron lines are read in their time zone. Where the clocks go back, a line that names its hours runs once, the first time;
one that leaves them open (`*/15 * * * *`) runs in both passes of the hour. Where they go forward, a time that does not
exist runs when the gap has passed. With `jitter`, an account's runs start that much later, always by the same amount.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from worker.config.cron import cron_trigger, has_fixed_hour

if TYPE_CHECKING:
    from worker.config.model import JobConfig

#: A cron line that repeats within a change of the clocks is asked again at most this often.
_MOST_STEPS = 200


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
            self._cron = cron_trigger(job.cron, self._zone)
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
        after = now - shift
        moment = datetime.fromtimestamp(after, UTC).astimezone(self._zone)
        for _ in range(_MOST_STEPS):
            # APScheduler answers a time equal to the one it is asked for; ours is strictly after.
            found: datetime | None = self._cron.get_next_fire_time(moment, moment)
            if found is None:
                return None
            if found.timestamp() + shift > now and not (self._fixed_hour and self._repeated(found)):
                return found.timestamp() + shift
            moment = datetime.fromtimestamp(math.floor(max(found.timestamp(), after)) + 1, UTC).astimezone(self._zone)
        return None

    def _repeated(self, moment: datetime) -> bool:
        """Whether this is the second pass of a wall time that comes twice (PEP 495)."""
        return moment.astimezone(self._zone).fold == 1


def _next_in_steps(step: float, shift: float, now: float) -> float:
    """The first of the moments `n * step + shift` after `now`. The loops mend what rounding does to the division."""
    count = math.floor((now - shift) / step)
    while count * step + shift > now:
        count -= 1
    while count * step + shift <= now:
        count += 1
    return count * step + shift
