"""Notes of how far runs are."""

from __future__ import annotations

import pytest

from worker.jobs.progress import Progress
from worker.jobs.sinks import Stream
from worker.runner.watching import PAUSE, NoteKeeper, read_note

STREAM = Stream("invoices", "books", "acme")


@pytest.fixture
def keeper(tmp_path, clock):
    return NoteKeeper(tmp_path, clock)


def test_note_is_there_as_long_as_the_run_is(keeper, tmp_path, clock):
    """With what was told last."""
    with keeper.watch(STREAM, "run") as tell:
        clock.advance(PAUSE)
        tell(Progress(rows=7, pages=2, done=7, total=9))
        during = read_note(tmp_path, "run")
    assert during == {"rows": 7, "pages": 2, "done": 7, "total": 9, "at": clock.now()}
    assert read_note(tmp_path, "run") is None


def test_note_is_not_written_for_every_row(keeper, tmp_path, clock):
    """Nor at all for a run of a moment."""
    with keeper.watch(STREAM, "run") as tell:
        tell(Progress(rows=1))
        assert not list(tmp_path.iterdir())
        clock.advance(PAUSE)
        tell(Progress(rows=2))
        tell(Progress(rows=3))
        assert read_note(tmp_path, "run")["rows"] == 2


def test_note_that_cannot_be_written_is_left_out(keeper, tmp_path, clock):
    """The run goes on."""
    (tmp_path / "progress").write_text("in the way")
    with keeper.watch(STREAM, "run") as tell:
        clock.advance(PAUSE)
        tell(Progress(rows=1))
    assert read_note(tmp_path, "run") is None


def test_notes_of_a_killed_process_are_swept(keeper, tmp_path, clock):
    """The next daemon does it."""
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / "gone").write_text("{}")
    keeper.sweep()
    assert read_note(tmp_path, "gone") is None


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_note_that_is_none_is_no_note(text, tmp_path):
    """Half a file, say."""
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / "run").write_text(text)
    assert read_note(tmp_path, "run") is None
