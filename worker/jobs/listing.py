"""A full listing of a table at the source: the keys that were seen, and what the sink made of them.

The keys wait in a temporary file, a few bytes each, and go to the sink with the checkpoint after `complete`. There the
rows that are not among them are found and taken away, in the transaction that moves the cursor. A run that ends before
that leaves nothing behind: neither keys nor deletions.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.errors import RunEnded, WorkerError
from worker.jobs.sinks.sideways import value_of
from worker.jobs.sinks.values import plain_row
from worker.jobs.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from worker.jobs.brake import Brake, Gone

Key = tuple[Any, ...]
#: Keys that are shown to people.
SAMPLE = 10
#: What is said of a first listing during which another job wrote.
FIRST = "the first listing of a table that another job wrote to meanwhile: what it says counts from the next one on"


@dataclass(frozen=True)
class Swept:
    """What became of a listing: its rows are gone, or held until somebody approves."""

    table: str
    gone: Gone
    #: Some of the keys that it does not name, as text.
    sample: tuple[str, ...] = ()
    #: Why nothing was taken away; empty when it was.
    objection: str = ""
    #: Under what the keys are kept in the sink while they are held.
    change: str = ""
    #: Why the listing could not be used at all, this once; empty when it could.
    unusable: str = ""


class Listing:
    """The keys of one table that were seen in this run."""

    def __init__(self, folder: Path | None) -> None:
        #: Names of the key's fields; empty until the first key.
        self.key: tuple[str, ...] = ()
        #: Whether the job said that it has seen all of them.
        self.complete = False
        #: What kept a row or a key that the job handed over from being taken: then the listing is not whole.
        self.cut_off: BaseException | None = None
        self.keys: Spool[Key] = Spool(folder, squeezed=True)

    def add_row(self, row: Mapping[str, Any]) -> None:
        """The key of a plain row."""
        self.keys.add(tuple(value_of(row, name) for name in self.key))

    def add(self, table: str, keys: Iterable[Any]) -> None:
        """Keys as a job gives them: values, tuples of several, or whole rows. Raises WorkerError."""
        for given in keys:
            if isinstance(given, Mapping):
                values = tuple(value_of(given, name) for name in self.key)
            else:
                values = tuple(given) if isinstance(given, tuple | list) else (given,)
            if len(values) != len(self.key) or any(value is None for value in values):
                raise WorkerError(f"{given!r} is no key of {table}: it has the fields {', '.join(self.key)}")
            plain = plain_row(dict(zip(self.key, values, strict=True)), table)
            self.keys.add(tuple(plain.values()))

    def require_whole(self, table: str) -> None:
        """Raise what ended the run, or WorkerError, when something that exists at the source is not among the keys."""
        if isinstance(self.cut_off, RunEnded):
            raise self.cut_off
        if self.cut_off is not None:
            raise WorkerError(
                f"{table} is not complete: a row or a key of it was not taken ({self.cut_off})",
                hint="have the job end, or not call complete, where emit or seen has raised",
            ) from self.cut_off

    def name_key(self, table: str, key: tuple[str, ...]) -> None:
        """The key's fields. Raises WorkerError when they were others before."""
        if self.key and key != self.key:
            raise WorkerError(f"keys of {table} are ({', '.join(self.key)}), and were now given as ({', '.join(key)})")
        self.key = key


class Sweep:
    """One complete listing on its way into a sink, which fills in `outcome`."""

    def __init__(self, listing: Listing, brake: Brake) -> None:
        self.key = listing.key
        self.brake = brake
        self._keys = listing.keys
        #: Under what the keys are kept, should they be held: the same however often the write is tried.
        self.change = secrets.token_hex(6)
        #: What became of it; set when `write` returns.
        self.outcome: Swept | None = None

    def __iter__(self) -> Iterator[Key]:
        """The keys, some of them more than once; may be read again."""
        return iter(self._keys)
