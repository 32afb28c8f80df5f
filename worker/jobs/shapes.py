"""What the rows of a run look like, and how that differs from before: columns that are new, columns that a whole run
came without, columns whose values are of another kind. An API changes without a word; the first to notice should not be
whoever reads the warehouse.

A kind is a family of types: 7 and 7.5 are both numbers, for JSON writes the same price either way. What is None says
nothing. Rows of one shape are looked at once, so that a million rows cost little. Pure.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS: dict[type, str] = {
    bool: "boolean",
    int: "number",
    float: "number",
    Decimal: "number",
    str: "text",
    bytes: "bytes",
    datetime: "time",
    list: "nested",
    dict: "nested",
}
#: Shapes remembered before they are summed up: rows with many empty fields have many.
_MOST_SHAPES = 1000
#: Rows of a run that may be without a column by chance.
_BY_CHANCE = 20


class Shape:
    """The rows of one table in one run. Safe for threads: the streams of a run may share a table."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.rows = 0
        self._seen: set[tuple[tuple[str, ...], tuple[type, ...]]] = set()
        self._columns: dict[str, set[str]] = {}

    def note(self, row: Mapping[str, Any]) -> None:
        """Look at one plain row."""
        seen = (tuple(row), tuple(map(type, row.values())))
        with self._lock:
            self.rows += 1
            self._seen.add(seen)
            if len(self._seen) > _MOST_SHAPES:
                self._sum_up()

    @property
    def columns(self) -> dict[str, set[str]]:
        """Name -> the kinds of its values; none where all were None."""
        with self._lock:
            self._sum_up()
            return self._columns

    def _sum_up(self) -> None:
        for names, types in self._seen:
            for name, kind in zip(names, types, strict=True):
                kinds = self._columns.setdefault(name, set())
                if kind in _KINDS:
                    kinds.add(_KINDS[kind])
        self._seen.clear()


@dataclass(frozen=True)
class Drift:
    """How a table differs from before."""

    #: What is known of the columns from now on; see `TableProfileRow`.
    columns: dict[str, dict[str, Any]]
    #: One sentence each.
    sentences: tuple[str, ...] = ()
    #: Those among them that tell of another kind.
    changes: tuple[str, ...] = field(default=())


def drift(table: str, known: Mapping[str, Mapping[str, Any]], shape: Shape, *, whole: bool) -> Drift:
    """Compare a run's rows with what is known; the first run makes the norm. `whole`: the run has succeeded."""
    columns = {name: dict(facts) for name, facts in known.items()}
    sentences, changes = [], []
    for name, kinds in shape.columns.items():
        before = columns.get(name)
        if before is None:
            columns[name] = {"kinds": sorted(kinds)}
            if known:
                sentences.append(f"{table}.{name} is new: {' or '.join(sorted(kinds)) or 'empty so far'}")
            continue
        if before.pop("gone", False):
            sentences.append(f"{table}.{name} is back")
        fresh = sorted(kinds - set(before["kinds"]))
        if fresh and before["kinds"]:
            changes.append(f"{table}.{name} was {' or '.join(before['kinds'])}, and now holds {' or '.join(fresh)}")
        before["kinds"] = sorted({*before["kinds"], *kinds})
    if whole and shape.rows >= _BY_CHANCE:
        for name in sorted(columns.keys() - shape.columns.keys()):
            if not columns[name].get("gone"):
                columns[name]["gone"] = True
                sentences.append(f"{table}.{name} is gone: none of {shape.rows} rows has it")
    return Drift(columns, (*sentences, *changes), tuple(changes))
