"""What is usual, by the median and the median absolute deviation: a few odd runs among thirty move neither. Pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Values that make a norm, and how many are remembered.
ENOUGH, REMEMBERED = 8, 30
#: Makes the median absolute deviation a standard deviation, for a normal distribution.
_MAD = 1.4826
#: Deviations that are usual, and those that are far.
_USUAL, _FAR = 3, 5
#: What is never far, whatever the deviation: half the median, and so many rows.
_HALF, _FEW = 0.5, 20


def highest_usual(history: Sequence[float]) -> float:
    """The upper end of what is usual."""
    middle = median(history)
    return middle + _USUAL * _deviation(history, middle)


def unusual(rows: int, history: Sequence[int]) -> str:
    """In words, why a run's number of rows is far from the norm; empty when it is not, or when there is no norm yet."""
    if len(history) < ENOUGH:
        return ""
    middle = median(history)
    if abs(rows - middle) <= max(_FAR * _deviation(history, middle), _HALF * middle, _FEW):
        return ""
    return f"{rows} rows, usually about {middle:.0f} (the last {len(history)} runs)"


def remembered(history: Sequence[int] | None, value: int) -> list[int]:
    """The history with one more value."""
    return [*(history or ()), value][-REMEMBERED:]


def _deviation(history: Sequence[float], middle: float) -> float:
    return _MAD * median(abs(value - middle) for value in history)
