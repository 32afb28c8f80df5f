"""The window of a backfill, and that a job heeds it."""

from __future__ import annotations

import pytest

from worker.errors import UsageFault, WorkerError
from worker.jobs.sinks.memory import MemorySink
from worker.jobs.window import Window, read_window
from worker.testing import run_job

JANUARY = ("2026-01-01", "2026-02-01")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2026-01-31T06:00:00Z", "2026-01-31T06:00:00Z"),
        ("2026-01-31T06:00", "2026-01-31T06:00:00Z"),
        ("2026-01-31T06:00:00+02:00", "2026-01-31T04:00:00Z"),
        ("20260131", "2026-01-31T00:00:00Z"),
    ],
)
def test_window_is_read_from_dates_and_times(text, moment):
    """Both ends end up in UTC."""
    assert read_window(text, "").since == moment


@pytest.mark.parametrize(("since", "until"), [("yesterday", ""), ("2026-01-32", ""), ("2026-01-01", "soon"), ("", "")])
def test_window_that_is_no_time_is_refused(since, until):
    """With how to write one."""
    with pytest.raises(UsageFault, match="is no date and no time"):
        read_window(since, until)


@pytest.mark.parametrize("until", ["2026-01-01", "2025-12-31"])
def test_window_that_ends_before_it_begins_is_refused(until):
    """It would be empty."""
    with pytest.raises(UsageFault, match="is not after --from"):
        read_window("2026-01-01", until)


def test_window_finer_than_a_second_is_refused():
    """Most filters take no more."""
    with pytest.raises(UsageFault, match="fraction of a second"):
        read_window("2026-01-01T00:00:00.5Z", "")


@pytest.mark.parametrize(
    ("until", "name"),
    [("2026-02-01T00:00:00Z", "invoices@2026-01-01..2026-02-01"), (None, "invoices@2026-01-01..")],
)
def test_window_names_the_backfill(until, name):
    """What is listed, and what `worker jobs reset` takes."""
    assert Window("2026-01-01T00:00:00Z", until).name_for("invoices") == name


def test_window_with_a_time_of_day_names_it():
    """Two windows never have the same name."""
    assert str(Window("2026-01-01T06:00:00Z", "2026-01-01T07:00:00Z")) == "2026-01-01T06:00:00Z..2026-01-01T07:00:00Z"


def heeding(ctx):
    """Asks for both bounds."""
    ctx.emit("t", {"since": ctx.since, "until": ctx.until})


def test_job_is_told_the_bounds_of_a_backfill():
    """As RFC 3339 in UTC."""
    row = {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}
    assert run_job(heeding, backfill=JANUARY).rows == {"t": [row]}


def test_job_has_no_bounds_in_a_live_run():
    """Nothing to tell apart from the cursor."""
    assert run_job(heeding).rows == {"t": [{"since": None, "until": None}]}


def test_stream_has_the_bounds_of_the_run():
    """They are heeded there, too."""
    result = run_job(lambda ctx: heeding(ctx.stream("lines")), backfill=JANUARY)
    assert result.rows["t"][0]["since"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("end", ["at a checkpoint", "at the end"])
def test_job_that_does_not_heed_the_window_writes_nothing(end):
    """It would copy everything there is, over and over."""

    def heedless(ctx):
        ctx.emit("t", {"from": ctx.since})
        if end == "at a checkpoint":
            ctx.checkpoint(at=1)

    sink = MemorySink()
    with pytest.raises(WorkerError, match=r"heedless does not look at ctx\.until, so it cannot be backfilled"):
        run_job(heedless, backfill=JANUARY, sink=sink)
    assert sink.tables == {}


def test_job_that_goes_on_need_not_look_where_the_window_began():
    """Its cursor stands for that; the end it has to know."""

    def resuming(ctx):
        ctx.checkpoint(at=ctx.cursor.get("at") or ctx.since, end=ctx.until)

    assert run_job(resuming, backfill=JANUARY, cursor={"at": "x"}).cursor == {"at": "x", "end": "2026-02-01T00:00:00Z"}


@pytest.mark.parametrize(("backfill", "listings"), [(JANUARY, 0), (None, 1)])
def test_backfill_takes_nothing_away(backfill, listings):
    """It lists a window: what lies outside of it is not gone."""

    def listing(ctx):
        ctx.emit("t", {"id": 1, "of": ctx.since, "to": ctx.until}, key="id")
        ctx.complete("t")

    sink = MemorySink()
    run_job(listing, backfill=backfill, sink=sink)
    assert len(sink.swept) == listings


def test_job_need_not_look_for_an_end_that_is_not_there():
    """A window that is open at its end."""
    assert run_job(lambda ctx: ctx.emit("t", {"from": ctx.since}), backfill=("2026-01-01", "")).rows["t"]


def test_job_that_heeds_no_bound_is_stopped_before_it_has_read_everything():
    """At the second batch of rows for a table; another table's first one may be copied whole."""
    reached = []

    def heedless(ctx):
        ctx.emit("kinds", {"id": 1})
        for number in range(9):
            ctx.emit("rows", {"id": number})
            reached.append(number)

    with pytest.raises(UsageFault, match="cannot be backfilled"):
        run_job(heedless, backfill=("2026-01-01", ""))
    assert reached == [0]
