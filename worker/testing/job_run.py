"""One run of one job against canned answers, through the same context and buffer that the daemon uses."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.jobs.buffer import Buffer
from worker.jobs.run_context import RunContext, RunFacts
from worker.jobs.sinks import Stream
from worker.jobs.sinks.memory import MemorySink
from worker.testing.answers import CannedAdapter, Responses, canned_session
from worker.testing.manual_clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


def run_job(
    function: Callable[[Context], None],
    *,
    responses: Responses = (),
    cursor: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    api_base: str = API_BASE,
    sink: Sink | None = None,
) -> JobResult:
    """Run a job once, for the account `test/account`, and answer what it left.

    `responses` as in `worker.testing.answers`. Whatever the job raises comes out as it is; what its checkpoints had
    committed by then is in `sink`, if the test brought one. A sink of the test's own keeps its own cursor.
    """
    stream = Stream(getattr(function, "__name__", "job"), "test", "account")
    memory = MemorySink({stream: dict(cursor or {})})
    target: Sink = memory if sink is None else sink
    adapter = CannedAdapter(responses, api_base)
    session = target.open(stream, fence=1)
    log = logging.LoggerAdapter(logging.getLogger(f"worker.job.{stream.job}"), {})
    facts = RunFacts(stream, "test-run", api_base=api_base, params=params or {})
    with contextlib.closing(session), Buffer(session) as buffer, canned_session(adapter) as http:
        function(RunContext(facts, http, buffer, log, ManualClock()))
        buffer.finish()
    return JobResult(memory.tables, target.read_cursor(stream), adapter.requests)
