"""How the daemon is stopped and started here, for hints: by systemd where that runs the machine, else by process."""

from __future__ import annotations

import os
import re
from pathlib import Path

#: There as soon as systemd is the machine's init (sd_booted(3)).
_BOOTED = Path("/run/systemd/system")
_PROCESS = re.compile(r"process (\d+) on (\S+)")


def how_to_stop(holder: str = "", booted: Path = _BOOTED) -> str:
    """The command that stops the daemon. `holder` is what its lock tells of it (`worker.store.locks.process_note`)."""
    found = _PROCESS.search(holder)
    kill = f"kill {found[1]}" if found else "end its process (SIGTERM)"
    if found and found[2] != os.uname().nodename:
        # Here, that number is somebody else's: another machine's daemon, or another container's.
        return f"on {found[2]}: {kill}"
    return f"systemctl stop worker, or: {kill}" if booted.is_dir() else kill


def how_to_start(booted: Path = _BOOTED) -> str:
    """The command that starts the daemon."""
    return "systemctl start worker, or: worker run" if booted.is_dir() else "worker run"
