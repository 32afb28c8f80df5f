"""Lines of JSON in files, for whatever reads such files. Exactly once, without a database.

    PATH/INTEGRATION/ACCOUNT/JOB/registrations-000001.jsonl
    PATH/INTEGRATION/ACCOUNT/JOB/cursor.json

Rows are appended and synced first; then `cursor.json` is replaced in one step, and it records, beside the cursor and
the fence, how far each table's newest file counts. What stands behind that length was never committed and is cut off
before the next row is written. A file that has reached the limit is closed for good and the next number begins.

The stream is held by a lock on `.lock`, which dies with its holder. With a key a row appears once for each change, the
latest last: a file of lines cannot take a line back.
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
from worker.jobs.sinks.jsonl_segments import Place, append, trim

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from worker.clock import Clock
    from worker.jobs.sinks import Stream, TableBatch

#: Bytes after which a file is closed: a size that tools open at once and that holds some hundred thousand rows.
SEGMENT_BYTES = 64 * 2**20
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


class JsonlSink:
    """A folder of JSON lines. Holds nothing open between calls."""

    def __init__(self, path: Path, clock: Clock, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        #: Absolute path of the folder.
        self.path = path
        self._clock = clock
        self.segment_bytes = segment_bytes

    def open(self, stream: Stream, fence: int) -> JsonlSession:
        """See Sink."""
        folder = self.folder(stream)
        with held(folder):
            record = self.read(folder)
            if record.fence > fence:
                raise FenceLost(evidence={"stream": str(stream), "fence": fence, "newer": record.fence})
            record.fence = fence
            trim(folder, {_file_name(table): place for table, place in record.tables.items()})
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
            record = self.read(folder)
            record.cursor, record.resets = {}, record.resets + 1
            self.save(folder, record)

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
            return _Record(found["cursor"], found["fence"], found["resets"], tables)
        except (KeyError, TypeError, AttributeError):
            raise WorkerError(f"{path} was not written by this program", hint="restore it, or move it away") from None

    def save(self, folder: Path, record: _Record) -> None:
        """Put the record in place: this is the commit."""
        content = asdict(record) | {"updated_at": rfc3339(self._clock.now())}
        replace_file(folder / "cursor.json", to_text(content).encode())


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
        rows = 0
        with held(self._folder):
            record = self._sink.read(self._folder)
            if (record.fence, record.resets) != (self._fence, self._resets):
                raise FenceLost(evidence={"stream": str(self._stream), "fence": self._fence})
            for table, batch in batches.items():
                before = record.tables.get(table, Place())
                stem = self._folder / _file_name(table)
                place, count = append(stem, before, self._lines(table, batch), self._sink.segment_bytes)
                record.tables[table] = place
                rows += count
            if cursor is not None:
                record.cursor = json.loads(to_text(cursor))
            self._sink.save(self._folder, record)
        return rows

    def close(self) -> None:
        """See SinkSession. Nothing is open between calls."""

    def _lines(self, table: str, batch: TableBatch) -> Iterator[dict[str, Any]]:
        owner = {"_integration": self._stream.integration, "_account": self._stream.account}
        for row in batch.rows:
            missing = [name for name in batch.key if row.get(name) is None]
            if missing:
                raise WorkerError(f"a row for {table} has no {missing[0]!r}, which is its key")
            yield {**owner, **row, **owner}


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
