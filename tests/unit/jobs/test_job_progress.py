"""How far a run has come, as it is counted."""

from __future__ import annotations

import pytest

from worker.errors import WorkerError
from worker.jobs.job_log import JobLog
from worker.jobs.progress import Progress, ProgressMeter
from worker.jobs.run_context import RunContext, RunFacts
from worker.jobs.sinks.memory import MemorySink
from worker.jobs.streams import Streams
from worker.testing.answers import CannedAdapter, canned_session

BASE = "https://api.test/"


def watched(function, stream, clock, responses=()):
    """All that was told while the job ran."""
    told: list[Progress] = []
    facts = RunFacts(stream, "run", api_base=BASE, meter=ProgressMeter(told.append))
    with Streams(MemorySink().open(stream, 1)) as streams, canned_session(CannedAdapter(responses, BASE)) as session:
        function(RunContext(facts, session, streams, JobLog.of("t"), clock))
    return told


def copy_all(ctx):
    for page in ctx.pages("/invoices"):
        ctx.emit("invoices", page.rows, key="id")


def test_progress_counts_rows_and_pages(stream, clock):
    """By themselves."""
    pages = [{"data": [{"id": 1}, {"id": 2}], "next": "/invoices?page=2"}, {"data": [{"id": 3}]}]
    last = watched(copy_all, stream, clock, pages)[-1]
    assert (last.rows, last.pages) == (3, 2)


def test_progress_knows_the_total_that_the_api_names(stream, clock):
    """For an ETA."""
    pages = [{"data": [{"id": 1}], "total": 2, "next": "/invoices?page=2"}, {"data": [{"id": 2}], "total": 2}]
    assert [(one.done, one.total) for one in watched(copy_all, stream, clock, pages) if one.rows == one.pages] == [
        (1, 2),
        (2, 2),
    ]


def test_progress_that_the_job_tells_wins(stream, clock):
    """It knows what it counts."""

    def telling(ctx):
        ctx.progress(3, 12)
        copy_all(ctx)

    last = watched(telling, stream, clock, [{"data": [{"id": 1}], "total": 1}])[-1]
    assert (last.done, last.total, last.rows) == (3, 12, 1)


def test_progress_counts_the_rows_of_all_streams(stream, clock):
    """One run, one count."""

    def several(ctx):
        ctx.stream("a").emit("a", [{"n": 1}, {"n": 2}])
        ctx.stream("b").emit("b", {"n": 3})

    assert watched(several, stream, clock)[-1].rows == 3


@pytest.mark.parametrize("given", [("3", None), (None, 4), (3, "12"), (True, None)])
def test_progress_that_is_no_number_is_refused(given, stream, clock):
    """At the line that told it."""
    with pytest.raises(WorkerError, match=r"ctx\.progress: (done|total) is .* and no number"):
        watched(lambda ctx: ctx.progress(*given), stream, clock)
