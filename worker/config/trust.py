"""Who else may change a file or folder that we act on.

The config file names commands that are run and folders whose code is run, with our rights and our keyring at hand: who
may write there has every grant. The same holds for a state folder: whoever may write there exchanges the store or the
witness. On a read-only mount owner and mode say nothing, as for job files: whoever made the mount has decided.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from worker.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def writable_by_others(path: Path) -> str:
    """Who else may change what stands there, with the command that ends it; empty when nobody, or nothing is there."""
    try:
        found, mount = path.stat(), os.statvfs(path)
    except OSError:
        return ""
    if mount.f_flag & os.ST_RDONLY:
        return ""
    if found.st_uid not in {0, os.geteuid()}:
        return (
            f"{path} belongs to user {found.st_uid}, neither to root nor to user {os.geteuid()}, who runs this;"
            f" try: chown {os.geteuid()} {path}"
        )
    if found.st_mode & _OTHERS_WRITE:
        mode = stat.S_IMODE(found.st_mode)
        return f"{path} has mode {mode:04o}, so others may change it; try: chmod go-w {path}"
    return ""


def refuse_open_to_all(path: Path) -> None:
    """Refuse a config file that every user of this machine may write. Raises Misconfigured."""
    try:
        found, mount = path.stat(), os.statvfs(path)
    except OSError:
        return  # whoever reads it next says why it cannot be read
    if found.st_mode & stat.S_IWOTH and not mount.f_flag & os.ST_RDONLY:
        raise Misconfigured(
            f"{path} has mode {stat.S_IMODE(found.st_mode):04o}: every user of this machine may write it, and so have"
            " commands run with the worker's rights",
            hint=f"look at what it says now, then: chmod go-w {path}",
        )
