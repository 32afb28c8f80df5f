"""Which processes hold a lock on a file, by the kernel's own list (`/proc/locks`, proc(5)): cheap, and never stale."""

from __future__ import annotations

import os
from pathlib import Path

_LOCKS = Path("/proc/locks")


def holders_of(path: Path, locks: Path = _LOCKS) -> str:
    """`process 123 (sqlite3)`, several joined, without this one; "another process" when the kernel tells of none.

    A holder may have let go meanwhile, or live in another container, where its number says nothing.
    """
    try:
        found = path.stat()
        lines = locks.read_text("ascii", "replace").splitlines()
    except OSError:
        return "another process"
    # 1: POSIX  ADVISORY  WRITE 1234 08:01:5678 1073741824 1073742335
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    held = [fields for line in lines if "->" not in (fields := line.split()) and place in fields]
    numbers = dict.fromkeys(fields[fields.index(place) - 1] for fields in held)
    known = [number for number in numbers if number.isdigit() and int(number) not in {0, os.getpid()}]
    return " and ".join(f"process {number}{_name(number)}" for number in known) or "another process"


def _name(number: str) -> str:
    try:
        return f" ({Path(f'/proc/{number}/comm').read_text('utf-8', 'replace').strip()})"
    except OSError:
        return ""
