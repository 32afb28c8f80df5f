"""The runner: given a job and an account whose time has come, make the run and record how it went.

    lock the job and account       nobody else runs it, on any machine that shares the store
    claim the firing               fence + 1, a run row, the next due time: one transaction
    run the job                    every result write checks the fence
    record the end                 refused if a newer run has begun meanwhile

A firing that cannot be run (the account needs consent, is paused, lacks a scope) is recorded as skipped, with the
reason: nothing is left out silently.
"""

from __future__ import annotations

import logging
import random
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.errors import Busy, FenceLost, ScopeMissing, StoreUnusable, TryAgainLater, WorkerError
from worker.events import AccountMoved, RunFinished
from worker.log import bound
from worker.runner.attempt import Attempted, Work, attempt
from worker.runner.outcome import end_of, error_text, exit_code, uses_a_retry, wait_before_retry
from worker.runner.table_watch import tell_of_tables
from worker.states import AccountState, RunState
from worker.store.locks import process_note, run_lock
from worker.store.records import SCOPE_MISSING, Finding, RunCounts, consent_remedy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.events import Event
    from worker.runner.assignment import Assignment
    from worker.runner.services import Services
    from worker.store.records import Account, Claim, Due
    from worker.store.runs import RunEnd

log = logging.getLogger(__name__)

#: Seconds between the tries to record how a run ended.
_RECORD_PAUSES = (0.2, 1.0, 5.0, 15.0)


@dataclass(frozen=True)
class Ended:
    """A run that was made: the state it was recorded in, and what a command that made it answers."""

    run_id: str
    state: RunState
    exit_code: int
    #: It came to its end; False when a limit of rows has ended it.
    whole: bool = True


