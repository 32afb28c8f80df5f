"""What this process may do and what it leaves behind: limits, core dumps, the user it runs as."""

from __future__ import annotations

import os
import platform
import resource
from typing import TYPE_CHECKING

from worker.doctor.diagnosis import Diagnosis, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.doctor.examination import Parts

#: Open files of a run (connections to API, provider, store, sink, lock files), and of the process as a whole.
_FILES_EACH, _FILES_ALWAYS = 8, 64


def examine(parts: Parts) -> Iterator[Diagnosis]:
    """Python, limits, core dumps."""
    yield Diagnosis("process", Level.OK, f"Python {platform.python_version()}, user {os.geteuid()}")
    yield from of_limits(
        resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        resource.getrlimit(resource.RLIMIT_CORE)[0],
        parts.config.worker.concurrency,
    )


def of_limits(files: int, core: int, concurrency: int) -> Iterator[Diagnosis]:
    """From the soft limits on open files and core dumps (bytes; -1 is none) and the runs at the same time."""
    needed = concurrency * _FILES_EACH + _FILES_ALWAYS
    if 0 <= files < needed:
        yield Diagnosis(
            "process",
            Level.FAULT,
            f"at most {files} files may be open; {concurrency} runs at the same time may need {needed}",
            f"ulimit -n {needed}, LimitNOFILE= in the unit, or a smaller worker.concurrency",
        )
    if core:
        yield Diagnosis(
            "process",
            Level.NOTE,
            "core dumps are on here: one would hold tokens and keys in the clear",
            "ulimit -c 0; the systemd unit sets LimitCORE=0",
        )
