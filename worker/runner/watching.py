"""Who watches a run: the command line draws a bar, the daemon leaves a note that other commands read.

A note is a small file in the state folder, written every few seconds by runs that take longer than that, and gone when
the run has ended. It is a courtesy: a note that cannot be written is left out, and nothing but people reads it.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from worker.clock import Clock
    from worker.jobs.progress import Progress
    from worker.jobs.sinks import Stream

#: Seconds before a run's first note, and between two: a run of a moment leaves none.
PAUSE = 5.0
_FOLDER = "progress"


class Watch(Protocol):
    """Asked at the beginning of each run; answers what is told how far it is, for as long as it takes."""

    def __call__(self, stream: Stream, run_id: str, /) -> AbstractContextManager[Callable[[Progress], None]]:
        """See the class."""


@contextmanager
def unwatched(_stream: Stream, _run_id: str) -> Iterator[Callable[[Progress], None]]:
    """Nobody watches."""
    yield lambda _progress: None


class NoteKeeper:
    """Leaves notes in the state folder. Threads share it."""

    def __init__(self, state_folder: Path, clock: Clock) -> None:
        self._folder = state_folder / _FOLDER
        self._clock = clock

    def sweep(self) -> None:
        """Take away what a process that was killed has left."""
        with suppress(OSError):
            for path in self._folder.iterdir():
                path.unlink()

    @contextmanager
    def watch(self, _stream: Stream, run_id: str) -> Iterator[Callable[[Progress], None]]:
        """See Watch."""
        path, noted = self._folder / run_id, self._clock.monotonic()

        def tell(progress: Progress) -> None:
            nonlocal noted
            if self._clock.monotonic() - noted < PAUSE:
                return
            noted = self._clock.monotonic()
            with suppress(OSError):
                self._folder.mkdir(mode=0o700, exist_ok=True)
                fresh = path.with_suffix(".new")
                fresh.write_text(json.dumps({**asdict(progress), "at": self._clock.now()}), "utf-8")
                os.replace(fresh, path)  # noqa: PTH105 - the one call that takes another's place

        try:
            yield tell
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def read_note(state_folder: Path, run_id: str) -> dict[str, Any] | None:
    """How far a run is that goes on on this machine: `rows`, `pages`, `done`, `total`, `at`; None without a note."""
    try:
        found = json.loads((state_folder / _FOLDER / run_id).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
