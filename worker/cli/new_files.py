"""Files that a command writes for people to go on with: never over one that is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from worker.errors import UsageFault

if TYPE_CHECKING:
    from pathlib import Path


def write_new(path: Path, text: str) -> None:
    """Write a new file, with its folders. Raises UsageFault when it is there already or cannot be written."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Ours to write, everybody's to read: none holds a secret. Never group-writable, whatever the umask.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageFault(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
