"""One attempt of a run: the job's function, called once with all that it is given, and whatever comes of it caught.

Nothing is recorded here but what the job's own checkpoints commit to the sink.
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests

from worker.accounts.access import TokenSource
from worker.accounts.session import AccountSession, SessionSettings
from worker.errors import Interrupted
from worker.jobs.addresses import origin
from worker.jobs.buffer import Buffer, LimitReached
from worker.jobs.run_context import RunContext, RunFacts
from worker.jobs.sinks import Stream
from worker.runner.pace import RunPace
from worker.runner.table_watch import TableWatch
from worker.store.observed import NOTHING, Observed
from worker.store.records import RunCounts

if TYPE_CHECKING:
    from worker.jobs.sinks import Sink
    from worker.runner.assignment import Assignment
    from worker.runner.services import Services
    from worker.store.records import Account


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
    #: What it has shown of its tables.
    observed: Observed = NOTHING


def attempt(services: Services, assignment: Assignment, work: Work) -> Attempted:
    """Run the job's function once, recording nothing but what its checkpoints commit to the sink."""
    timeout = assignment.config.timeout
    pace = RunPace(services.clock, services.stopping, assignment.limiter, work.account.name, timeout)
    session: AccountSession | None = None
    buffer: Buffer | None = None
    error: BaseException | None = None
    watcher = TableWatch(services.store, assignment.name, work.account.id, assignment.config.delete_brake)
    try:
        with _open_session(services, assignment, work.account, pace) as session:
            sink_session = work.sink.open(_stream(assignment, work), work.fence)
            pending = Buffer(sink_session, folder=services.spool, limit=work.limit, brake=watcher.brake)
            with closing(sink_session), pending as buffer:
                context = _context(services, assignment, work, (session, buffer, pace))
                _call(assignment, work, context, buffer)
    except KeyboardInterrupt:
        error = Interrupted("stopped from the keyboard")
    except BaseException as caught:  # noqa: BLE001 - a job may raise anything, SystemExit too; the record says what
        error = caught
    if isinstance(error, requests.ConnectionError | requests.Timeout) and pace.left == 0.0:
        # The request was cut short because the run's own time was up, not because the API is slow.
        error = pace.overdue()
    swept = buffer.swept if buffer is not None else []
    counts = RunCounts(
        rows=buffer.committed if buffer is not None else 0,
        requests=session.requests_sent if session is not None else 0,
        refreshes=session.refreshes if session is not None else 0,
        deleted=sum(one.gone.rows for one in swept if not one.change),
        held=sum(one.gone.rows for one in swept if one.change),
    )
    return Attempted(error, counts, NOTHING if buffer is None else watcher.observe(buffer, whole=error is None))


def _stream(assignment: Assignment, work: Work) -> Stream:
    return Stream(assignment.name, work.account.integration, work.account.name)


def _context(
    services: Services, assignment: Assignment, work: Work, tools: tuple[AccountSession, Buffer, RunPace]
) -> RunContext:
    session, buffer, pace = tools
    api = assignment.client.integration
    facts = RunFacts(
        _stream(assignment, work),
        work.run_id,
        api_base=api.api_base,
        api_origins=api.api_origins,
        params=assignment.config.params,
        remaining=lambda: pace.left,
        check=pace.check,
    )
    job_log = logging.LoggerAdapter(logging.getLogger(f"worker.job.{assignment.name}"), {})
    return RunContext(facts, session, buffer, job_log, services.clock)


def _call(assignment: Assignment, work: Work, context: RunContext, buffer: Buffer) -> None:
    try:
        assignment.definition.function(context)
    except LimitReached:
        # Rows without the checkpoint that covers them would come again: a real run leaves them out.
        if not work.dry:
            return
    buffer.finish()


def _open_session(services: Services, assignment: Assignment, account: Account, pace: RunPace) -> AccountSession:
    client = assignment.client
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
