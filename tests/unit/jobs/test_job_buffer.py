from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar

import pytest

from worker.errors import FenceLost, WorkerError
from worker.jobs.buffer import Buffer, LimitReached
from worker.jobs.sinks.memory import MemorySink
from worker.jobs.spool import PACK_BYTES, PACK_ROWS


@pytest.fixture
def sink():
    return MemorySink()


@pytest.fixture
def buffer(sink, stream):
    with Buffer(sink.open(stream, 1)) as buffer:
        yield buffer


def test_buffer_rows_are_invisible_before_the_checkpoint(sink, buffer):
    """However many there are: rows never run ahead of their cursor."""
    buffer.emit("t", ({"n": n} for n in range(3 * PACK_ROWS)))
    assert sink.tables == {}


def test_buffer_checkpoint_commits_rows_and_cursor(sink, buffer, stream):
    """Both at once."""
    buffer.emit("t", [{"n": 1}, {"n": 2}], key="n")
    assert buffer.checkpoint(at=5) == 2
    assert (sink.tables, sink.read_cursor(stream)) == ({"t": [{"n": 1}, {"n": 2}]}, {"at": 5})


def test_buffer_finish_commits_the_rest_with_the_cursor_unchanged(sink, buffer, stream):
    """What was emitted after the last checkpoint of a successful run."""
    buffer.checkpoint(at=5)
    buffer.emit("t", {"n": 1})
    buffer.finish()
    assert (sink.tables, sink.read_cursor(stream)) == ({"t": [{"n": 1}]}, {"at": 5})


def test_buffer_discard_forgets_what_came_after_the_checkpoint(sink, buffer, stream):
    """A job that raises keeps its last checkpoint, and no more."""
    buffer.emit("t", {"n": 1})
    buffer.checkpoint(at=1)
    buffer.emit("t", {"n": 2})
    buffer.discard()
    buffer.finish()
    assert (sink.tables, sink.read_cursor(stream)) == ({"t": [{"n": 1}]}, {"at": 1})


def test_buffer_keeps_order_and_number_of_very_many_rows(sink, buffer):
    """Through packing and the temporary file."""
    expected = [{"n": n, "text": "x" * (n % 50)} for n in range(2 * PACK_ROWS + 7)]
    buffer.emit("t", expected)
    buffer.emit("t", {"n": -1, "blob": b"y" * (PACK_BYTES + 1)})
    buffer.emit("t", {"n": -2, "nested": {"a": [1.5, None, True]}})
    buffer.checkpoint(at=1)
    assert sink.tables["t"][:-2] == expected
    assert [row["n"] for row in sink.tables["t"][-2:]] == [-1, -2]


def test_buffer_keeps_types_through_packing(sink, stream):
    """Decimals and times wait on the disk like everything else, beside rows that are packed the quick way."""
    rows = [{"n": n, "at": datetime(2026, 1, 1, tzinfo=UTC), "sum": Decimal(n) / 100} for n in range(PACK_ROWS + 1)]
    rows += [{"n": n} for n in range(2 * PACK_ROWS)]
    taken = []

    class Session:
        cursor: ClassVar = {}

        def write(self, batches, cursor):
            taken.extend(batches["t"].rows)
            return len(taken)

    buffer = Buffer(Session())
    buffer.emit("t", rows)
    assert buffer.checkpoint(at=1) == len(rows)
    assert taken == rows


def test_buffer_goes_to_the_folder_it_is_given(buffer, sink, stream, tmp_path):
    """A file without a name: nothing stays behind, and nobody can open it."""
    with Buffer(sink.open(stream, 2), folder=tmp_path) as spilling:
        for n in range(12):
            spilling.emit("t", {"n": n, "blob": b"y" * PACK_BYTES})
        assert list(tmp_path.iterdir()) == []
        assert spilling.checkpoint(at=1) == 12


def test_buffer_failed_commit_leaves_rows_and_cursor_pending(sink, buffer, stream):
    """The sink wrote nothing, so nothing may be forgotten."""
    buffer.emit("t", {"n": 1})
    sink.open(stream, 2)
    with pytest.raises(FenceLost):
        buffer.checkpoint(at=1)
    assert (buffer.cursor, buffer.committed, sink.tables) == ({}, 0, {})


def test_buffer_checkpoint_moves_the_cursor_the_job_sees(buffer):
    """`ctx.cursor` is the place reached, not the one the run began with."""
    buffer.checkpoint(at=1, other=2)
    buffer.checkpoint(at=3)
    assert buffer.cursor == {"at": 3, "other": 2}


def test_buffer_key_that_differs_within_a_checkpoint_is_refused(buffer):
    """Half of the rows would be duplicates."""
    buffer.emit("t", {"n": 1}, key="n")
    with pytest.raises(WorkerError, match="key"):
        buffer.emit("t", {"n": 1})


def test_buffer_limit_stops_the_run_at_the_row_after_it(buffer, sink, stream):
    """`jobs run --dry-run --limit 2`."""
    limited = Buffer(sink.open(stream, 2), limit=2)
    with pytest.raises(LimitReached):
        limited.emit("t", [{"n": 1}, {"n": 2}, {"n": 3}])
    limited.finish()
    assert [row["n"] for row in sink.tables["t"]] == [1, 2]


def test_buffer_takes_a_single_row(buffer, sink):
    """A dict instead of a list of one is what everybody writes once."""
    buffer.emit("t", {"n": 1})
    buffer.finish()
    assert sink.tables == {"t": [{"n": 1}]}
