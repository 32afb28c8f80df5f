"""The machine's clocks, pushed forward: a pause that the product asks for is not sat out."""

from __future__ import annotations

from worker.clock import SystemClock


class PushedClock(SystemClock):
    """Runs on from wherever it was pushed to."""

    def __init__(self) -> None:
        self._pushed = 0.0
        super().__init__()

    def push(self, seconds: float) -> None:
        """Forward."""
        self._pushed += seconds

    def now(self) -> float:
        """See Clock."""
        return super().now() + self._pushed

    def monotonic(self) -> float:
        """See Clock."""
        return super().monotonic() + self._pushed
