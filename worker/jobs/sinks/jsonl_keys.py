"""Which rows there are, as far as lines tell of them: a file of lines cannot be asked.

    TABLE-000002.keys       one key for each line, the newest last; only for tables that have been listed
    TABLE-CHANGE.held       keys that a listing did not name, while somebody has to approve

From a table's first complete listing on, the keys of its rows are written here, too, as long as they count in
`cursor.json`, like the lines themselves. Each listing that is carried out begins a new file with the keys that are
left. The difference is computed by a temporary database on the disk, so that memory stays flat.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from worker.jobs.brake import Gone
from worker.jobs.listing import SAMPLE, Swept
from worker.jobs.sinks.durable import sync_folder
from worker.jobs.sinks.sideways import CHUNK
from worker.jobs.sinks.values import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from worker.jobs.listing import Sweep

    Key = tuple[Any, ...]


#: Types that a file of keys gives back as they were.
_SAME = {int, str}
#: KiB of the temporary database that are kept in memory.
_CACHE = 16384


@dataclass
class Known:
    """The keys of one table, as `cursor.json` holds it."""

    key: list[str] = field(default_factory=list)
    #: Number of the file of keys, and how many of its bytes count.
    number: int = 0
    bytes: int = 0
    #: What is held, with how many bytes of keys, and how long the file of keys was then: what came later came back.
    change: str = ""
    held: int = 0
    since: int = 0
    #: How many rows were taken away when `change` was approved; None: it is held.
    applied: int | None = None

    def keys(self, stem: Path) -> Path:
        """The file of keys."""
        return stem.with_name(f"{stem.name}-{self.number:06d}.keys")

    def holding(self, stem: Path) -> Path:
        """The file of held keys."""
        return stem.with_name(f"{stem.name}-{self.change}.held")


def append_keys(path: Path, length: int, keys: Iterable[Iterable[Any]]) -> int:
    """Put keys behind the first `length` bytes of a file; answers its length. Durable on return."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb", buffering=2**18) as file:  # noqa: PTH123 - it is open already
        os.ftruncate(descriptor, length)
        file.seek(length)
        for key in keys:
            length += file.write(to_json(list(key)).encode() + b"\n")
        file.flush()
        os.fsync(descriptor)
    sync_folder(path.parent)
    return length


def read_keys(path: Path, begin: int, end: int) -> Iterator[Key]:
    """The keys between two places of a file; none where somebody has taken it away."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(begin)
        while file.tell() < end and (line := file.readline()):
            yield tuple(json.loads(line))


def drop_others(folder: Path, counting: set[Path]) -> None:
    """Remove the files of keys that do not count (any more)."""
    for path in (*folder.glob("*.keys"), *folder.glob("*.held")):
        if path not in counting:
            path.unlink()


class Difference:
    """What is known, less what was seen."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def know(self, keys: Iterable[Key]) -> None:
        """These rows are there."""
        self._put("known", ((_name(key), to_json(list(key))) for key in keys))

    def see(self, keys: Iterable[Sequence[Any]]) -> None:
        """These exist at the source."""
        self._put("seen", ((_name(_as_read(key)), "") for key in keys))

    def keep(self, held: Iterable[Key]) -> None:
        """All that is known was seen, but for these."""
        self._connection.execute("CREATE TABLE held (name TEXT NOT NULL PRIMARY KEY, key TEXT NOT NULL)")
        self._put("held", ((_name(key), "") for key in held))
        self._connection.execute(
            "INSERT INTO seen SELECT name, '' FROM known WHERE name NOT IN (SELECT name FROM held)"
        )

    def compare(self, table: str, sweep: Sweep) -> Swept:
        """What a sweep says, whose keys were seen."""
        sample = tuple(", ".join(map(str, key)) for key in islice(self.gone(), SAMPLE))
        numbers = Gone(self.count_gone(), self._count("known"), self._count("seen"))
        objection = sweep.brake.objection(table, numbers)
        return Swept(table, numbers, sample, objection, sweep.change if objection else "")

    def gone(self) -> Iterator[Key]:
        """Known and not seen."""
        return self._keys("WHERE name NOT IN (SELECT name FROM seen)")

    def left(self) -> Iterator[Key]:
        """Known and seen."""
        return self._keys("WHERE name IN (SELECT name FROM seen)")

    def count_gone(self) -> int:
        """How many are known and not seen."""
        return self._count("known WHERE name NOT IN (SELECT name FROM seen)")

    def _count(self, what: str) -> int:
        ((number,),) = self._connection.execute(f"SELECT count(*) FROM {what}")  # noqa: S608 - constants
        return int(number)

    def _keys(self, which: str) -> Iterator[Key]:
        for (key,) in self._connection.execute(f"SELECT key FROM known {which} ORDER BY rowid"):  # noqa: S608
            yield tuple(json.loads(key))

    def _put(self, table: str, rows: Iterator[tuple[str, str]]) -> None:
        while chunk := list(islice(rows, CHUNK)):
            self._connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", chunk)  # noqa: S608


def _name(key: Sequence[Any]) -> str:
    """One text for a key as it is read from a file, however its parts are typed."""
    return str(key[0]) if len(key) == 1 else to_json([str(part) for part in key])


def _as_read(key: Sequence[Any]) -> Sequence[Any]:
    """A key of a job as it would be read from a file."""
    return key if {type(part) for part in key} <= _SAME else json.loads(to_json(list(key)))


@contextmanager
def difference() -> Iterator[Difference]:
    """An empty one; its database is a temporary file without a name (sqlite.org/inmemorydb.html)."""
    with closing(sqlite3.connect("", isolation_level=None)) as connection:
        # Nobody needs it back after a fault. The cache is what memory grows by: keys come in no order.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        for table in ("known", "seen"):
            connection.execute(f"CREATE TABLE {table} (name TEXT NOT NULL PRIMARY KEY, key TEXT NOT NULL)")
        connection.execute("BEGIN")
        yield Difference(connection)
