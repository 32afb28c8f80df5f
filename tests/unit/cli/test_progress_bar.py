"""The bar, on a terminal that is one."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress

import pytest

from worker.cli.progress_bar import ProgressBar
from worker.jobs.progress import Progress
from worker.jobs.sinks import Stream

STREAM = Stream("invoices", "books", "acme")


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard error a terminal, for the length of a block; answers what was drawn on it so far."""
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")

    def drawn():
        parts = []
        with suppress(BlockingIOError):
            while True:  # a terminal hands out what was written in pieces
                parts.append(os.read(ours, 1 << 16))
        return b"".join(parts).decode()

    @contextmanager
    def begin():
        # Not earlier: pytest puts its own in this place before each part of a test.
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", file)
            yield drawn
            file.flush()

    with os.fdopen(theirs, "w", encoding="utf-8") as file:
        yield begin
    os.close(ours)


def test_progress_bar_shows_rows_pages_rate_and_what_is_left(terminal, clock):
    """Half way through, after two seconds."""
    with terminal() as drawn, ProgressBar(clock.monotonic).watch(STREAM, "run") as tell:
        clock.advance(2)
        tell(Progress(rows=500, pages=5, done=500, total=1000))
    said = drawn()
    assert "invoices books/acme 500 rows, 5 pages, 250 rows/s" in said
    assert "50%" in said


def test_progress_bar_leaves_short_runs_alone(terminal, clock):
    """They are over before anybody has read it."""
    with terminal() as drawn, ProgressBar(clock.monotonic).watch(STREAM, "run") as tell:
        for _ in range(9):
            tell(Progress(rows=5))
            clock.advance(0.1)
    assert drawn() == ""


def test_progress_bar_is_silent_without_a_terminal(capsys, clock):
    """In a pipe, a service, a test."""
    with ProgressBar(clock.monotonic).watch(STREAM, "run") as tell:
        clock.advance(5)
        tell(Progress(rows=1))
    assert capsys.readouterr().err == ""
