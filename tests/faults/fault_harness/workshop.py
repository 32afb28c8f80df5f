"""Where trials are made: a process is stopped at one place of one operation, another goes on, the oracle judges.

arrange     the provider's side: a grant of the trial's own user
victim      a fork prepares the folder, then works and is stopped
look        what the provider has counted, what stands in the files, untouched
restart     another fork opens the store and goes on
judge       by the provider's counters
"""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fault_harness import syscalls
from fault_harness.a_run import ready_to_run
from fault_harness.disk import FullDisk
from fault_harness.oracle import Evidence, Outcome
from fault_harness.place import Place
from fault_harness.preload import preload
from fault_harness.processes import BROKEN, fork
from fault_harness.provider import Provider
from fault_harness.restart import Report
from fault_harness.tracing import STOPPED, Blackbox, Tracer
from fault_harness.trial import LINE_STOPS, Result, Trial, TrialId

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_harness.faults import Fault
    from fault_harness.processes import Ended
    from fault_harness.provider import Counted
    from fault_harness.trial import Operation


class Workshop:
    """Makes trials, one after the other: a provider, a template, and a folder in memory for each trial.

    Whoever holds one must not open a store or start a thread: the trials are its forks.
    """

    def __init__(self) -> None:
        preload()
        self._ending = ExitStack()
        # Not for durability's sake: a process that is killed leaves the page cache behind in any case.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._root = Path(self._ending.enter_context(tempfile.TemporaryDirectory(prefix="faults-", dir=memory)))
        self.provider = Provider()
        self._ending.callback(self.provider.close)
        self._blackbox = Blackbox()
        #: SQL that spoils the store after the stop: to see that the oracle notices.
        self.tamper = ""
        self._serial = itertools.count(1)
        self._template = Place(self._root / "template")
        self._template.build(self.provider.addresses)
        self._warm_up()
        # Forks do not live long enough to collect anything, and a collection would copy every page that they share.
        gc.disable()
        gc.freeze()

    def close(self) -> None:
        """End the provider, remove the folders."""
        self._ending.close()

    def count(self, operation: Operation, fault: Fault) -> list[tuple[int, str]]:
        """Every line that the operation executes: step and place."""
        with ExitStack() as ending:
            trial = self._begin(operation, fault, TrialId(operation.name, fault.name, 0, "exit"), ending)
            ended = fork(lambda wait: self._victim(operation, trial, wait), trial.log).wait()
            if ended.code or ended.said is None:
                raise RuntimeError(f"{trial.id} cannot be counted:\n{trial.log.read_text()}")
            return [(step, place) for step, place in ended.said]

    def count_calls(self, operation: Operation, fault: Fault) -> list[tuple[int, str, int]]:
        """Every system call that matters: step, name, and its number among those of its name."""
        with ExitStack() as ending:
            trial = self._begin(operation, fault, TrialId(operation.name, fault.name, 0, "strace"), ending)
            log = trial.place.folder / "strace.log"
            child = fork(lambda wait: self._victim(operation, trial, wait), trial.log)
            ended = syscalls.trace(child, log, None)
            if ended.code:
                raise RuntimeError(f"{trial.id} cannot be counted:\n{trial.log.read_text()}")
            return syscalls.calls(log)

    def run(self, operation: Operation, fault: Fault, trial_id: TrialId) -> Result:
        """One trial, from beginning to verdict."""
        with ExitStack() as ending:
            trial = self._begin(operation, fault, trial_id, ending)
            before = self.provider.count(trial.user)
            child = fork(lambda wait: self._victim(operation, trial, wait), trial.log)
            if trial_id.how in syscalls.CALLS:
                call = (trial_id.how, trial_id.number)
                victim = syscalls.trace(child, trial.place.folder / "strace.log", call)
            else:
                victim = child.wait()
            return self._judged(operation, trial, victim, before)

    def _warm_up(self) -> None:
        """Make a run in this process, so that its forks find mappers and ciphers ready; everything is closed again."""
        run = ready_to_run(self._template.copy(self._root / "warm"), self.provider.control.grant("warm"), "warm")
        self.provider.control.expire("warm")
        run.make()
        run.wiring.store.close()

    def _begin(self, operation: Operation, fault: Fault, trial_id: TrialId, ending: ExitStack) -> Trial:
        serial = next(self._serial)
        place = self._template.copy(self._root / f"trial-{serial}")
        ending.callback(shutil.rmtree, place.folder, ignore_errors=True)
        trial = Trial(trial_id, fault, self.provider, place, f"user-{serial}")
        self.provider.quiet()
        operation.arrange(trial)
        fault.plan(self.provider)
        self._blackbox.clear()
        return trial

    def _victim(self, operation: Operation, trial: Trial, wait: Callable[[], None]) -> Any:
        act = operation.prepare(trial)
        tracer = Tracer(operation.steps, operation.scope, self._blackbox)
        if trial.id.how in LINE_STOPS:
            tracer.stop_at(trial.id.number, trial.id.how)
        else:
            tracer.on_step = syscalls.mark
        if trial.fault.disk_full:
            tracer.listeners.append(FullDisk())
        wait()
        tracer.run(act)
        return tracer.points

    def _judged(self, operation: Operation, trial: Trial, victim: Ended, before: Counted) -> Result:
        step, _, where = self._blackbox.read()
        stopped = victim.code in {STOPPED, -signal.SIGKILL} and not victim.hung
        if stopped and operation.steps[step].sent:
            self.provider.settle(before, trial.user, calls=1)
        after = self.provider.count(trial.user)
        stored = trial.place.stored()
        operation.between(trial, redeemed=after.redeemed > before.redeemed)
        said = self._restarted(operation, trial)
        if victim.code == BROKEN:
            said.refused = said.refused or "the operation ended with an error of its own, see the log"
        evidence = Evidence(
            fault=trial.fault,
            victim=victim,
            stopped=stopped,
            before=before,
            after=after,
            end=self.provider.count(trial.user),
            stored=stored,
            rows=trial.place.rows(),
            said=said,
            taken=bool(said.refresh_token) and self.provider.takes(said.refresh_token),
        )
        judgement = operation.judge(trial, evidence)
        bad = judgement.outcome is Outcome.VIOLATION
        log = trial.log.read_text()[-4000:] if bad and trial.log.exists() else ""
        return Result(trial.id, step, where, stopped, judgement, evidence.end.calls - before.calls, log)

    def _restarted(self, operation: Operation, trial: Trial) -> Report:
        if self.tamper:
            with closing(sqlite3.connect(trial.place.database)) as connection:
                connection.executescript(self.tamper)
        self.provider.control.clear_faults()
        back = fork(lambda _wait: operation.restart(trial), trial.log).wait()
        return Report(**back.said) if back.said else Report(refused=f"the restart ended with {back.code}")
