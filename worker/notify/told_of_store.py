"""Who was told that the store does not work, in a file of the state folder: the store itself cannot keep that.

So nobody is told twice, nor left without the all-clear, by a process that was restarted or read its routes anew. Where
the file cannot be written either (a full disk), that holds for the running process only.
"""

from __future__ import annotations

import json
import logging
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

log = logging.getLogger(__name__)

_NAME = "store-fault"


@dataclass(frozen=True)
class Told:
    """A fault of the store that is not over."""

    #: Seconds since the epoch.
    since: float
    #: Names of the routes that have taken it.
    routes: tuple[str, ...]


class Memory:
    """The file; without a folder, nothing is remembered."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / _NAME

    def read(self) -> Told | None:
        """What was left by whoever watched the store before; None when nothing was, or nothing that can be read."""
        if self._path is None:
            return None
        try:
            found = json.loads(self._path.read_text())
            told = Told(float(found["since"]), tuple(map(str, found["routes"])))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return told if math.isfinite(told.since) else None

    def write(self, since: float, routes: Iterable[str]) -> None:
        """These have been told."""
        if self._path is None:
            return
        part = self._path.with_name(f".{_NAME}.{os.getpid()}")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump({"since": since, "routes": sorted(routes)}, file)
            part.replace(self._path)
        except OSError as error:
            log.warning("it cannot be noted who was told of the store's fault", extra={"error": str(error)})
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def forget(self) -> None:
        """It is over, and everybody knows."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
