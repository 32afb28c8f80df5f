"""A clock that stands still until it is told to move."""

from __future__ import annotations


class ManualClock:
    """A `worker.clock.Clock` for tests; starts at 2026-01-01T00:00:00Z unless told otherwise. Seconds throughout."""

    def __init__(self, now: float = 1_767_225_600.0, monotonic: float = 1000.0) -> None:
        self._now = now
        self._monotonic = monotonic
        self._start = now - monotonic

    def now(self) -> float:
        """Wall time."""
        return self._now

    def monotonic(self) -> float:
        """Elapsed time."""
        return self._monotonic

    def steady(self) -> float:
        """What the wall clock would say if nobody had set it."""
        return self._start + self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass, on both clocks."""
        self._now += seconds
        self._monotonic += seconds

    def set_wall(self, now: float) -> None:
        """Set the wall clock, as somebody might: elapsed time does not notice."""
        self._now = now
