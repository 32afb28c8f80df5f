"""The daemon's log as it is written: where a drill reads what the worker knows, and when it knew.

It comes through a pipe: one of the drills takes the disk away from the daemon, and with it any log file.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class DaemonLog:
    """Collects the lines of one daemon after the other; a copy goes to a file."""

    def __init__(self, copy: Path) -> None:
        self._copy = copy
        self._lock = threading.Lock()
        self._entries: list[dict[str, Any]] = []

    def follow(self, stream: IO[str]) -> None:
        """Read a daemon's output until it ends."""
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        with self._copy.open("a", encoding="utf-8") as copy:
            for line in stream:
                copy.write(line)
                copy.flush()
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    with self._lock:
                        self._entries.append(entry)

    def __len__(self) -> int:
        """How many entries there are; what `find` may start from."""
        with self._lock:
            return len(self._entries)

    def find(self, message: str, after: int, **facts: object) -> float | None:
        """When the first entry with this message and these facts was written, among those after the first `after`."""
        with self._lock:
            entries = self._entries[after:]
        for entry in entries:
            if entry.get("message") == message and all(entry.get(name) == value for name, value in facts.items()):
                return datetime.fromisoformat(str(entry["time"])).timestamp()
        return None

    def tail(self, count: int) -> list[str]:
        """The last warnings and errors, in few words."""
        with self._lock:
            entries = [entry for entry in self._entries if entry.get("level") != "INFO"]
        return [
            " ".join(str(entry[name]) for name in ("level", "message", "route", "error", "cause") if entry.get(name))
            for entry in entries[-count:]
        ]
