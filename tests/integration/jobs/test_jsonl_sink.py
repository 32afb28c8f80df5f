"""The JSON lines sink in real files."""

from __future__ import annotations

import json
import os
import stat
from contextlib import closing

import pytest

from worker.clock import SystemClock
from worker.errors import FenceLost, WorkerError
from worker.jobs.sinks import Stream, TableBatch
from worker.jobs.sinks.jsonl import JsonlSink
from worker.jobs.sinks.jsonl_manifest import MANIFEST
from worker.jobs.sinks.jsonl_segments import Rotation


@pytest.fixture
def sink(tmp_path):
    """A sink in a folder that is not there yet."""
    return JsonlSink(tmp_path / "lines", SystemClock())


def write(sink, stream, numbers, *, cursor=None, fence=1, table="t"):
    """One run with one write."""
    with closing(sink.open(stream, fence)) as session:
        return session.write({table: TableBatch([{"n": number} for number in numbers])}, cursor)


def files(sink):
    """Names of the files of lines, below the sink's folder."""
    return sorted(str(path.relative_to(sink.path)) for path in sink.path.rglob("*.jsonl"))


def numbers(sink):
    """What stands in all of them, in order."""
    text = "".join((sink.path / name).read_text() for name in files(sink))
    return [json.loads(line)["n"] for line in text.splitlines()]


def test_jsonl_lines_name_their_owner(sink, stream):
    """Whoever joins the files still knows whose row it is."""
    write(sink, stream, [1])
    assert files(sink) == ["books/acme/invoices/t-000001.jsonl"]
    line = json.loads((sink.path / files(sink)[0]).read_text())
    assert line == {"_integration": "books", "_account": "acme", "n": 1}


def test_jsonl_files_are_private_from_the_start(sink, stream):
    """0600 in 0700, whatever the umask."""
    before = os.umask(0)
    try:
        write(sink, stream, [1], cursor={"at": 1})
    finally:
        os.umask(before)
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in sink.path.rglob("*")}
    assert modes == {True: 0o700, False: 0o600}
    assert stat.S_IMODE(sink.path.stat().st_mode) == 0o700


def test_jsonl_cursor_and_rows_go_on_in_the_next_run(sink, stream):
    """By stream; None leaves the cursor as it is."""
    write(sink, stream, [1, 2], cursor={"at": 2})
    write(sink, stream, [3], fence=2)
    assert (numbers(sink), sink.read_cursor(stream)) == ([1, 2, 3], {"at": 2})


def test_jsonl_rows_that_were_never_committed_are_cut_off(sink, stream):
    """A crash between the rows and the cursor: the next run delivers them again."""
    write(sink, stream, [1], cursor={"at": 1})
    folder = sink.folder(stream)
    with (folder / "t-000001.jsonl").open("a") as file:
        file.write('{"n": 2}\n{"n": 3')
    (folder / "t-000002.jsonl").write_text('{"n": 4}\n')
    (folder / "new-000001.jsonl").write_text('{"n": 5}\n')
    sink.open(stream, 2).close()
    assert numbers(sink) == [1]


def test_jsonl_foreign_files_are_left_alone(sink, stream):
    """Only files of the sink's own naming are its own."""
    write(sink, stream, [1])
    foreign = sink.folder(stream) / "notes.jsonl"
    foreign.write_text("mine\n")
    sink.open(stream, 2).close()
    assert foreign.read_text() == "mine\n"


def test_jsonl_full_file_is_followed_by_the_next(stream, tmp_path):
    """And is not touched again."""
    sink = JsonlSink(tmp_path / "lines", SystemClock(), Rotation(60))
    for number in range(4):
        write(sink, stream, [number], fence=number)
    assert [name[-9:] for name in files(sink)] == ["001.jsonl", "002.jsonl", "003.jsonl", "004.jsonl"][
        : len(files(sink))
    ]
    assert (len(files(sink)) > 1, numbers(sink)) == (True, [0, 1, 2, 3])


def test_jsonl_file_that_was_moved_away_is_followed_by_the_next(sink, stream, tmp_path):
    """A reader may take what is there."""
    write(sink, stream, [1])
    (sink.folder(stream) / "t-000001.jsonl").rename(tmp_path / "taken")
    write(sink, stream, [2])
    assert (files(sink)[0][-15:], numbers(sink)) == ("/t-000002.jsonl", [2])


def test_jsonl_file_that_was_cut_short_is_an_error(sink, stream):
    """Committed rows are gone; going on would hide it."""
    write(sink, stream, [1, 2])
    os.truncate(sink.folder(stream) / "t-000001.jsonl", 5)
    with pytest.raises(WorkerError, match=r"t-000001\.jsonl has 5 bytes, but \d+ were committed"):
        write(sink, stream, [3])


def test_jsonl_failed_write_leaves_the_file_as_it_was(sink, stream):
    """Readers never see half a checkpoint."""
    write(sink, stream, [1], cursor={"at": 1})

    def rows():
        yield {"n": 2}
        raise ValueError("the source broke")

    with closing(sink.open(stream, 2)) as session, pytest.raises(ValueError, match="broke"):
        session.write({"t": TableBatch(rows())}, {"at": 2})
    assert (numbers(sink), sink.read_cursor(stream)) == ([1], {"at": 1})


