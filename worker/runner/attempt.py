"""One attempt of a run: the job's function, called once with all that it is given, and whatever comes of it caught.

Nothing is recorded here but what the job's own checkpoints commit to the sink.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests

from worker.accounts.access import TokenSource
from worker.accounts.session import AccountSession, SessionSettings
from worker.errors import Interrupted, ScopeMissing
from worker.jobs.addresses import origin
from worker.jobs.buffer import LimitReached, RunTally
from worker.jobs.job_log import JobLog
from worker.jobs.progress import ProgressMeter
from worker.jobs.run_context import RunContext, RunFacts
from worker.jobs.sinks import Heeding
from worker.jobs.streams import Streams
from worker.oauth.scopes import compare
from worker.runner.pace import RunPace
from worker.runner.table_watch import TableWatch
from worker.store.observed import NOTHING, Observed
from worker.store.records import SCOPE_MISSING, RunCounts, consent_remedy

if TYPE_CHECKING:
    from worker.jobs.sinks import Sink
    from worker.runner.assignment import Assignment
    from worker.runner.recording import Recorder
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
    #: Keeps what was asked and answered; None: nobody does.
    recorder: Recorder | None = None


@dataclass(frozen=True)
class Attempted:
    """How the job's function went."""

    error: BaseException | None
    counts: RunCounts
    #: Requests that were sent again after a pause, and are counted again in `counts`.
    repeated: int = 0
    #: What it has shown of its tables.
    observed: Observed = NOTHING
    #: What is to be said of a run that its limit of rows has ended; empty when it came to its end.
    cut_off: str = ""


def attempt(services: Services, assignment: Assignment, work: Work) -> Attempted:
    """Run the job's function once, recording nothing but what its checkpoints commit to the sink."""
    pace = RunPace(services.clock, services.stopping, assignment.limiter, work.account.name, assignment.timeout)
    session: AccountSession | None = None
    streams: Streams | None = None
    error: BaseException | None = None
    watcher = TableWatch(services.store, assignment.name, work.account.id, assignment.config.delete_brake)
    tally = RunTally(work.limit, watcher.brake)
    try:
        require_scopes(services, assignment, work.account)
        stream = assignment.stream(work.account)
        with _open_session(services, assignment, work, pace) as session, services.watch(stream, work.run_id) as tell:
            sink_session = work.sink.open(stream, work.fence)
            if isinstance(sink_session, Heeding):
                sink_session.heed(pace.check)
            pending = Streams(sink_session, folder=services.spool, tally=tally)
            with closing(sink_session), pending as streams:
                facts = _facts(assignment, work, pace, ProgressMeter(tell))
                _call(assignment, work, RunContext(facts, session, streams, JobLog.of(stream.job), services.clock))
    except KeyboardInterrupt:
        error = Interrupted("stopped from the keyboard")
    except BaseException as caught:  # noqa: BLE001 - a job may raise anything, SystemExit too; the record says what
        error = caught
    if isinstance(error, requests.ConnectionError | requests.Timeout) and pace.left == 0.0:
        # The request was cut short because the run's own time was up, not because the API is slow.
        error = pace.overdue()
    rows = streams.committed if streams is not None else 0
    return Attempted(
        error,
        RunCounts(
            rows=rows,
            requests=session.requests_sent if session is not None else 0,
            refreshes=session.refreshes if session is not None else 0,
            deleted=sum(one.gone.rows for one in tally.swept if not one.change),
            held=sum(one.gone.rows for one in tally.swept if one.change),
        ),
        session.requests_repeated if session is not None else 0,
        NOTHING if streams is None else watcher.observe(tally, whole=error is None and not tally.cut_off),
        _words_of_limit(work.limit, rows) if tally.cut_off and error is None else "",
    )


def _words_of_limit(limit: int | None, rows: int) -> str:
    ended = f"ended by the limit of {limit} row{'' if limit == 1 else 's'}"
    return f"{ended}, at its last checkpoint" if rows else f"{ended} before its first checkpoint: nothing was committed"


def require_scopes(services: Services, assignment: Assignment, account: Account) -> None:
    """Raise ScopeMissing when the grant surely lacks a scope that the job names: no request is spent on finding out.

    Providers spell scopes in several ways. Where an answer listed one that nobody had asked for, or none at all, the
    API itself has to say what is missing.
    """
    if not assignment.definition.scopes:
        return
    grant = services.store.grants.look(account.id)
    if not grant.scopes or compare(grant.requested_scopes, grant.scopes).extra:
        return
    missing = compare(assignment.definition.scopes, grant.scopes).missing
    if missing:
        raise ScopeMissing(
            f"{account.label} lacks a scope that job {assignment.name} names: {' '.join(missing)}",
            missing=missing,
            hint=consent_remedy(account.integration, account.name, SCOPE_MISSING, missing),
        )


def _facts(assignment: Assignment, work: Work, pace: RunPace, meter: ProgressMeter) -> RunFacts:
    api = assignment.client.integration
    return RunFacts(
        assignment.stream(work.account),
        work.run_id,
        api_base=api.api_base,
        api_origins=api.api_origins,
        params=assignment.config.params,
        remaining=lambda: pace.left,
        check=pace.check,
        window=assignment.window,
        meter=meter,
    )


def _call(assignment: Assignment, work: Work, context: RunContext) -> None:
    try:
        assignment.definition.function(context)
    except LimitReached:
        # Rows without the checkpoint that covers them would come again: a real run leaves them out.
        if not work.dry:
            return
    context.finish()


def _open_session(services: Services, assignment: Assignment, work: Work, pace: RunPace) -> AccountSession:
    client, account = assignment.client, work.account
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
        idempotency_header=client.integration.idempotency_header,
        hear=None if work.recorder is None else work.recorder.hear,
    )
    return AccountSession(tokens, settings, pace)
