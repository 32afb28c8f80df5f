"""Rows of the schedule that this process has in hand: running or waiting in the pool, or left alone for a moment."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.clock import Clock
    from worker.engines.recovery import Key


class InHand:
    """Threads share it. What is in here can be lost at any instruction."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        #: … and whether each took its process with it before.
        self._running: dict[Key, bool] = {}
        #: Until when (monotonic) to leave it alone.
        self._cooling: dict[Key, float] = {}

    def take(self, key: Key, *, suspect: bool) -> None:
        """It goes to the pool."""
        with self._changed:
            self._running[key] = suspect

    def drop(self, key: Key, *, cool_off: float = 0.0) -> None:
        """It is back, and with `cool_off` not looked at for so many seconds."""
        with self._changed:
            self._running.pop(key, None)
            if cool_off:
                self._cooling[key] = self._clock.monotonic() + cool_off
            self._changed.notify_all()

    @property
    def running(self) -> frozenset[Key]:
        """What the pool has."""
        with self._changed:
            return frozenset(self._running)

    @property
    def suspected(self) -> bool:
        """Whether the pool has one that took its process with it before."""
        with self._changed:
            return any(self._running.values())

    def untouchable(self) -> frozenset[Key]:
        """What must not be handed out now."""
        moment = self._clock.monotonic()
        with self._changed:
            self._cooling = {key: until for key, until in self._cooling.items() if until > moment}
            return frozenset(self._running) | frozenset(self._cooling)

    def wait_idle(self, seconds: float) -> bool:
        """Wait until the pool has nothing; answers whether it came to that."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout=seconds)
