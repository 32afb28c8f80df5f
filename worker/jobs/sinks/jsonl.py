"""Lines of JSON in files, for whatever reads such files. Exactly once, without a database.

    PATH/INTEGRATION/ACCOUNT/JOB/registrations-000001.jsonl
    PATH/INTEGRATION/ACCOUNT/JOB/cursor.json
    PATH/INTEGRATION/ACCOUNT/JOB/manifest.ndjson

Rows are appended and synced first; then `cursor.json` is replaced in one step, and it records, beside the cursor and
the fence, how far each table's newest file counts. What stands behind that length was never committed and is cut off
before the next row is written. A file that is large or old enough is finished for good, the next number begins, and the
manifest says so.

The stream is held by a lock on `.lock`, which dies with its holder. With a key a row appears once for each change, the
latest last: a file of lines cannot take a line back, and a row that is gone gets a line that says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from worker.clock import rfc3339
from worker.errors import Busy, FenceLost, WorkerError
from worker.jobs.cursor import from_text, to_text
from worker.jobs.sinks.durable import make_file, named_faults, replace_file
from worker.jobs.sinks.jsonl_keys import Known, drop_others
from worker.jobs.sinks.jsonl_manifest import settle
from worker.jobs.sinks.jsonl_segments import Place, Rotation, append, file_name, trim
from worker.jobs.sinks.jsonl_sweeps import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from worker.clock import Clock
    from worker.jobs.listing import Sweep, Swept
    from worker.jobs.sinks import Stream, TableBatch

#: Seconds to wait for another process on the same stream, and between two looks.
_LOCK_TIMEOUT, _LOCK_PAUSE = 60.0, 0.02


@dataclass
class _Record:
    """What `cursor.json` holds."""

    cursor: dict[str, Any] = field(default_factory=dict)
    fence: int = 0
    resets: int = 0
    #: The newest file of each table, and how many of its bytes count.
    tables: dict[str, Place] = field(default_factory=dict)
    #: The manifest's newest lines: the files that were finished last, and the byte where they begin.
    finished: list[dict[str, Any]] = field(default_factory=list)
    manifest: int = 0
    #: The keys of each table that has been listed.
    known: dict[str, Known] = field(default_factory=dict)

    def finish(self, table: str, place: Place, now: float) -> None:
        """Note that a file is finished."""
        times = {"begun_at": rfc3339(place.begun), "finished_at": rfc3339(now)}
        name = file_name(_file_name(table), place.segment)
        self.finished.append({"table": table, "file": name, "rows": place.rows, "bytes": place.bytes, **times})

    def files(self, folder: Path) -> set[Path]:
        """The files of keys that count."""
        stems = {table: folder / _file_name(table) for table in self.known}
        held = {known.holding(stems[table]) for table, known in self.known.items() if known.change}
        return held | {known.keys(stems[table]) for table, known in self.known.items()}


class JsonlSink:
    """A folder of JSON lines. Holds nothing open between calls."""

    def __init__(self, path: Path, clock: Clock, rotation: Rotation | None = None) -> None:
        #: Absolute path of the folder.
        self.path = path
        self.clock = clock
        self.rotation = rotation or Rotation()

    def open(self, stream: Stream, fence: int) -> JsonlSession:
        """See Sink."""
        folder = self.folder(stream)
        with held(folder):
            record = self.settled(folder)
            if record.fence > fence:
                raise FenceLost(evidence={"stream": str(stream), "fence": fence, "newer": record.fence})
            record.fence = fence
            trim(folder, {_file_name(table): place for table, place in record.tables.items()})
            drop_others(folder, record.files(folder))
            now = self.clock.now()
            for table, place in record.tables.items():
                if self.rotation.due(place, now):
                    record.finish(table, place, now)
                    record.tables[table] = place.following()
            self.save(folder, record)
        return JsonlSession(self, stream, record)

    def read_cursor(self, stream: Stream) -> dict[str, Any]:
        """See Sink."""
        return self.read(self.folder(stream)).cursor

    def reset(self, stream: Stream) -> None:
        """See Sink."""
        folder = self.folder(stream)
        if not folder.is_dir():
            return
        with held(folder):
            record = self.settled(folder)
            record.cursor, record.resets = {}, record.resets + 1
            self.save(folder, record)

    def settle(self, change: str, stream: Stream, table: str, *, approve: bool) -> int | None:
        """See Sweeping."""
        folder = self.folder(stream)
        if not folder.is_dir():
            return None
        with held(folder):
            record = self.settled(folder)
            known = record.known.get(table)
            if known is None or known.change != change:
                return None
            if known.applied is not None:
                return known.applied
            writer = Writer(self, stream, record)
            record.known[table], applied = writer.ledger(table).settle(known, approve=approve)
            self.save(folder, record)
        return applied

    def preview(self, stream: Stream, table: str, sweep: Sweep) -> Swept | None:
        """See Sweeping."""
        folder = self.folder(stream)
        if not folder.is_dir():
            return None
        with held(folder):
            record = self.read(folder)
            ledger = Writer(self, stream, record).ledger(table)
            return ledger.look(record.known.get(table), sweep, record.tables.get(table, Place()))

    def folder(self, stream: Stream) -> Path:
        """Where a stream's files are. Names are percent-encoded, and none can leave the folder."""
        return self.path.joinpath(*(_file_name(name) for name in (stream.integration, stream.account, stream.job)))

    def read(self, folder: Path) -> _Record:
        """The stream's record; an empty one when there is none."""
        path = folder / "cursor.json"
        with named_faults(path):
            try:
                text = path.read_text("utf-8")
            except (FileNotFoundError, NotADirectoryError):
                return _Record()
        found = from_text(text, str(path))
        try:
            tables = {table: Place(**place) for table, place in found["tables"].items()}
            record = _Record(found["cursor"], found["fence"], found["resets"], tables)
            record.finished, record.manifest = found.get("finished", []), found.get("manifest", 0)
            record.known = {table: Known(**known) for table, known in found.get("known", {}).items()}
            return record
        except (KeyError, TypeError, AttributeError):
            raise WorkerError(f"{path} was not written by this program", hint="restore it, or move it away") from None

    def settled(self, folder: Path) -> _Record:
        """The stream's record, to be changed and saved, once the manifest has what is committed."""
        record = self.read(folder)
        record.finished, record.manifest = [], settle(folder, record.manifest, record.finished)
        return record

    def save(self, folder: Path, record: _Record) -> None:
        """Put the record in place: this is the commit. Then the manifest says what was finished by it."""
        content = asdict(record) | {"updated_at": rfc3339(self.clock.now())}
        replace_file(folder / "cursor.json", to_text(content).encode())
        settle(folder, record.manifest, record.finished)


