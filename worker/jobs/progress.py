"""How far a run has come, for whoever watches it: counted here, shown by the command line or kept by the daemon.

A total is known when the API names one (`Page.total`) or the job says it (`ctx.progress(done, total)`); what the job
says wins, since it knows what it counts.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.jobs.pages import Page


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    rows: int = 0
    pages: int = 0
    #: What `total` is counted in: rows of the collection being paged through, or whatever the job counts.
    done: float = 0
    #: None when nobody knows.
    total: float | None = None


def _unwatched(_progress: Progress) -> None:
    """A run that nobody watches."""


class ProgressMeter:
    """Counts what one run does. Safe to use from a job's own threads."""

    def __init__(self, tell: Callable[[Progress], None] = _unwatched) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._told_by_job = False
        self.now = Progress()

    def rows(self, count: int) -> None:
        """So many rows were emitted by now."""
        with self._lock:
            self.now = replace(self.now, rows=count)
            self._tell(self.now)

    def page(self, page: Page, before: int) -> None:
        """A page was handed out, and `before` rows of its collection were before it."""
        with self._lock:
            self.now = replace(self.now, pages=self.now.pages + 1)
            if not self._told_by_job:
                self.now = replace(self.now, done=before + len(page.rows), total=page.total)
            self._tell(self.now)

    def told(self, done: float, total: float | None) -> None:
        """The job says how far it is. Raises WorkerError for what is no number."""
        _require_number("done", done)
        if total is not None:
            _require_number("total", total)
        with self._lock:
            self._told_by_job = True
            self.now = replace(self.now, done=done, total=total)
            self._tell(self.now)


def _require_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WorkerError(f"ctx.progress: {name} is {value!r} and no number")
