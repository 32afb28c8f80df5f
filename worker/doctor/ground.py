"""The disk under everything that is written: room, kind of file system, what else lies there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from worker.doctor.diagnosis import Diagnosis, Level
from worker.store.ground import remarks, sqlite_version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.doctor.examination import Parts

#: Remarks about the ground on which grants get lost.
_UNFIT = frozenset({"network"})
#: Bytes and files below which a commit may fail any moment, and bytes below which somebody should look.
_TOO_LITTLE, _LITTLE, _FEW_FILES = 32 << 20, 512 << 20, 1000


def examine(parts: Parts) -> Iterator[Diagnosis]:
    """Every folder that is written to."""
    config = parts.config
    places = [parts.state_folder, *(sink.path for sink in config.sinks.values() if sink.path)]
    if config.store.sqlite_path is not None:
        places.append(config.store.sqlite_path)
    for folder in sorted({_standing(place) for place in places}):
        yield from of_room(folder)
    yield Diagnosis("disk", Level.OK, f"SQLite {sqlite_version()}")
    told = {remark.message: remark for place in places for remark in remarks(place)}
    for remark in told.values():
        yield Diagnosis("disk", Level.FAULT if remark.kind in _UNFIT else Level.NOTE, remark.message, remark.hint)


def _standing(path: Path) -> Path:
    """The nearest folder that exists already."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def of_room(folder: Path) -> Iterator[Diagnosis]:
    """Whether a folder can be written, and how much fits."""
    status = os.statvfs(folder)
    # Nobody but root may use the last blocks; some file systems do not count files.
    free, files = status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None
    if status.f_flag & os.ST_RDONLY:
        yield Diagnosis("disk", Level.FAULT, f"{folder} is on a read-only file system", "mount it for writing")
    elif free < _TOO_LITTLE or (files is not None and files < _FEW_FILES):
        left = f"{free >> 10} KiB" if free < _TOO_LITTLE else f"{files} files"
        yield Diagnosis("disk", Level.LATER, f"{folder} has room for {left} only", "free some space")
    else:
        level = Level.NOTE if free < _LITTLE else Level.OK
        yield Diagnosis("disk", level, f"{folder} has {free >> 20} MiB left")
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Diagnosis("disk", Level.FAULT, f"{folder} may not be written by user {os.geteuid()}", f"chown {folder}")
