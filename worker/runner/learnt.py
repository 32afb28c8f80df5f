"""What answers have told about limits, kept until it is over. Pure: `now` is an argument, in seconds of any clock that
never goes back.

An answer tells how much was left when it was written; others are on their way by then. So each request is taken off
what is left as it is sent, and an answer that speaks of the same window can only lower that. An answer that does not
mention a quota was not counted against it (APIs with several tell of the one that mattered) and gives its request back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from worker.jobs.limit_fields import Quota

#: Seconds by which two tellings of one moment differ: resets are whole seconds, and the way takes its time.
_SAME = 1.5
#: Names of quotas kept for one place: a server that thinks up new ones does not fill the memory.
_MOST_NAMES = 16
#: Keys held before those are looked for whose words are over.
_MANY = 1000


@dataclass
class _Window:
    #: As told, and what of that has not been used since.
    told: int
    left: int
    until: float


class Learnt:
    """Holds and quotas by whom they concern. Not safe for threads by itself."""

    def __init__(self) -> None:
        self._holds: dict[Hashable, float] = {}
        self._windows: dict[Hashable, dict[str, _Window]] = {}
        self._look_at = _MANY

    def hold(self, key: Hashable, until: float) -> None:
        """Nothing is to be sent before that moment. Never shortens an earlier word."""
        self._holds[key] = max(until, self._holds.get(key, until))

    def told(self, key: Hashable, quotas: Iterable[Quota], now: float) -> None:
        """An answer has come that tells of these quotas, or of none."""
        windows = self._windows.setdefault(key, {})
        named = {quota.name: quota for quota in quotas}
        for name, window in windows.items():
            window.left = min(window.left + (name not in named), window.told)
        for name, quota in named.items():
            until = now + quota.renewed_in
            known = windows.get(name)
            if known is not None and abs(known.until - until) <= _SAME:
                known.left = min(known.left, quota.remaining)
            elif known is not None or len(windows) < _MOST_NAMES:
                windows[name] = _Window(quota.remaining, quota.remaining, until)
        if not windows:
            del self._windows[key]
        if len(self) > self._look_at:
            self.forget(now)
            self._look_at = max(_MANY, 2 * len(self))

    def wait(self, key: Hashable, now: float) -> float:
        """Seconds until a request may be sent; 0 when it may be now."""
        self._forget(key, now)
        used_up = [window.until for window in self._windows.get(key, {}).values() if window.left <= 0]
        return max([self._holds.get(key, now), *used_up]) - now

    def take(self, key: Hashable) -> None:
        """A request is being sent."""
        for window in self._windows.get(key, {}).values():
            window.left -= 1

    def forget(self, now: float) -> None:
        """Let go of what is over, whomever it concerns."""
        for key in [*self._holds, *self._windows]:
            self._forget(key, now)

    def __len__(self) -> int:
        return len(self._holds) + len(self._windows)

    def _forget(self, key: Hashable, now: float) -> None:
        if self._holds.get(key, now + 1) <= now:
            del self._holds[key]
        windows = self._windows.get(key)
        if windows is None:
            return
        for name in [name for name, window in windows.items() if window.until <= now]:
            del windows[name]
        if not windows:
            del self._windows[key]