class JsonlSession:
    """One run's way into a stream's files. See SinkSession."""

    def __init__(self, sink: JsonlSink, stream: Stream, record: _Record) -> None:
        self._sink = sink
        self._stream = stream
        self._folder = sink.folder(stream)
        self._fence, self._resets = record.fence, record.resets
        self._cursor = record.cursor

    @property
    def cursor(self) -> dict[str, Any]:
        """See SinkSession."""
        return dict(self._cursor)

    def write(self, batches: Mapping[str, TableBatch], cursor: Mapping[str, Any] | None) -> int:
        """See SinkSession."""
        with held(self._folder):
            record = self._sink.settled(self._folder)
            if (record.fence, record.resets) != (self._fence, self._resets):
                raise FenceLost(evidence={"stream": str(self._stream), "fence": self._fence})
            writer = Writer(self._sink, self._stream, record)
            rows = sum(writer.take(table, batch) for table, batch in batches.items())
            if cursor is not None:
                record.cursor = json.loads(to_text(cursor))
            self._sink.save(self._folder, record)
        return rows

    def close(self) -> None:
        """See SinkSession. Nothing is open between calls."""


class Writer:
    """One write: puts lines behind what counts, and notes in the record how far they would count."""

    def __init__(self, sink: JsonlSink, stream: Stream, record: _Record) -> None:
        self._sink = sink
        self._folder = sink.folder(stream)
        self._owner = {"_integration": stream.integration, "_account": stream.account}
        self._record = record
        self._now = sink.clock.now()

    def take(self, table: str, batch: TableBatch) -> int:
        """The rows of a batch, and its sweep; answers the number of rows."""
        known, rows = self._record.known.get(table), 0
        ledger = self.ledger(table)
        if batch.rows:
            rows = self._append(table, _whole(table, batch))
            if known is not None and batch.key:
                self._record.known[table] = known = ledger.deliver(known, batch)
        if batch.sweep is not None:
            place = self._record.tables.get(table, Place())
            known, batch.sweep.outcome = ledger.sweep(known, batch.sweep, place)
            if known is not None:
                self._record.known[table] = known
        return rows

    def ledger(self, table: str) -> Ledger:
        """The keys of a table."""
        stem = self._folder / _file_name(table)
        return Ledger(stem, table, rfc3339(self._now) or "", lambda lines: self._append(table, lines))

    def _append(self, table: str, rows: Iterable[Mapping[str, Any]]) -> int:
        before = self._record.tables.get(table, Place())
        owned = ({**self._owner, **row, **self._owner} for row in rows)
        done = append(self._folder / _file_name(table), before, owned, self._sink.rotation, self._now)
        self._record.tables[table] = done.place
        for place in done.finished:
            self._record.finish(table, place, self._now)
        return done.rows


def _whole(table: str, batch: TableBatch) -> Iterator[Mapping[str, Any]]:
    for row in batch.rows:
        missing = [name for name in batch.key if row.get(name) is None]
        if missing:
            raise WorkerError(f"a row for {table} has no {missing[0]!r}, which is its key")
        yield row


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be alone with a stream's files, across threads and processes. Raises Busy when that takes too long."""
    path = folder / ".lock"
    with named_faults(folder):
        make_file(path)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            _lock(descriptor, folder)
            yield
        finally:
            os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    until = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise Busy(f"{folder} is held by another process") from None
            time.sleep(_LOCK_PAUSE)
        else:
            return


def _file_name(name: str) -> str:
    """A name as one path segment: `.` and `..` cannot come out, and different names stay different."""
    text = quote(name, safe="@+= ")
    return "%2E" + text[1:] if text.startswith(".") else text or "%"
