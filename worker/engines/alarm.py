"""The alarm: APScheduler's one job, armed anew after every look, wakes the dispatcher at the earliest due time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Alarm:
    """Calls `wake` at a moment, in the scheduler's own thread: it must do no more than set an event."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._scheduler: Any = None

    def start(self) -> None:
        """Begin. Call it after any fork, never before."""
        from apscheduler.executors.debug import DebugExecutor  # noqa: PLC0415 - start-up time
        from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415 - likewise

        self._scheduler = BackgroundScheduler(
            timezone=UTC, executors={"default": DebugExecutor()}, job_defaults={"misfire_grace_time": None}
        )
        self._scheduler.start()

    def set(self, at: float) -> None:
        """Wake at this wall time, and at no other that was set before."""
        self._scheduler.add_job(
            self._wake, "date", run_date=datetime.fromtimestamp(at, UTC), id="ring", replace_existing=True
        )

    def stop(self) -> None:
        """Wake nobody any more."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
