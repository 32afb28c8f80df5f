"""One table's files of lines: where the committed part ends, and how the next rows are put behind it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError
from worker.jobs.sinks.durable import sync_folder
from worker.jobs.sinks.values import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Place:
    """How far a table's newest file counts."""

    #: Number of the newest file; 0 before the first.
    segment: int = 0
    #: Committed bytes of it.
    bytes: int = 0


def append(stem: Path, place: Place, rows: Iterable[Mapping[str, Any]], segment_bytes: int) -> tuple[Place, int]:
    """Write rows behind `place`, durable on return; answers the new place and the number of rows.

    What stands behind `place` is cut off first. The caller holds the stream's lock and commits the place afterwards.
    On an error the files are left as they were, as far as the error allows.
    """
    place = _next_segment(stem, place, segment_bytes)
    _drop_later(stem, place.segment)
    path = _path(stem, place.segment)
    try:
        end, count = _write(path, place.bytes, rows)
    except BaseException:
        with contextlib.suppress(OSError):
            os.truncate(path, place.bytes)
        raise
    sync_folder(path.parent)
    return Place(place.segment, end), count


def trim(folder: Path, places: Mapping[str, Place]) -> None:
    """Cut off what an interrupted run has left behind the committed places; `places` by the files' common stem."""
    for path in folder.glob("*.jsonl"):
        stem, _, digits = path.stem.rpartition("-")
        if not (stem and digits.isascii() and digits.isdigit()):
            continue
        place = places.get(stem, Place())
        if int(digits) > place.segment:
            path.unlink()
        elif int(digits) == place.segment and path.stat().st_size > place.bytes:
            os.truncate(path, place.bytes)


def _write(path: Path, start: int, rows: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Put the rows at byte `start`, synced; answers where they end and how many they are."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    count = 0
    with open(descriptor, "wb", buffering=2**18) as file:  # noqa: PTH123 - it is open already
        os.ftruncate(descriptor, start)
        file.seek(start)
        for row in rows:
            file.write(to_json(row).encode() + b"\n")
            count += 1
        file.flush()
        os.fsync(descriptor)
        return file.tell(), count


def _next_segment(stem: Path, place: Place, segment_bytes: int) -> Place:
    """The file to write to. A full one is followed by the next, and so is one that somebody has moved away."""
    if place.segment == 0 or place.bytes >= segment_bytes:
        return Place(place.segment + 1)
    path = _path(stem, place.segment)
    if not path.exists():
        return Place(place.segment + 1)
    size = path.stat().st_size
    if size < place.bytes:
        raise WorkerError(
            f"{path} has {size} bytes, but {place.bytes} were committed: something has cut it short",
            hint="restore it, or move it away: the next run then begins a new file",
        )
    return place


def _drop_later(stem: Path, segment: int) -> None:
    """Remove what an interrupted write has begun behind the newest committed file."""
    later = _path(stem, segment + 1)
    if later.exists():
        later.unlink()


def _path(stem: Path, segment: int) -> Path:
    return stem.with_name(f"{stem.name}-{segment:06d}.jsonl")
