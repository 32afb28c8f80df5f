"""`ctx.stream`: several tables in one run, each with a place of its own."""

from __future__ import annotations

import pytest

from worker.errors import WorkerError
from worker.jobs.buffer import LimitReached, RunTally
from worker.jobs.sinks import Stream
from worker.jobs.sinks.memory import MemorySink
from worker.jobs.streams import Streams
from worker.testing import run_job


def two(ctx):
    """Orders, then lines, each from where it stood."""
    for name in ("orders", "lines"):
        part = ctx.stream(name)
        first = part.cursor.get("next", 0)
        part.emit(name, {"id": first}, key="id")
        part.checkpoint(next=first + 1)


def test_streams_keep_a_place_each():
    """Under their names in the one cursor."""
    assert run_job(two).cursor == {"@orders": {"next": 1}, "@lines": {"next": 1}}


def test_streams_go_on_each_from_its_own_place():
    """The one has come further than the other."""
    result = run_job(two, cursor={"@orders": {"next": 7}, "@lines": {"next": 3}})
    assert result.rows == {"orders": [{"id": 7}], "lines": [{"id": 3}]}


def test_stream_that_fails_leaves_the_others_their_place():
    """What the first has committed stays; of the second nothing is left."""

    def failing(ctx):
        first, second = ctx.stream("first"), ctx.stream("second")
        second.emit("second", {"id": 1})
        first.emit("first", {"id": 1})
        first.checkpoint(at=1)
        raise ValueError("a bug")

    sink = MemorySink()
    with pytest.raises(ValueError, match="a bug"):
        run_job(failing, sink=sink)
    assert (sink.tables, sink.read_cursor(Stream("failing", "test", "account"))) == (
        {"first": [{"id": 1}]},
        {"@first": {"at": 1}},
    )


def test_checkpoint_of_the_job_leaves_its_streams_alone():
    """And theirs leave the job's own place alone."""

    def mixed(ctx):
        ctx.checkpoint(own=2)
        ctx.stream("lines").checkpoint(at=5)
        ctx.checkpoint(own=3)

    result = run_job(mixed, cursor={"own": 1, "@orders": {"next": 7}})
    assert result.cursor == {"own": 3, "@orders": {"next": 7}, "@lines": {"at": 5}}


def test_job_does_not_see_the_places_of_its_streams():
    """Its cursor is what it set."""
    result = run_job(lambda ctx: ctx.emit("t", {"seen": dict(ctx.cursor)}), cursor={"a": 1, "@lines": {"at": 5}})
    assert result.rows == {"t": [{"seen": {"a": 1}}]}


def test_same_name_is_the_same_stream():
    """Asked for twice, it has one cursor and one lot of rows."""

    def again(ctx):
        ctx.stream("lines").emit("lines", {"id": 1})
        ctx.stream("lines").checkpoint(at=1)
        ctx.emit("seen", {"at": ctx.stream("lines").cursor["at"]})

    assert run_job(again).rows == {"lines": [{"id": 1}], "seen": [{"at": 1}]}


def test_rows_of_streams_are_committed_at_the_end():
    """Without a checkpoint, as the job's own are."""
    result = run_job(lambda ctx: ctx.stream("lines").emit("lines", {"id": 1}))
    assert (result.rows, result.cursor) == ({"lines": [{"id": 1}]}, {})


def test_limit_counts_the_rows_of_all_streams(stream):
    """`--limit 3` is three rows, whoever emits them."""
    session = MemorySink().open(stream, 1)
    with Streams(session, tally=RunTally(3)) as streams:
        streams.buffer("a").emit("a", [{"n": 1}, {"n": 2}])
        with pytest.raises(LimitReached):
            streams.buffer("b").emit("b", [{"n": 3}, {"n": 4}])
        assert streams.emitted == 3


@pytest.mark.parametrize("name", ["@lines", None, 7])
def test_stream_with_an_impossible_name_is_refused(name):
    """At the line that asks for it."""
    with pytest.raises(WorkerError, match=r"ctx\.stream: .* is no name"):
        run_job(lambda ctx: ctx.stream(name))


def test_listing_is_complete_in_the_stream_that_emitted_it():
    """And not in another, which has seen none of its rows: everything would be taken away."""

    def part_by_part(ctx):
        part = ctx.stream("lines")
        part.emit("lines", {"id": 1}, key="id")
        part.complete("lines")
        part.checkpoint(at=1)
        ctx.complete("lines")

    sink = MemorySink()
    with pytest.raises(WorkerError, match=r'rows of lines were emitted by ctx\.stream\("lines"\)'):
        run_job(part_by_part, sink=sink)
    assert [swept.table for swept in sink.swept] == ["lines"]


def test_rows_of_another_stream_do_not_come_between_a_listing_and_its_checkpoint():
    """The listing does not name them: they would be taken away as soon as they are there."""

    def crossing(ctx):
        ctx.emit("t", {"id": 1}, key="id")
        ctx.complete("t")
        ctx.stream("late").emit("t", {"id": 2}, key="id")

    with pytest.raises(WorkerError, match="after another stream has said that it is complete"):
        run_job(crossing)


def test_rows_of_another_stream_come_after_the_checkpoint_of_a_listing():
    """Then they are nobody's deletion."""

    def following(ctx):
        ctx.emit("t", {"id": 1}, key="id")
        ctx.complete("t")
        ctx.checkpoint(at=1)
        ctx.stream("late").emit("t", {"id": 2}, key="id")

    assert run_job(following).rows == {"t": [{"id": 1}, {"id": 2}]}


def test_listing_goes_by_the_spelling_of_its_rows():
    """SQLite takes both for one table; a listing under the other name has none of its rows."""

    def misspelt(ctx):
        ctx.emit("Things", {"id": 1}, key="id")
        ctx.complete("things")

    with pytest.raises(WorkerError, match="things is what this run called Things before"):
        run_job(misspelt)


def test_stream_whose_place_is_no_cursor_says_so():
    """As `--since '{"@lines": 5}'` would have it."""
    with pytest.raises(WorkerError, match="the cursor's @lines is 5 and no object"):
        run_job(lambda ctx: ctx.stream("lines"), cursor={"@lines": 5})


def test_stream_has_the_run_s_facts_and_a_log_of_its_own(caplog):
    """Whose run it is; and its lines say which stream they are about, beside what the call adds."""

    def telling(ctx):
        part = ctx.stream("lines")
        part.log.warning("so far", extra={"count": 3})
        part.emit("t", {"account": part.account, "job": part.job, "p": part.params["p"]})

    assert run_job(telling, params={"p": 1}).rows == {"t": [{"account": "account", "job": "telling", "p": 1}]}
    assert [(line.message, line.stream, line.count) for line in caplog.records] == [("so far", "lines", 3)]
