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
from functools import partial
from typing import TYPE_CHECKING

from worker.engines.alarm import Alarm
from worker.engines.alignment import Alignment
from worker.engines.freshness import FreshnessWatch
from worker.engines.history import forget
from worker.engines.in_hand import InHand
from worker.engines.plan import make_plan
from worker.engines.pool import Pool
from worker.engines.recovery import abandon, recover
from worker.engines.tending import Tending
from worker.errors import WorkerError
from worker.states import AccountState, RunState
from worker.store.crashes import SUSPECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.clock import Clock
    from worker.engines.plan import Planned
    from worker.engines.recovery import Key
    from worker.runner.assignment import Assignment
    from worker.runner.runner import Runner
    from worker.store.records import Due
    from worker.store.store import Store

log = logging.getLogger(__name__)

#: Seconds between two looks at the schedule at most.
LONGEST_WAIT = 30.0
_SHORTEST_WAIT = 0.05
#: Seconds for which a row that cannot be started, though it is due, is left alone.
_COOL_OFF = 1.0
#: Seconds between two sweeps of history and abandoned runs.
_SWEEP = 600.0
#: Seconds to wait after the store failed, doubled up to LONGEST_WAIT.
_FIRST_PAUSE = 1.0


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
        self._alignment = Alignment(store, clock)
        self._freshness = FreshnessWatch(store, clock, runner.announce)
        self._tending = Tending(self._tend, clock)
        self._wake = threading.Event()
        self._alarm = Alarm(self._wake.set)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._in_hand = InHand(clock)
        self._swept_at = clock.monotonic()
        #: Whether there may be rows that took their process with them more than once: they start one by one.
        self._suspects = False
        #: What kept a run from being made or recorded, until it is dealt with; and how long such a row is left alone.
        self._fault: BaseException | None = None
        self._fault_pause = _FIRST_PAUSE
        self._thread: threading.Thread | None = None
        #: How many attempts have ended in which state since the start, and of how many a human must consent first.
        self.ended: Counter[RunState] = Counter()
        self.awaiting_consent = 0
        self.use(assignments)

    def use(self, assignments: Mapping[str, Assignment], settings: EngineSettings | None = None) -> None:
        """Work for these jobs from now on (at the start, and after the configuration was read anew)."""
        if settings is not None:
            self._settings, self._pool.size = settings, settings.concurrency
        self._alignment.use(make_plan(assignments))
        self._wake.set()

    def _tend(self) -> None:
        self._runner.tend()
        self._freshness.look(self.assignments)

    @property
    def assignments(self) -> Mapping[str, Assignment]:
        """The jobs worked for now."""
        return {name: planned.assignment for name, planned in self._alignment.plan.items()}

    def ring(self) -> None:
        """Something in the store has changed: look now, and whether accounts have come or gone."""
        self._alignment.count_again()
        self._wake.set()

    def start(self) -> None:
        """Recover what a crash left behind, then dispatch until stopped. Call it after any fork, never before."""
        self._begin()
        self._alignment.watch.begin()
        self._alarm.start()
        self._thread = threading.Thread(target=self._dispatch_forever, name="dispatcher", daemon=True)
        self._thread.start()

    def stop_dispatching(self) -> None:
        """Start no more runs; those under way go on."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        self._alarm.stop()

    def wait_idle(self, seconds: float) -> bool:
        """Wait for the runs under way; answers whether all have ended."""
        return self._in_hand.wait_idle(seconds)

    @property
    def running(self) -> int:
        """How many runs are under way."""
        return len(self._in_hand.running)

    def run_due(self, only: str | None = None, *, told_to_stop: Callable[[], bool] = lambda: False) -> None:
        """Run everything that is due now (of one job), once, and wait for it. For `worker once`.

        Once `told_to_stop` says so it starts nothing more and returns; what is under way is then the caller's to drain.
        Raises what kept a run from being made or recorded, when the others have ended.
        """
        self._begin()
        self._tending.now()
        started = self._clock.now()
        while not told_to_stop():
            self._wake.clear()
            if self._fault is None:
                self.dispatch(only)
            if not self.running:
                if self._fault is not None:
                    raise self._fault
                # A row that somebody else holds is left for a moment, and then looked at again.
                if not self._store.schedule.due(started, 1, only):
                    self._freshness.tell()
                    forget(self._store, self._clock, self._settings.history)
                    return
            self._wake.wait(_COOL_OFF)

    def recover(self) -> None:
        """Runs and refreshes whose process is gone: mark them, so that they start again first."""
        recover(self._store, self._clock.now(), self._in_hand.running)
        self._suspects = self._store.schedule.has_suspects()

    def _begin(self) -> None:
        """Take up a store that others, or an earlier process of ours, have worked with."""
        self._alignment.begin()
        self.recover()

    def abandon(self) -> int:
        """The process ends now: mark the runs that are still under way; answers how many. Their results are refused."""
        return abandon(self._store, self._clock.now(), self._in_hand.running)

    def dispatch(self, only: str | None = None) -> int:
        """Hand what is due to the pool, as far as there is room; answers how many rows were dealt with."""
        now = self._alignment.look()
        plan, room = self._alignment.plan, self._settings.concurrency - self.running
        if room <= 0:
            return 0
        handled = 0
        for due in self._chosen(now, room, only):
            planned = plan.get(due.job)
            if planned is None:
                self._alignment.suspect()  # a job of another configuration was run by hand: off the schedule with it
                continue
            if self._stopping.is_set() or room <= 0:
                break
            handled += 1
            if not self._skipped(planned, due, now):
                room -= 1
                self._submit((due.job, due.account.id), planned, due)
        return handled

    def _chosen(self, now: float, limit: int, only: str | None) -> Sequence[Due]:
        """What is due; of the rows that took their process with them at most one, and none while another one runs."""
        find = partial(self._store.schedule.due, now, job=only, but=self._in_hand.untouchable())
        if not self._suspects:
            return find(limit)
        others = find(limit, suspects=False)
        if self._in_hand.suspected:
            return others
        # In front: it takes one place of the pool, and would otherwise wait for as long as the others are too many.
        return [*find(1, suspects=True), *others]

    def _submit(self, key: Key, planned: Planned, due: Due) -> None:
        self._in_hand.take(key, suspect=due.crashes >= SUSPECT)
        try:
            self._pool.submit(partial(self._execute, key, planned, due))
        except RuntimeError:  # the machine gives us no thread
            self._in_hand.drop(key)
            raise

    def _skipped(self, planned: Planned, due: Due, now: float) -> bool:
        reason = self._runner.skip_reason(due)
        job = planned.assignment.config
        # A row's first firing is "at once" for an interval, which is never too late; a cron line names a time.
        timed = due.trigger == "schedule" or (due.trigger == "first" and job.cron is not None)
        if (
            not reason
            and timed
            and not job.catch_up
            and due.next_due is not None
            and self._alignment.watch.missed(due.next_due)
        ):
            reason = "missed while nothing ran; catch_up is off"
        if not reason:
            return False
        self._runner.skip(due, reason, planned.timetable.after(due.account.label, now))
        with self._lock:
            self.ended[RunState.SKIPPED] += 1
            self.awaiting_consent += due.account.state is AccountState.NEEDS_CONSENT
        return True

    def _execute(self, key: Key, planned: Planned, due: Due) -> None:
        state: RunState | None = None
        fault: BaseException | None = None
        try:
            next_due = partial(planned.timetable.after, due.account.label)
            ended = self._runner.run(planned.assignment, due, next_due)
            state = None if ended is None else ended.state
        except BaseException as error:
            state, fault = RunState.FAILED, error
            log.error(
                "run could not be made or recorded",
                extra={"job": due.job, "account": due.account.label, "error": str(error)},
                exc_info=None if isinstance(error, WorkerError) else error,
            )
        self._ended(key, state, fault)

    def _ended(self, key: Key, state: RunState | None, fault: BaseException | None) -> None:
        cool_off = 0.0
        with self._lock:
            if state is None:  # somebody else has it
                cool_off = _COOL_OFF
            elif fault is not None:
                self._fault, cool_off = fault, self._fault_pause
                self._fault_pause = min(self._fault_pause * 2, LONGEST_WAIT)
            else:
                self._fault_pause = _FIRST_PAUSE
            if state is not None:
                self.ended[state] += 1
        self._in_hand.drop(key, cool_off=cool_off)
        self._wake.set()

    def _dispatch_forever(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._sweep()
                self._tending.look()
                looked_at = self._clock.now()
                handled = self.dispatch()
                self._arm(looked_at, handled)
                pause = _FIRST_PAUSE
            except Exception as error:  # the dispatcher outlives a full disk and a lost server
                known = isinstance(error, WorkerError)
                facts = {"error": str(error), "hint": getattr(error, "hint", ""), "retry_in": pause}
                log.error("the schedule cannot be read; trying again", extra=facts, exc_info=None if known else error)
                self._stopping.wait(pause)
                pause = min(pause * 2, LONGEST_WAIT)
                continue
            self._wake.wait(LONGEST_WAIT)

    def _arm(self, looked_at: float, handled: int) -> None:
        """Have the scheduler wake us at the earliest due time."""
        now = self._clock.now()
        at = now + LONGEST_WAIT
        # With all places taken, the end of a run wakes us.
        free = self.running < self._settings.concurrency
        if free and (earliest := self._store.schedule.earliest()) is not None:
            at = min(at, earliest)
            # What was due and could not be started is in somebody's hands: looking at once would have us spin.
            at = max(at, now + (_COOL_OFF if earliest <= looked_at and not handled else _SHORTEST_WAIT))
        self._alarm.set(at)

    def _sweep(self) -> None:
        monotonic = self._clock.monotonic()
        fault, self._fault = self._fault, None
        if fault is not None:
            # A run whose end could not be written still counts as running, and nobody runs it.
            try:
                self.recover()
            except BaseException:
                self._fault = fault
                raise
        if monotonic - self._swept_at < _SWEEP:
            return
        self.recover()
        self._swept_at = monotonic
        forget(self._store, self._clock, self._settings.history)
