"""Watches that jobs deliver: what has not succeeded for longer than it may take is late, and told once.

After a start nobody is told for a while. What was missed while nothing ran is due at once and usually succeeds; an
alarm about yesterday would be over before it is read.
"""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import TYPE_CHECKING

from worker.engines.timetable import Timetable
from worker.errors import WorkerError
from worker.events import IncidentClosed, JobLate
from worker.store.records import SCHEMA_CHANGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.clock import Clock
    from worker.config.model import JobConfig
    from worker.events import Event
    from worker.runner.assignment import Assignment
    from worker.store.store import Store

log = logging.getLogger(__name__)

#: Seconds between two looks.
_INTERVAL = 120.0
#: Seconds after the start in which nobody is told: a fleet's missed runs take some minutes.
_GRACE = 600.0
#: Intervals that may pass without a success.
_PAUSES = 3
#: Firings of a cron line that are looked at for the longest pause between two: a week of a daily one.
_FIRINGS = 8
#: Seconds after which values of another kind are no news any more: whoever had to act upon them was told.
_CHANGE_STANDS = 86400.0


def late_after(job: JobConfig, now: float) -> float | None:
    """Seconds after which the last success is late; None: never."""
    if job.late_after is not None:
        return job.late_after or None
    if job.every is not None:
        return _PAUSES * job.every + job.timeout
    timetable, moments = Timetable(job), [now]
    while len(moments) <= _FIRINGS and (following := timetable.after("", moments[-1])) is not None:
        moments.append(following)
    pauses = [later - sooner for sooner, later in pairwise(moments[1:])]
    return _PAUSES * max(pauses) + job.timeout if pauses else None


class FreshnessWatch:
    """Keeps the schedule's `late_after`, and tells."""

    def __init__(self, store: Store, clock: Clock, announce: Callable[[Event], None]) -> None:
        self._store = store
        self._clock = clock
        self._announce = announce
        self._begun = clock.monotonic()
        self._looked_at = float("-inf")
        #: What the schedule has, as far as this process knows.
        self._expected: dict[str, tuple[JobConfig, float | None]] = {}

    def look(self, assignments: Mapping[str, Assignment]) -> None:
        """Every now and then: take up what jobs there are, and tell what is late. The whole schedule is read for it."""
        moment = self._clock.monotonic()
        if moment - self._looked_at < _INTERVAL:
            return
        self._looked_at, now = moment, self._clock.now()
        fresh = self._store.freshness.unexpected()
        for name, assignment in assignments.items():
            self._expect(name, assignment.config, now, fresh=name in fresh)
        if self._clock.monotonic() - self._begun >= _GRACE:
            self.tell()
        self._close_settled(now)

    def tell(self) -> None:
        """Have people told of what is late. Never raises for a store that does not work: the next look does it."""
        try:
            late = self._store.freshness.tell(self._clock.now())
        except WorkerError as error:
            log.error("what is late could not be told", extra={"error": error.message, "hint": error.hint})
            return
        for one in late:
            facts = {"job": one.job, "integration": one.account.integration, "account": one.account.name}
            log.warning("a job is late", extra={**facts, "failures": one.failures})
            self._announce(JobLate(one.account.integration, one.account.name, one.job, one.since))

    def _expect(self, name: str, job: JobConfig, now: float, *, fresh: bool) -> None:
        before = self._expected.get(name)
        known = before is not None and before[0] == job
        if known and not fresh:
            return
        seconds = before[1] if before is not None and known else late_after(job, now)
        self._store.freshness.expect(name, seconds, now)
        self._expected[name] = (job, seconds)

    def _close_settled(self, now: float) -> None:
        for incident in self._store.incidents.list():
            if incident.kind == SCHEMA_CHANGE and incident.last_at < now - _CHANGE_STANDS:
                closed = self._store.incidents.close(incident.integration, incident.kind, now)
                if closed is not None:
                    words = "the values have been of the new kind for a day"
                    self._announce(IncidentClosed(incident.integration, incident.kind, words))
