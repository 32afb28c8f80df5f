"""`manifest.ndjson`: one line for each finished file, for whoever ships them. A file named here never changes again.

A line must not be there before the commit that covers its file, and must not be missing after it. So the commit itself
(`cursor.json`) holds the newest lines and where they begin, and they are put in place afterwards; whoever opens the
stream next puts them there if the process that committed did not live to do it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from worker.jobs.cursor import to_text
from worker.jobs.sinks.durable import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MANIFEST = "manifest.ndjson"


def settle(folder: Path, start: int, entries: Iterable[Mapping[str, Any]]) -> int:
    """Have `entries` stand at byte `start`, and nothing behind them; answers where they end. Durable on return.

    Where somebody has taken the manifest away, a new one begins.
    """
    path = folder / MANIFEST
    lines = b"".join(to_text(entry).encode() + b"\n" for entry in entries)
    if not lines:
        return min(start, path.stat().st_size) if path.exists() else 0
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "r+b") as file:  # noqa: PTH123 - it is open already
        size = os.fstat(descriptor).st_size
        if size == start + len(lines):
            return size
        start = min(start, size)
        os.ftruncate(descriptor, start)
        file.seek(start)
        file.write(lines)
        file.flush()
        os.fsync(descriptor)
    sync_folder(folder)
    return start + len(lines)