def test_jsonl_older_run_is_refused_when_a_newer_has_begun(sink, stream):
    """Even if the newer has written nothing yet."""
    with closing(sink.open(stream, 1)) as older:
        sink.open(stream, 2)
        with pytest.raises(FenceLost):
            older.write({"t": TableBatch([{"n": 1}])}, None)
    with pytest.raises(FenceLost):
        sink.open(stream, 1)
    assert numbers(sink) == []


def test_jsonl_reset_forgets_the_cursor_and_refuses_the_run_under_way(sink, stream):
    """The rows stay."""
    with closing(sink.open(stream, 5)) as session:
        session.write({"t": TableBatch([{"n": 1}])}, {"at": 1})
        sink.reset(stream)
        with pytest.raises(FenceLost):
            session.write({}, {"at": 2})
    assert (sink.read_cursor(stream), numbers(sink)) == ({}, [1])


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../etc", "", "a\0b", ".lock", "ä%2F"])
def test_jsonl_names_cannot_leave_the_folder(sink, tmp_path, name):
    """Account and table names come from people and APIs."""
    stream = Stream("j", "i", name)
    write(sink, stream, [1], table=name or "t")
    path = tmp_path / "lines"
    assert numbers(sink) == [1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["lines"]
    assert len(list(path.glob("i/*/j/*.jsonl"))) == 1


def test_jsonl_damaged_record_is_named(sink, stream):
    """And nothing is written beside it."""
    write(sink, stream, [1])
    (sink.folder(stream) / "cursor.json").write_text('{"cursor": 5}')
    with pytest.raises(WorkerError, match=r"cursor\.json was not written by this program"):
        sink.open(stream, 2)


def test_jsonl_reading_a_cursor_creates_nothing(sink, stream):
    """A dry run leaves no trace."""
    assert sink.read_cursor(stream) == {}
    sink.reset(stream)
    assert not sink.path.exists()


def manifest(sink, stream):
    """What the manifest names: table, file, rows, bytes."""
    path = sink.folder(stream) / MANIFEST
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(line["table"], line["file"], line["rows"], line["bytes"]) for line in lines]


def test_jsonl_large_checkpoint_is_spread_over_files(sink, stream):
    """The manifest names those that are finished; the last one goes on."""
    sink.rotation = Rotation(80)
    write(sink, stream, range(5), cursor={"at": 1})
    assert [name[-15:] for name in files(sink)] == [f"/t-00000{number}.jsonl" for number in (1, 2, 3)]
    sizes = [(sink.path / name).stat().st_size for name in files(sink)]
    assert manifest(sink, stream) == [("t", f"t-00000{number}.jsonl", 2, sizes[number - 1]) for number in (1, 2)]
    assert numbers(sink) == [0, 1, 2, 3, 4]


def test_jsonl_old_file_is_finished_by_the_next_run(stream, tmp_path, clock):
    """Also by one that brings no rows; the row after it begins another file."""
    sink = JsonlSink(tmp_path / "lines", clock, Rotation(seconds=60.0))
    write(sink, stream, [1])
    clock.advance(59)
    sink.open(stream, 2).close()
    assert manifest(sink, stream) == []
    clock.advance(1)
    sink.open(stream, 3).close()
    assert [file for _, file, *_ in manifest(sink, stream)] == ["t-000001.jsonl"]
    write(sink, stream, [2], fence=4)
    assert ([name[-14:] for name in files(sink)], numbers(sink)) == (["t-000001.jsonl", "t-000002.jsonl"], [1, 2])


@pytest.mark.parametrize("more", [0, 20])
def test_jsonl_manifest_is_completed_by_the_next_run(sink, stream, more):
    """The process ended between the commit and the manifest, or half way through a line of it."""
    sink.rotation = Rotation(80)
    write(sink, stream, range(2), cursor={"at": 1})
    write(sink, stream, range(4), cursor={"at": 2}, fence=2)
    path = sink.folder(stream) / MANIFEST
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\n") + 1 + more])
    sink.open(stream, 3).close()
    assert path.read_bytes() == whole


def test_jsonl_manifest_that_was_taken_away_begins_anew(sink, stream):
    """A shipper may do so; from then on it names what is new."""
    sink.rotation = Rotation(80)
    write(sink, stream, range(2))
    sink.open(stream, 2).close()
    (sink.folder(stream) / MANIFEST).unlink()
    write(sink, stream, range(2), fence=3)
    write(sink, stream, range(2), fence=4)
    assert [file for _, file, *_ in manifest(sink, stream)] == ["t-000002.jsonl", "t-000003.jsonl"]


def test_jsonl_finished_file_may_be_taken_away(sink, stream):
    """The next number goes on all the same."""
    sink.rotation = Rotation(80)
    write(sink, stream, range(2))
    (sink.folder(stream) / "t-000001.jsonl").unlink()
    write(sink, stream, [7], fence=2)
    assert [name[-14:] for name in files(sink)] == ["t-000002.jsonl"]
