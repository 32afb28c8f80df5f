"""Keys as a job has seen them, brought to the kind that the table's column has: an API may spell an id `12` where the
rows that were emitted before had the number 12. A key that the column cannot hold names no row.
"""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from worker.errors import WorkerError
from worker.jobs.sinks.sideways import CHUNK, key_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}")
KindT = TypeVar("KindT")


class KeyFitter(Generic[KindT]):
    """Keys for one table; `kind_of` and `stored` are those of the sink's columns."""

    def __init__(
        self,
        kinds: tuple[KindT, ...],
        kind_of: Callable[[Iterable[Any], KindT | None], KindT | None],
        stored: Callable[[Any, KindT], Any],
    ) -> None:
        self._kinds = kinds
        self._kind_of = kind_of
        self._stored = stored

    def fitted(self, keys: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
        """The keys as the columns hold them, in chunks, without those that no row can have."""
        remaining = iter(keys)
        while chunk := list(islice(remaining, CHUNK)):
            columns = [
                self._column(values, kind) for values, kind in zip(zip(*chunk, strict=True), self._kinds, strict=True)
            ]
            yield [key for key in zip(*columns, strict=True) if None not in key]

    def _column(self, values: tuple[Any, ...], kind: KindT) -> list[Any]:
        if self._kind_of(values, kind) == kind:
            return [self._stored(value, kind) for value in values]
        return [self._one(value, kind) for value in values]

    def _one(self, value: Any, kind: KindT) -> Any:
        spellings: list[Any] = [value]
        if _is_whole(value):
            spellings.append(int(value))
        for spelling in spellings:
            if self._kind_of([spelling], kind) == kind:
                return self._stored(spelling, kind)
        return None


def _is_whole(value: Any) -> bool:
    if isinstance(value, str):
        return _WHOLE.fullmatch(value) is not None
    return isinstance(value, float | Decimal) and value % 1 == 0


def check_names(given: tuple[str, ...], present: tuple[str, ...], table: str) -> None:
    """Raise WorkerError unless the keys that were seen are the table's; both folded. No key at all is an empty list."""
    if not present:
        raise WorkerError(
            f"the table {table!r} has no key, so nobody can tell which of its rows are gone",
            hint="emit its rows with a key, to a table with another name",
        )
    if given and given != present:
        raise WorkerError(f"the table {table!r} has the key {key_text(present)}, but {key_text(given)} were seen")
