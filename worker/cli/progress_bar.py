"""The progress of a run, on a terminal's standard error; nothing anywhere else."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from worker.jobs.progress import Progress
    from worker.jobs.sinks import Stream

#: Seconds before a bar is drawn, and between two looks: a job may tell of every row.
_PATIENCE, _PAUSE = 1.0, 0.1


class ProgressBar:
    """Draws what it is told of, once a run takes longer than a moment. A context manager."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._bar: Any = None
        self._task: Any = None
        self._run = ("", "")
        self._began = self._looked = monotonic()
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def __call__(self, stream: Stream, run_id: str, progress: Progress) -> None:
        """A run is so far."""
        now = self._monotonic()
        if not self._terminal:
            return
        if (run_id, stream.account) != self._run:
            self._clear()
            self._run, self._began = (run_id, stream.account), now
        if now - self._began < _PATIENCE or now - self._looked < _PAUSE:
            return
        self._looked = now
        if self._bar is None:
            self._begin(f"{stream.job} {stream.integration}/{stream.account}")
        rate = progress.rows / (now - self._began)
        facts = f"{progress.rows} rows, {progress.pages} pages, {rate:.0f} rows/s"
        self._bar.update(self._task, completed=progress.done, total=progress.total, facts=facts)

    def _begin(self, label: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description} {task.fields[facts]}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,  # results are not for this terminal alone
        )
        # Log lines have to go through the console that draws, or they are written into the bar.
        for handler in logging.getLogger().handlers:
            if hasattr(handler, "console"):
                handler.console = console
        self._task = self._bar.add_task(label, total=None, facts="")
        self._bar.start()

    def _clear(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
