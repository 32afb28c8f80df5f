"""Deletions by difference in files of lines: a line says that a row is gone."""

from __future__ import annotations

import itertools
import json
from contextlib import closing

import pytest

from worker.errors import WorkerError
from worker.jobs.buffer import Buffer
from worker.jobs.sinks import Stream
from worker.jobs.sinks.jsonl import JsonlSink
from worker.runner.trial import dry_sink
from worker.testing import ManualClock

STREAM = Stream("list", "books", "acme")
_FENCES = itertools.count(1)


@pytest.fixture
def sink(tmp_path):
    """A sink in a folder that is not there yet."""
    return JsonlSink(tmp_path / "rows", ManualClock())


def run(sink, numbers=(), *, seen=(), complete=True):
    """One run; answers what became of its listing."""
    with closing(sink.open(STREAM, next(_FENCES))) as session, Buffer(session) as buffer:
        buffer.emit("t", [{"id": number} for number in numbers], key="id")
        buffer.seen("t", seen)
        if complete:
            buffer.complete("t")
        buffer.checkpoint(at=next(_FENCES))
        return buffer.run.swept[0] if complete else None


def lines(sink):
    """All lines, in order."""
    return [json.loads(line) for path in sorted(sink.path.rglob("*.jsonl")) for line in path.read_text().splitlines()]


def alive(sink):
    """What a reader makes of the lines."""
    rows = {}
    for line in lines(sink):
        rows[line["id"]] = "_deleted_at" not in line
    return [number for number, there in rows.items() if there]


def test_jsonl_row_that_is_gone_gets_a_line_with_its_key(sink):
    """The key, whose it was, and since when."""
    run(sink, [1, 2])
    run(sink, [1])
    mark = {"_integration": "books", "_account": "acme", "id": 2, "_deleted_at": "2026-01-01T00:00:00.000Z"}
    assert lines(sink)[-1] == mark


def test_jsonl_first_listing_knows_what_earlier_runs_have_written(sink):
    """From the lines themselves."""
    run(sink, [1, 2, 3], complete=False)
    assert run(sink, seen=["1", 3]).gone.rows == 1
    assert alive(sink) == [1, 3]


def test_jsonl_row_written_between_two_listings_is_known(sink):
    """By a run that lists nothing."""
    run(sink, [1])
    run(sink, [2], complete=False)
    run(sink, [1])
    assert alive(sink) == [1]


def test_jsonl_row_that_is_gone_is_told_once(sink):
    """The next listing does not repeat it; a row that comes back and goes again is told again."""
    for numbers in ([1, 2], [1], [1], [1, 2], [1]):
        run(sink, numbers)
    assert [line["id"] for line in lines(sink) if "_deleted_at" in line] == [2, 2]


def test_jsonl_approved_change_spares_what_came_back(sink):
    """Once, however often it is asked for."""
    run(sink, range(50))
    swept = run(sink, range(10))
    run(sink, [40], complete=False)
    assert [sink.settle(swept.change, STREAM, "t", approve=True) for _ in range(2)] == [39, 39]
    assert alive(sink) == [*range(10), 40]
    assert run(sink, [*range(10), 40]).gone.rows == 0


def test_jsonl_rejected_change_is_dropped_and_held_anew(sink):
    """And nothing is written."""
    run(sink, range(50))
    swept = run(sink, range(10))
    assert sink.settle(swept.change, STREAM, "t", approve=False) == 0
    assert run(sink, range(10)).change not in {"", swept.change}
    assert len(alive(sink)) == 50


def test_jsonl_sweep_that_was_not_committed_leaves_nothing(sink):
    """The commit itself fails: the next run finds neither marks nor a second file of keys."""
    run(sink, range(3))
    session = sink.open(STREAM, next(_FENCES))
    in_the_way = sink.folder(STREAM) / ".cursor.json.new"
    in_the_way.mkdir()
    with closing(session), Buffer(session) as buffer:
        buffer.seen("t", [0])
        buffer.complete("t")
        with pytest.raises(WorkerError):
            buffer.checkpoint(at=99)
    in_the_way.rmdir()
    sink.open(STREAM, next(_FENCES)).close()
    assert alive(sink) == [0, 1, 2]
    assert len(list(sink.path.rglob("*.keys"))) == 1


def test_jsonl_preview_changes_nothing(sink):
    """For dry runs, also before the first listing."""
    run(sink, [1, 2], complete=False)
    before = {path: path.read_bytes() for path in sink.path.rglob("*") if path.is_file()}
    assert run(dry_sink(sink, STREAM, None), [1]).sample == ("2",)
    assert {path: path.read_bytes() for path in sink.path.rglob("*") if path.is_file()} == before


def test_jsonl_keys_of_rows_that_spell_their_key_otherwise_are_known(sink):
    """A job that writes `ID` from now on, where it wrote `id`."""
    run(sink, [1])
    with closing(sink.open(STREAM, next(_FENCES))) as session, Buffer(session) as buffer:
        buffer.emit("t", {"ID": 2}, key="ID")
        buffer.finish()
    assert run(sink, seen=[1, 2]).gone.rows == 0


def test_jsonl_rows_with_another_key_than_the_listed_one_are_refused(sink):
    """Nobody could tell later which of them are gone."""
    run(sink, [1])
    with closing(sink.open(STREAM, next(_FENCES))) as session, Buffer(session) as buffer:
        buffer.emit("t", {"code": "x"}, key="code")
        with pytest.raises(WorkerError, match="has the key"):
            buffer.finish()
