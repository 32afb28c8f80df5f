"""One table's files of lines: where the committed part ends, how the next rows are put behind it, when a file is done.

A file that has reached the limit is finished: it is never opened for writing again, and the next number begins. That
happens in the middle of a checkpoint, too; the caller's commit then covers several files at once.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError
from worker.jobs.sinks.durable import sync_folder
from worker.jobs.sinks.values import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

#: A size that tools open at once and that holds some hundred thousand rows.
ROTATE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Rotation:
    """When a file is finished: at so many bytes, or so many seconds after its first row (None: however old)."""

    bytes: int = ROTATE_BYTES
    seconds: float | None = None

    def due(self, place: Place, now: float) -> bool:
        """Whether the newest file is to be finished; `now` in Unix seconds."""
        old = self.seconds is not None and now - place.begun >= self.seconds
        return place.bytes > 0 and (old or place.bytes >= self.bytes)


@dataclass(frozen=True)
class Place:
    """How far a table's newest file counts."""

    #: Number of the newest file, which may not be there before its first row; 0 before the first.
    segment: int = 0
    #: Committed bytes of it, and rows in them.
    bytes: int = 0
    rows: int = 0
    #: When its first row was written, in Unix seconds.
    begun: float = 0.0

    def following(self) -> Place:
        """The beginning of the next file."""
        return Place(self.segment + 1)


@dataclass(frozen=True)
class Appended:
    """What became of a write."""

    place: Place
    rows: int
    #: Files that were finished by it, each as it stands for good.
    finished: tuple[Place, ...]


def append(stem: Path, place: Place, rows: Iterable[Mapping[str, Any]], rotation: Rotation, now: float) -> Appended:
    """Write rows behind `place`, durable on return.

    What stands behind `place` is cut off first. The caller holds the stream's lock and commits the place afterwards.
    On an error the files are left as they were, as far as the error allows.
    """
    finished = []
    if rotation.due(place, now):
        finished.append(place)
        place = place.following()
    start = place = _present(stem, place)
    _drop_later(stem, place.segment)
    count = 0
    lines = (to_json(row).encode() + b"\n" for row in rows)
    try:
        for line in lines:
            before = place.rows
            place = _fill(_path(stem, place.segment), place, itertools.chain([line], lines), rotation.bytes, now)
            count += place.rows - before
            if rotation.due(place, now):
                finished.append(place)
                place = place.following()
    except BaseException:
        with contextlib.suppress(OSError):
            _drop_later(stem, start.segment)
            os.truncate(_path(stem, start.segment), start.bytes)
        raise
    sync_folder(stem.parent)
    return Appended(place, count, tuple(finished))


def trim(folder: Path, places: Mapping[str, Place]) -> None:
    """Cut off what an interrupted run has left behind the committed places; `places` by the files' common stem."""
    for path in folder.glob("*.jsonl"):
        stem, _, digits = path.stem.rpartition("-")
        if not (stem and digits.isascii() and digits.isdigit()):
            continue
        place = places.get(stem, Place())
        if int(digits) > place.segment or (int(digits) == place.segment and place.bytes == 0):
            path.unlink()
        elif int(digits) == place.segment and path.stat().st_size > place.bytes:
            os.truncate(path, place.bytes)


def file_name(stem: str, segment: int) -> str:
    """The name of one of a table's files."""
    return f"{stem}-{segment:06d}.jsonl"


def _fill(path: Path, place: Place, lines: Iterator[bytes], limit: int, now: float) -> Place:
    """Put lines behind `place` until there are no more or the file has `limit` bytes; synced on return."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    size, rows = place.bytes, place.rows
    with open(descriptor, "wb", buffering=2**18) as file:  # noqa: PTH123 - it is open already
        os.ftruncate(descriptor, size)
        file.seek(size)
        for line in lines:
            file.write(line)
            size, rows = size + len(line), rows + 1
            if size >= limit:
                break
        file.flush()
        os.fsync(descriptor)
    return Place(place.segment, size, rows, place.begun if place.bytes else now)


def _present(stem: Path, place: Place) -> Place:
    """The place to write at; the next file when somebody has moved the newest away."""
    if place.segment == 0:
        return place.following()
    path = _path(stem, place.segment)
    if place.bytes == 0:
        return place
    if not path.exists():
        return place.following()
    size = path.stat().st_size
    if size < place.bytes:
        raise WorkerError(
            f"{path} has {size} bytes, but {place.bytes} were committed: something has cut it short",
            hint="restore it, or move it away: the next run then begins a new file",
        )
    return place


def _drop_later(stem: Path, segment: int) -> None:
    """Remove what an interrupted write has begun behind the newest committed file."""
    for number in itertools.count(segment + 1):
        try:
            _path(stem, number).unlink()
        except FileNotFoundError:
            return


def _path(stem: Path, segment: int) -> Path:
    return stem.with_name(file_name(stem.name, segment))
