"""One run of one job against canned or recorded answers, through the same context and buffer that the daemon uses."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.jobs.buffer import LimitReached, RunTally
from worker.jobs.job_log import JobLog
from worker.jobs.run_context import RunContext, RunFacts
from worker.jobs.sinks import Stream
from worker.jobs.sinks.memory import MemorySink
from worker.jobs.streams import Streams
from worker.jobs.window import read_window
from worker.testing.answers import CannedAdapter, Responses, canned_session
from worker.testing.manual_clock import ManualClock
from worker.testing.replay import RecordedAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    import requests

    from worker.jobs.context import Context
    from worker.jobs.sinks import Sink

#: Where paths in `responses` begin. The name can resolve nowhere (RFC 6761 section 6.4).
API_BASE = "https://api.test/"


@dataclass(frozen=True)
class JobResult:
    """What a run has left."""

    #: By table; a row with a key stands there once, as last emitted. Empty when the test brought its own sink.
    rows: dict[str, list[dict[str, Any]]]
    cursor: dict[str, Any]
    #: Every request that was sent, in order.
    requests: list[requests.PreparedRequest]

    @property
    def urls(self) -> list[str]:
        """The addresses that were asked for, in order."""
        return [request.url or "" for request in self.requests]


def run_job(  # noqa: PLR0913 - the keywords of a test's one line, each of which may be left out
    function: Callable[[Context], None],
    *,
    responses: Responses = (),
    recording: str | PathLike[str] | None = None,
    cursor: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    backfill: tuple[str, str] | None = None,
    api_base: str | None = None,
    sink: Sink | None = None,
) -> JobResult:
    """Run a job once, for the account `test/account`, and answer what it left.

    `responses` as in `worker.testing.answers`; instead of them `recording`, a file that `worker jobs run JOB --dry-run
    --record FILE` has written, which also brings the cursor, the params, the API's address and the limit of that run,
    as far as they are not given. `backfill` is what `ctx.since` and `ctx.until` are to be: two dates or times.

    Whatever the job raises comes out as it is; what its checkpoints had committed by then is in `sink`, if the test
    brought one. A sink of the test's own keeps its own cursor.
    """
    if recording is not None and responses:
        raise TypeError("run_job takes responses or a recording, not both")
    recorded = None if recording is None else RecordedAdapter(recording)
    before = {} if recorded is None else recorded.run
    base = api_base or before.get("api_base") or API_BASE
    adapter = recorded or CannedAdapter(responses, base)
    stream = Stream(getattr(function, "__name__", "job"), "test", "account")
    memory = MemorySink({stream: dict(before.get("cursor") or {} if cursor is None else cursor)})
    target: Sink = memory if sink is None else sink
    window = backfill or before.get("backfill")
    facts = RunFacts(
        stream,
        "test-run",
        api_base=base,
        api_origins=tuple(before.get("api_origins") or ()),
        params=(before.get("params") or {}) if params is None else params,
        window=read_window(*window) if window else None,
    )
    session = target.open(stream, fence=1)
    pending = Streams(session, tally=RunTally(before.get("limit")))
    with contextlib.closing(session), pending as streams, canned_session(adapter) as http:
        context = RunContext(facts, http, streams, JobLog.of(stream.job), ManualClock())
        # A run that was recorded as far as its limit ends there, and shows what it had, as it did then.
        with contextlib.suppress(LimitReached):
            function(context)
        context.finish()
    return JobResult(memory.tables, target.read_cursor(stream), adapter.requests)
