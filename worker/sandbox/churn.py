"""Data that changes while it is read: after an API answer, now and then, something happens to some rows.

What happens is drawn by the seed, in the order of the answers, so that one client meets the same changes again. It is
what breaks a sync: rows that move to the end between two pages, one moment for more rows than a page holds, moments
that differ behind the third digit only, changes that show later than their moment says, merges, deletions.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.sandbox.dataset import Dataset

#: Rows that one small change concerns, at most.
FEW = 12
#: Seconds that a change may take to become visible. A sync that stays two seconds behind the clock meets all of them.
LATEST = 1.8
COLLECTIONS = ("events", "registrations", "contacts", "orders", "orderlines")


class Churn:
    """Changes to one data set."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self._dataset = dataset
        self._random = Random(f"churn {seed}")
        self._most = FEW
        self._kinds: tuple[Callable[[str, float], None], ...] = (
            self._touch,
            self._touch,
            self._crowd,
            self._touch_late,
            self._insert,
            self._insert_late,
            self._delete,
            self._merge,
        )

    def step(self, chance: float, crowd: int, now: float) -> None:
        """Perhaps one change; `crowd` is the most rows that get one moment."""
        self._most = crowd
        if self._random.random() < chance:
            change, collection = self._random.choice(self._kinds), self._random.choice(COLLECTIONS)
            change(collection, now)

    def _touch(self, collection: str, now: float) -> None:
        self._dataset.touch(collection, self._some(collection, FEW), now)

    def _crowd(self, collection: str, now: float) -> None:
        self._dataset.touch(collection, self._some(collection, self._most), now, equal=True)

    def _touch_late(self, collection: str, now: float) -> None:
        late = self._random.uniform(0.1, LATEST)
        self._dataset.touch(collection, self._some(collection, FEW), now, equal=True, late=late)

    def _insert(self, collection: str, now: float) -> None:
        self._dataset.insert(collection, self._random.randint(1, FEW), now, equal=self._random.random() < 0.5)  # noqa: PLR2004 - a coin

    def _insert_late(self, collection: str, now: float) -> None:
        count, late = self._random.randint(1, FEW), self._random.uniform(0.1, LATEST)
        self._dataset.insert(collection, count, now, late=late)

    def _delete(self, collection: str, now: float) -> None:
        self._dataset.delete(collection, self._some(collection, FEW // 4), now)

    def _merge(self, _collection: str, now: float) -> None:
        pair = self._dataset.pick("contacts", 2)
        if len(pair) == 2:  # noqa: PLR2004 - a merge takes two
            self._dataset.merge(pair[0], pair[1], now, renew=self._random.random() < 0.5)  # noqa: PLR2004 - a coin

    def _some(self, collection: str, most: int) -> list[int]:
        return self._dataset.pick(collection, self._random.randint(1, max(most, 1)))