class Runner:
    """Makes runs. Threads share it."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def tend(self) -> None:
        """Do for the accounts what is due although no run asks for it."""
        self._services.refresher.tend()

    def announce(self, event: Event) -> None:
        """Let the listeners of this process know."""
        self._services.events.publish(event)

    def skip_reason(self, due: Due) -> str:
        """Why this firing cannot be run; empty when it can."""
        account = due.account
        if not account.usable:
            return f"{account.state}: {account.reason}" if account.reason else str(account.state)
        return due.parked

    def skip(self, due: Due, reason: str, next_due: float | None) -> None:
        """Record a firing that is not run."""
        account = due.account
        self._services.store.runs.skip(due, reason, self._services.clock.now(), next_due)
        with bound(integration=account.integration, account=account.name, job=due.job):
            log.info("run skipped", extra={"reason": reason})
        self._publish("", due.job, account, Attempted(None, RunCounts()), (RunState.SKIPPED, reason, 0.0))

    def run(
        self,
        assignment: Assignment,
        due: Due,
        next_due: Callable[[float], float | None],
        *,
        trigger: str = "",
        limit: int | None = None,
    ) -> Ended | None:
        """Make the run that is due; answers its end, or None when somebody else has it. Never raises for the job.

        `next_due` computes the job's next firing after a moment.
        """
        with ExitStack() as held:
            try:
                held.enter_context(self._services.store.locks.hold(run_lock(due.job, due.account.id), patience=0))
            except Busy as error:
                log.debug("run is somebody else's", extra={"job": due.job, "reason": error.message})
                return None
            claim = self._claim(due, next_due, trigger)
            return None if claim is None else self._run_claimed(assignment, claim, limit)

    def _claim(self, due: Due, next_due: Callable[[float], float | None], trigger: str) -> Claim | None:
        """Take the firing. We hold the run's lock: if the record says that one is under way, its process is gone."""
        schedule, now = self._services.store.schedule, self._services.clock.now()
        claim = schedule.claim(due, now, next_due(now), process_note(), trigger or due.trigger)
        if claim is not None or not self._services.store.runs.interrupt(due, "the process that ran it is gone", now):
            return claim
        again = schedule.entry(due.job, due.account.id)
        if again is None:
            return None
        return schedule.claim(again, now, next_due(now), process_note(), trigger or again.trigger)

    def _run_claimed(self, assignment: Assignment, claim: Claim, limit: int | None) -> Ended:
        account = claim.account
        with bound(integration=account.integration, account=account.name, job=claim.job, run_id=claim.run_id):
            log.info("run started", extra={"trigger": claim.trigger, "attempt": claim.attempt})
            started = self._services.clock.monotonic()
            work = Work(account, claim.run_id, claim.fence, assignment.sink, limit)
            attempted = attempt(self._services, assignment, work)
            if isinstance(attempted.error, ScopeMissing):
                try:
                    self._park(assignment, claim, attempted.error)
                except WorkerError as error:  # the next run meets the same answer and parks it then
                    log.error("job could not be parked", extra={"error": error.message, "hint": error.hint})
            state = self._record(assignment, claim, attempted, self._services.clock.monotonic() - started)
            return Ended(
                claim.run_id, state, exit_code(attempted.error, self._services.clock.now()), not attempted.cut_off
            )

    def attempt(self, assignment: Assignment, work: Work) -> Attempted:
        """Make an attempt that is not recorded: a dry run."""
        return attempt(self._services, assignment, work)

    def _park(self, assignment: Assignment, claim: Claim, error: ScopeMissing) -> None:
        """The grant lacks a scope: this job waits for a consent that brings it, the account's others go on."""
        services, account = self._services, claim.account
        missing = error.missing or tuple(
            scope
            for scope in assignment.definition.scopes
            if scope not in services.store.grants.read(account.id).scopes
        )
        named = _named(missing)
        services.store.schedule.park(claim.job, account.id, f"needs_consent: lacks {named}", missing)
        lacking = services.store.schedule.lacking(account.id) or {claim.job: missing}
        reason = "; ".join(f"job {job} lacks {_named(scopes)}" for job, scopes in lacking.items())
        missing = tuple(dict.fromkeys(scope for scopes in lacking.values() for scope in scopes))
        finding = Finding(SCOPE_MISSING, reason, {**error.evidence, "missing_scopes": list(missing)})
        moved = services.store.accounts.flag_scope(account, finding, services.clock.now())
        if (services.store.schedule.lacking(account.id) or lacking) != lacking:
            # Another job was parked meanwhile, and ours has overwritten its reason: both are told.
            self._park(assignment, claim, error)
            return
        if moved.state is not account.state:
            remedy = consent_remedy(account.integration, account.name, SCOPE_MISSING, missing)
            services.events.publish(
                AccountMoved(
                    account.integration,
                    account.name,
                    account.state,
                    AccountState.NEEDS_CONSENT,
                    finding.reason,
                    remedy,
                    finding.evidence,
                )
            )

    def _record(self, assignment: Assignment, claim: Claim, attempted: Attempted, seconds: float) -> RunState:
        services, error = self._services, attempted.error
        now = services.clock.now()
        wait = None
        retries_left = claim.attempt <= assignment.config.retries
        if error is not None and (retries_left or not uses_a_retry(error, attempted.counts)):
            wait = wait_before_retry(error, claim.attempt, now, random.random())  # noqa: S311 - no secret
        text = error_text(error, services.scrubber)
        end = end_of(error, attempted.counts, retry_at=None if wait is None else now + wait, now=now, text=text)
        end = replace(end, observed=attempted.observed, cut_off=attempted.cut_off)
        try:
            state = self._finish(claim, end, now)
        except FenceLost as lost:
            log.warning("run lost its place to a newer one; its end is not recorded", extra={"reason": lost.message})
            return RunState.INTERRUPTED
        self._log_end(state, attempted, text, wait if state is RunState.RETRYING else None)
        tell_of_tables(services, claim, attempted.observed)
        self._publish(claim.run_id, claim.job, claim.account, attempted, (state, text or None, seconds))
        return state

    def _finish(self, claim: Claim, end: RunEnd, now: float) -> RunState:
        """Record the end, and keep at it for a while: a run that nobody ends is made again."""
        for pause in _RECORD_PAUSES:
            try:
                return self._services.store.runs.finish(claim, end, now)
            except (StoreUnusable, TryAgainLater) as error:
                log.warning("the run's end cannot be recorded yet", extra={"error": error.message, "retry_in": pause})
                if self._services.stopping.aborting.wait(pause):
                    break
        return self._services.store.runs.finish(claim, end, now)

    def _log_end(self, state: RunState, attempted: Attempted, text: str, wait: float | None) -> None:
        counts = attempted.counts
        facts: dict[str, object] = {"state": state, "rows": counts.rows, "requests": counts.requests}
        if attempted.repeated:
            facts["repeated"] = attempted.repeated
        if attempted.error is None:
            log.info("run succeeded", extra=facts)
            return
        facts["error"] = text
        if wait is not None:
            facts["retry_in"] = round(wait, 1)
        # An error of our own says all there is; anything else needs to be found in the job's code.
        unexpected = wait is None and not isinstance(attempted.error, WorkerError)
        level = logging.WARNING if wait is not None or state is RunState.INTERRUPTED else logging.ERROR
        log.log(level, "run %s", state, extra=facts, exc_info=attempted.error if unexpected else None)

    def _publish(
        self, run_id: str, job: str, account: Account, attempted: Attempted, end: tuple[RunState, str | None, float]
    ) -> None:
        state, error, seconds = end
        self._services.events.publish(
            RunFinished(
                run_id, job, account.integration, account.name, state, attempted.counts.rows, round(seconds, 3), error
            )
        )


def _named(scopes: Sequence[str]) -> str:
    return " ".join(scopes) or "a scope that the provider does not name"
