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
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests

from worker.accounts.access import TokenSource
from worker.accounts.session import AccountSession, SessionSettings
from worker.errors import Busy, FenceLost, Interrupted, ScopeMissing, StoreUnusable, TryAgainLater, WorkerError
from worker.events import AccountMoved, RunFinished
from worker.jobs.addresses import origin
from worker.jobs.buffer import Buffer, LimitReached
from worker.jobs.run_context import RunContext, RunFacts
from worker.jobs.sinks import Stream
from worker.log import bound
from worker.runner.outcome import end_of, error_text, exit_code, wait_before_retry
from worker.runner.pace import RunPace, Stopping
from worker.states import AccountState, RunState
from worker.store.locks import process_note
from worker.store.records import SCOPE_MISSING, Finding, RunCounts
from worker.store.store import run_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.accounts.refresh import Refresher
    from worker.clock import Clock
    from worker.events import Events
    from worker.jobs.sinks import Sink
    from worker.redact import Scrubber
    from worker.runner.assignment import Assignment
    from worker.store.records import Account, Claim, Due
    from worker.store.runs import RunEnd
    from worker.store.store import Store

log = logging.getLogger(__name__)

#: Seconds between the tries to record how a run ended.
_RECORD_PAUSES = (0.2, 1.0, 5.0, 15.0)


@dataclass(frozen=True)
class Services:
    """What every run needs of the process."""

    store: Store
    refresher: Refresher
    clock: Clock
    events: Events
    scrubber: Scrubber
    stopping: Stopping
    user_agent: str
    #: Where rows wait for their checkpoint when memory is not to hold them; None: where temporary files go.
    spool: Path | None = None


@dataclass(frozen=True)
class Work:
    """One attempt: whose, under which fence, into which sink."""

    account: Account
    run_id: str
    fence: int
    sink: Sink
    #: Rows after which the run ends; None for no limit.
    limit: int | None = None
    #: The sink is a stand-in: what a limit cuts off is kept to be looked at.
    dry: bool = False


@dataclass(frozen=True)
class Attempted:
    """How the job's function went."""

    error: BaseException | None
    counts: RunCounts


@dataclass(frozen=True)
class Ended:
    """A run that was made: the state it was recorded in, and what a command that made it answers."""

    run_id: str
    state: RunState
    exit_code: int


class Runner:
    """Makes runs. Threads share it."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def tend(self) -> None:
        """Do for the accounts what is due although no run asks for it."""
        self._services.refresher.tend()

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
            attempted = self.attempt(assignment, work)
            if isinstance(attempted.error, ScopeMissing):
                try:
                    self._park(assignment, claim, attempted.error)
                except WorkerError as error:  # the next run meets the same answer and parks it then
                    log.error("job could not be parked", extra={"error": error.message, "hint": error.hint})
            state = self._record(assignment, claim, attempted, self._services.clock.monotonic() - started)
            return Ended(claim.run_id, state, exit_code(attempted.error, self._services.clock.now()))

    def attempt(self, assignment: Assignment, work: Work) -> Attempted:
        """Run the job's function once, recording nothing but what its checkpoints commit to the sink."""
        pace = self._pace(assignment, work.account)
        stream = Stream(assignment.name, work.account.integration, work.account.name)
        session: AccountSession | None = None
        buffer: Buffer | None = None
        error: BaseException | None = None
        try:
            with self._open_session(assignment, work.account, pace) as session:
                sink_session = work.sink.open(stream, work.fence)
                pending = Buffer(sink_session, folder=self._services.spool, limit=work.limit)
                with closing(sink_session), pending as buffer:
                    self._call(assignment, work, stream, (session, buffer, pace))
        except KeyboardInterrupt:
            error = Interrupted("stopped from the keyboard")
        except BaseException as caught:  # noqa: BLE001 - a job may raise anything, SystemExit too; the record says what
            error = caught
        if isinstance(error, requests.ConnectionError | requests.Timeout) and pace.left == 0.0:
            # The request was cut short because the run's own time was up, not because the API is slow.
            error = pace.overdue()
        return Attempted(
            error,
            RunCounts(
                rows=buffer.committed if buffer is not None else 0,
                requests=session.requests_sent if session is not None else 0,
                refreshes=session.refreshes if session is not None else 0,
            ),
        )

    def _call(
        self, assignment: Assignment, work: Work, stream: Stream, tools: tuple[AccountSession, Buffer, RunPace]
    ) -> None:
        session, buffer, pace = tools
        api = assignment.client.integration
        facts = RunFacts(
            stream,
            work.run_id,
            api_base=api.api_base,
            api_origins=api.api_origins,
            params=assignment.config.params,
            remaining=lambda: pace.left,
            check=pace.check,
        )
        job_log = logging.LoggerAdapter(logging.getLogger(f"worker.job.{assignment.name}"), {})
        context = RunContext(facts, session, buffer, job_log, self._services.clock)
        try:
            assignment.definition.function(context)
        except LimitReached:
            # Rows without the checkpoint that covers them would come again: a real run leaves them out.
            if not work.dry:
                return
        buffer.finish()

    def _pace(self, assignment: Assignment, account: Account) -> RunPace:
        services = self._services
        timeout = assignment.config.timeout
        return RunPace(services.clock, services.stopping, assignment.limiter, account.name, timeout)

    def _open_session(self, assignment: Assignment, account: Account, pace: RunPace) -> AccountSession:
        services, client = self._services, assignment.client
        tokens = TokenSource(account.id, services.refresher, services.store, services.clock)
        settings = SessionSettings(
            label=account.label,
            api_base=client.integration.api_base,
            origins=frozenset(origin(place) for place in client.integration.api_origins),
            rules=client.rejection_rules,
            token_header=client.integration.token_header,
            headers={"User-Agent": services.user_agent, **client.integration.headers},
            timeout=(client.integration.connect_timeout, client.integration.read_timeout),
            largest_answer=client.integration.largest_answer << 20,
        )
        return AccountSession(tokens, settings, pace)

    def _park(self, assignment: Assignment, claim: Claim, error: ScopeMissing) -> None:
        """The grant lacks a scope: this job waits for a consent that brings it, the account's others go on."""
        services, account = self._services, claim.account
        missing = error.missing or tuple(
            scope
            for scope in assignment.definition.scopes
            if scope not in services.store.grants.read(account.id).scopes
        )
        named = " ".join(missing) or "a scope that the provider does not name"
        finding = Finding(
            SCOPE_MISSING, f"job {claim.job} lacks {named}", {**error.evidence, "missing_scopes": list(missing)}
        )
        services.store.schedule.park(claim.job, account.id, f"needs_consent: lacks {named}", missing)
        moved = services.store.accounts.flag_scope(account, finding, services.clock.now())
        if moved.state is not account.state:
            remedy = f"worker enroll {account.integration} {account.name}, with the scope in the integration's scopes"
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
        if error is not None and claim.attempt <= assignment.config.retries:
            wait = wait_before_retry(error, claim.attempt, now, random.random())  # noqa: S311 - no secret
        text = error_text(error, services.scrubber)
        end = end_of(error, attempted.counts, retry_at=None if wait is None else now + wait, now=now, text=text)
        try:
            state = self._finish(claim, end, now)
        except FenceLost as lost:
            log.warning("run lost its place to a newer one; its end is not recorded", extra={"reason": lost.message})
            return RunState.INTERRUPTED
        self._log_end(state, attempted, text, wait if state is RunState.RETRYING else None)
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
