"""Deletions by difference in files of lines: a line with the key and `_deleted_at` says that a row is gone.

All of it is written behind what counts, and counts with the caller's commit of the record.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.jobs.brake import Gone
from worker.jobs.listing import Swept
from worker.jobs.sinks.jsonl_keys import Known, append_keys, difference, read_keys
from worker.jobs.sinks.jsonl_segments import file_name
from worker.jobs.sinks.keys import check_names
from worker.jobs.sinks.sideways import DELETED, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from worker.jobs.listing import Sweep
    from worker.jobs.sinks import TableBatch
    from worker.jobs.sinks.jsonl_keys import Difference, Key
    from worker.jobs.sinks.jsonl_segments import Place

    #: Puts lines behind the table's others.
    Write = Callable[[Iterable[Mapping[str, Any]]], object]


@dataclass(frozen=True)
class Ledger:
    """The keys of one table, for whoever holds the stream's lock."""

    #: The common beginning of the table's files.
    stem: Path
    table: str
    #: RFC 3339.
    now: str
    write: Write

    def deliver(self, known: Known, batch: TableBatch) -> Known:
        """These rows were written. Raises WorkerError when their key is another than the table's."""
        self._check(batch.key, known)
        keys = (tuple(row.get(name) for name in batch.key) for row in batch.rows)
        return replace(known, bytes=append_keys(known.keys(self.stem), known.bytes, keys))

    def sweep(self, known: Known | None, sweep: Sweep, place: Place) -> tuple[Known | None, Swept]:
        """Do what the listing says, or hold it; answers what is known from now on. `place`: where the lines end."""
        if known is None:
            if not sweep.key:
                return None, Swept(self.table, Gone(0, 0, 0))
            known = Known(list(sweep.key), 1)
            known.bytes = append_keys(known.keys(self.stem), 0, self._from_lines(known.key, place))
        with difference() as found:
            swept = self._compare(found, known, sweep)
            if swept.objection:
                held = replace(known, change=sweep.change, since=known.bytes, applied=None)
                held.held = append_keys(held.holding(self.stem), 0, found.gone())
                return held, swept
            return self._carried_out(found, known), swept

    def look(self, known: Known | None, sweep: Sweep, place: Place) -> Swept:
        """What the listing says."""
        with difference() as found:
            if known is not None:
                return self._compare(found, known, sweep)
            found.know(self._from_lines(list(sweep.key), place))
            found.see(sweep)
            return found.compare(self.table, sweep)

    def settle(self, known: Known, *, approve: bool) -> tuple[Known, int]:
        """Take away what is held, but for what came back since, or drop it; answers how many are gone."""
        if not approve:
            return replace(known, held=0, applied=0), 0
        path = known.keys(self.stem)
        with difference() as found:
            found.know(read_keys(path, 0, known.bytes))
            found.keep(read_keys(known.holding(self.stem), 0, known.held))
            found.see(read_keys(path, known.since, known.bytes))
            applied = found.count_gone()
            following = self._carried_out(found, known)
        return replace(following, change=known.change, applied=applied), applied

    def _carried_out(self, found: Difference, known: Known) -> Known:
        self.write(self._marks(known, found.gone()))
        following = Known(known.key, known.number + 1)
        following.bytes = append_keys(following.keys(self.stem), 0, found.left())
        return following

    def _compare(self, found: Difference, known: Known, sweep: Sweep) -> Swept:
        self._check(sweep.key, known)
        found.know(read_keys(known.keys(self.stem), 0, known.bytes))
        found.see(sweep)
        return found.compare(self.table, sweep)

    def _check(self, given: Iterable[str], known: Known) -> None:
        check_names(_folded(given), _folded(known.key), self.table)

    def _marks(self, known: Known, keys: Iterator[Key]) -> Iterator[dict[str, Any]]:
        for key in keys:
            yield {**dict(zip(known.key, key, strict=True)), DELETED: self.now}

    def _from_lines(self, key: list[str], place: Place) -> Iterator[Key]:
        """The keys of what was written before the first listing, as far as the files are still there."""
        for number in range(1, place.segment + 1):
            path = self.stem.with_name(file_name(self.stem.name, number))
            end = place.bytes if number == place.segment else None
            for row in _lines(path, end):
                values = tuple(row.get(name) for name in key)
                if None not in values:
                    yield values


def _lines(path: Path, end: int | None) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        while (end is None or file.tell() < end) and (line := file.readline()):
            yield json.loads(line)


def _folded(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(fold(name) for name in names)
