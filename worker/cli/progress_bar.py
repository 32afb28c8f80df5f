"""The progress of a run, on a terminal's standard error; nothing anywhere else."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.jobs.progress import Progress
    from worker.jobs.sinks import Stream

#: Seconds before a bar is drawn, and between two looks: a job may tell of every row.
_PATIENCE, _PAUSE = 1.0, 0.1


class ProgressBar:
    """Draws a bar for each run that takes longer than a moment. See `worker.runner.watching.Watch`."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic

    @contextmanager
    def watch(self, stream: Stream, _run_id: str) -> Iterator[Callable[[Progress], None]]:
        """A run, from its beginning to its end."""
        if not sys.stderr.isatty():
            yield lambda _progress: None
            return
        drawn = _Drawn(f"{stream.job} {stream.integration}/{stream.account}", self._monotonic)
        try:
            yield drawn.tell
        finally:
            drawn.clear()


class _Drawn:
    """One bar."""

    def __init__(self, label: str, monotonic: Callable[[], float]) -> None:
        self._label = label
        self._monotonic = monotonic
        self._began = self._looked = monotonic()
        self._bar: Any = None
        self._task: Any = None

    def tell(self, progress: Progress) -> None:
        now = self._monotonic()
        if now - self._began < _PATIENCE or now - self._looked < _PAUSE:
            return
        self._looked = now
        rate = progress.rows / (now - self._began)
        facts = f"{progress.rows} rows, {progress.pages} pages, {rate:.0f} rows/s"
        if self._bar is None:
            self._begin(facts)
        self._bar.update(self._task, completed=progress.done, total=progress.total, facts=facts)

    def clear(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _begin(self, facts: str) -> None:
        from rich import progress
        from rich.console import Console

        console = Console(stderr=True)
        self._bar = progress.Progress(
            progress.TextColumn("{task.description} {task.fields[facts]}"),
            progress.BarColumn(bar_width=20),
            progress.TaskProgressColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,  # results are not for this terminal alone
        )
        # Log lines have to go through the console that draws, or they are written into the bar.
        for handler in logging.getLogger().handlers:
            if hasattr(handler, "console"):
                handler.console = console
        self._task = self._bar.add_task(self._label, total=None, facts=facts)
        self._bar.start()
