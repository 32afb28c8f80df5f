"""The embedded engine: finds what is due and hands it to a bounded pool of threads in this process.

The record is the schedule table; what is in memory here can be lost at any instruction. A dispatcher thread sleeps
until something rings: the earliest due time (one APScheduler job, armed anew after every look), a run that ended, or
the doorbell. No wait is longer than half a minute, so a clock that jumped, a machine that slept or a ring that was
lost cannot stop the work for longer than that.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from worker.engines.pool import Pool
from worker.engines.timetable import Timetable
from worker.errors import Busy, WorkerError
from worker.states import RunState
from worker.store.store import account_lock, run_lock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.clock import Clock
    from worker.runner.assignment import Assignment
    from worker.runner.runner import Runner
    from worker.store.records import Due
    from worker.store.store import Store

log = logging.getLogger(__name__)

#: Seconds between two looks at the schedule at most.
LONGEST_WAIT = 30.0
_SHORTEST_WAIT = 0.05
#: Seconds for which a row that somebody else holds is left alone.
_COOL_OFF = 1.0
#: Seconds between two sweeps of history and abandoned runs.
_SWEEP = 600.0
#: Seconds to wait after the store failed, doubled up to LONGEST_WAIT.
_FIRST_PAUSE = 1.0
#: Without `catch_up`, a firing this many seconds late counts as missed.
_LATE = 60.0


@dataclass(frozen=True)
class EngineSettings:
    """How the engine works."""

    concurrency: int
    #: Seconds for which finished runs are kept.
    history: float


class EmbeddedEngine:
    """Dispatches due runs. `start`, then `stop_dispatching`; `wait_idle` tells when the last run has ended."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        assignments: Mapping[str, Assignment],
        clock: Clock,
        settings: EngineSettings,
    ) -> None:
        self._store = store
        self._runner = runner
        self._clock = clock
        self._settings = settings
        self._pool = Pool(settings.concurrency)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        #: Rows in the pool's hands, and rows to leave alone until a moment (monotonic).
        self._in_flight: set[tuple[str, int]] = set()
        self._idle = threading.Condition(self._lock)
        self._cooling: dict[tuple[str, int], float] = {}
        self._swept_at = float("-inf")
        self._thread: threading.Thread | None = None
        self._scheduler: Any = None
        self._stale = True
        #: How many attempts have ended in which state since the start.
        self.ended: Counter[RunState] = Counter()
        self.use(assignments)

    def use(self, assignments: Mapping[str, Assignment]) -> None:
        """Work for these jobs from now on (at the start, and after the configuration was read anew)."""
        with self._lock:
            self._assignments = dict(assignments)
            self._timetables = {name: Timetable(job.config) for name, job in assignments.items()}
            self._stale = True
        self._wake.set()

    @property
    def assignments(self) -> Mapping[str, Assignment]:
        """The jobs worked for now."""
        return self._assignments

    def ring(self) -> None:
        """Something in the store has changed: look now."""
        self._stale = True
        self._wake.set()

    def start(self) -> None:
        """Recover what a crash left behind, then dispatch until stopped. Call it after any fork, never before."""
        from apscheduler.executors.debug import DebugExecutor  # noqa: PLC0415 - start-up time
        from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415 - likewise

        self.recover()
        # Its one job only sets an event, so it may run in the scheduler's own thread.
        self._scheduler = BackgroundScheduler(
            timezone=UTC, executors={"default": DebugExecutor()}, job_defaults={"misfire_grace_time": None}
        )
        self._scheduler.start()
        self._thread = threading.Thread(target=self._dispatch_forever, name="dispatcher", daemon=True)
        self._thread.start()

    def stop_dispatching(self) -> None:
        """Start no more runs; those under way go on."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)

    def wait_idle(self, seconds: float) -> bool:
        """Wait for the runs under way; answers whether all have ended."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._in_flight, timeout=seconds)

    @property
    def running(self) -> int:
        """How many runs are under way."""
        with self._lock:
            return len(self._in_flight)

    def run_due(self, only: str | None = None) -> None:
        """Run everything that is due now (of one job), once, and wait for it. For `worker once`."""
        self.recover()
        started = self._clock.now()
        while not self._stopping.is_set():
            self._wake.clear()
            self.dispatch(only)
            with self._lock:
                busy = bool(self._in_flight or self._cooling)
            if not busy and not self._left(only, started):
                return
            self._wake.wait(_COOL_OFF)

    def _left(self, only: str | None, moment: float) -> bool:
        rows = self._store.schedule.due(moment, 1000)
        return any(only is None or row.job == only for row in rows)

    def recover(self) -> None:
        """Runs and refreshes whose process is gone: mark them, so that they start again first."""
        now = self._clock.now()
        for due in self._store.schedule.running():
            if (due.job, due.account.id) in self._in_flight:
                continue
            try:
                with self._store.locks.hold(run_lock(due.job, due.account.id), patience=0):
                    gone = self._store.runs.interrupt(due, "the process that ran it is gone", now)
            except Busy:
                continue
            if gone:
                log.warning(
                    "run was interrupted; it starts again first",
                    extra={"job": due.job, "integration": due.account.integration, "account": due.account.name},
                )
        self._recover_refreshes(now)

    def _recover_refreshes(self, now: float) -> None:
        gone: set[int] = set()
        for account_id in self._store.grants.open_intents():
            try:
                with self._store.locks.hold(account_lock(account_id), patience=0):
                    gone.add(account_id)
            except Busy:
                continue
        count = self._store.grants.interrupted(now, frozenset(gone)) if gone else 0
        if count:
            log.warning(
                "refreshes were interrupted; the next use of these accounts settles them", extra={"count": count}
            )

    def abandon(self) -> int:
        """The process ends now: mark the runs that are still under way; answers how many. Their results are refused."""
        with self._lock:
            left = set(self._in_flight)
        rows = [due for due in self._store.schedule.running() if (due.job, due.account.id) in left]
        reason = "the process shut down before the run had ended"
        return sum(self._store.runs.interrupt(due, reason, self._clock.now()) for due in rows)

    def reconcile(self) -> None:
        """Bring the schedule's rows in line with the configured jobs and the enrolled accounts."""
        now = self._clock.now()
        self._stale = False
        for name, assignment in self._assignments.items():
            timetable = self._timetables[name]
            if not timetable.scheduled:
                continue
            first: dict[int, float] = {}
            latest: dict[int, float] = {}
            known = self._store.schedule.known(name)
            for account in self._store.accounts.list(assignment.config.integration):
                if not assignment.covers(account.integration, account.name):
                    continue
                due = timetable.first(account.label, now) if account.id not in known else now
                following = timetable.after(account.label, now)
                if due is not None and following is not None:
                    first[account.id], latest[account.id] = due, following
            self._store.schedule.ensure(name, first)
            self._store.schedule.clamp(name, latest)
        self._store.schedule.retire([name for name in self._assignments if self._timetables[name].scheduled])

    def dispatch(self, only: str | None = None) -> int:
        """Hand what is due to the pool, as far as there is room; answers how many rows were dealt with."""
        now = self._clock.now()
        if self._stale:
            self.reconcile()
        with self._lock:
            room = self._settings.concurrency - len(self._in_flight)
            limit = room + len(self._in_flight) + len(self._cooling)
        if room <= 0:
            return 0
        handled = 0
        for due in self._store.schedule.due(now, limit):
            key = (due.job, due.account.id)
            if (only is not None and due.job != only) or not self._may_start(key):
                continue
            if self._stopping.is_set() or room <= 0:
                break
            handled += 1
            if not self._skipped(due, now):
                room -= 1
                with self._lock:
                    self._in_flight.add(key)
                self._pool.submit(lambda due=due: self._execute(due))  # type: ignore[misc]
        return handled

    def _may_start(self, key: tuple[str, int]) -> bool:
        with self._lock:
            until = self._cooling.get(key)
            if until is not None and self._clock.monotonic() >= until:
                del self._cooling[key]
                until = None
            return key not in self._in_flight and until is None and key[0] in self._assignments

    def _skipped(self, due: Due, now: float) -> bool:
        reason = self._runner.skip_reason(due)
        job = self._assignments[due.job].config
        late = due.next_due is not None and now - due.next_due > _LATE
        if not reason and late and not job.catch_up and due.trigger == "schedule":
            reason = "missed while nothing ran; catch_up is off"
        if not reason:
            return False
        self.ended[RunState.SKIPPED] += 1
        self._runner.skip(due, reason, self._timetables[due.job].after(due.account.label, now))
        return True

    def _execute(self, due: Due) -> None:
        key = (due.job, due.account.id)
        state: RunState | None = None
        try:
            timetable = self._timetables[due.job]
            assignment = self._assignments[due.job]
            state = self._runner.run(assignment, due, lambda now: timetable.after(due.account.label, now))
            if state is not None:
                self.ended[state] += 1
        except WorkerError as error:
            self.ended[RunState.FAILED] += 1
            log.error("run could not be recorded", extra={"job": due.job, "error": error.message, "hint": error.hint})
        finally:
            with self._idle:
                self._in_flight.discard(key)
                if state is None:
                    self._cooling[key] = self._clock.monotonic() + _COOL_OFF
                self._idle.notify_all()
            self._wake.set()

    def _dispatch_forever(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self.dispatch()
                self._sweep()
                self._arm()
                pause = _FIRST_PAUSE
            except Exception as error:  # the dispatcher outlives a full disk and a lost server
                hint = error.hint if isinstance(error, WorkerError) else ""
                known = isinstance(error, WorkerError)
                log.error(
                    "the schedule cannot be read; trying again",
                    extra={"error": str(error), "hint": hint, "retry_in": pause},
                    exc_info=None if known else error,
                )
                self._stopping.wait(pause)
                pause = min(pause * 2, LONGEST_WAIT)
                continue
            self._wake.wait(LONGEST_WAIT)

    def _arm(self) -> None:
        """Have the scheduler wake us at the earliest due time."""
        now = self._clock.now()
        earliest = self._store.schedule.earliest()
        with self._lock:
            full = len(self._in_flight) >= self._settings.concurrency
        at = now + LONGEST_WAIT
        if earliest is not None and not full:
            at = min(at, earliest)
        # A row that is due but in somebody's hands would have us spin; its end wakes us anyway.
        at = max(at, now + _SHORTEST_WAIT)
        self._scheduler.add_job(
            self._wake.set, "date", run_date=datetime.fromtimestamp(at, UTC), id="ring", replace_existing=True
        )

    def _sweep(self) -> None:
        monotonic = self._clock.monotonic()
        if monotonic - self._swept_at < _SWEEP:
            return
        if self._swept_at != float("-inf"):
            self.recover()
        self._swept_at = monotonic
        before = self._clock.now() - self._settings.history
        forgotten = self._store.runs.prune(before) + self._store.timeline.prune(before)
        if forgotten:
            log.info("old history was forgotten", extra={"rows": forgotten})
