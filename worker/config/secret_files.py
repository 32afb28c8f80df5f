"""Reading a file that must be nobody else's business.

The rule. A secret's file is refused when its mode lets anybody but its owner read or write it, with three exceptions,
all of them places where the mode is not ours to change and the surroundings keep others out:

1. files under $CREDENTIALS_DIRECTORY (systemd makes that directory for the service alone),
2. files under /run/secrets (Docker, Compose and Podman mount secrets there, mode 0444, owned by root),
3. files on a read-only, memory-backed mount of their own (a Kubernetes secret volume: mode 0644 or 0440). The mounts
   that every process of a host shares (/run, /tmp, /dev/shm …) are no such mount: a service with a read-only view of
   the system sees those as read-only, too.

The exceptions cover reading only: a file that group or others may write is refused everywhere but under 1.

The file is opened first and judged by its descriptor, so that it cannot be exchanged between look and read.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A key or password is a few hundred bytes, a PEM bundle a few thousand; more than this is the wrong file.
LARGEST_SECRET = 64 * 1024

_ANYBODY_ELSE = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_CONTAINER_SECRETS = Path("/run/secrets")
_MEMORY = frozenset({"tmpfs", "ramfs"})
#: Memory-backed mounts which everybody on a host shares (file-hierarchy(7)).
_SHARED_MOUNTS = re.compile(r"/|/run|/run/lock|/run/user/\d+|/var/run|/tmp|/var/tmp|/dev|/dev/shm")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """Where a file lies: the mount point, its file system type, and whether we may write there."""

    point: str
    kind: str
    read_only: bool


def read_private_file(path: Path, place: str, environ: Mapping[str, str]) -> bytes:
    """The content of a secret's file, at most 64 KiB. `place` begins every message.

    Raises Misconfigured when the file is missing, unreadable, no regular file, too large, or open to others.
    """
    try:
        # Not blocking: opening a named pipe would otherwise wait for somebody to write to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unopened(path, place, error) from None
    except ValueError:
        raise Misconfigured(f"{place}: the file name holds a zero byte") from None
    try:
        _refuse_open_file(os.fstat(descriptor), path, place, environ)
        content = b""
        while len(content) <= LARGEST_SECRET and (chunk := os.read(descriptor, LARGEST_SECRET + 1)):
            content += chunk
    except OSError as error:
        raise _unopened(path, place, error) from None
    finally:
        os.close(descriptor)
    if len(content) > LARGEST_SECRET:
        raise Misconfigured(f"{place}: {path} is larger than {LARGEST_SECRET // 1024} KiB; is it the right file?")
    return content


def credentials_directory(environ: Mapping[str, str]) -> Path | None:
    """The directory systemd made for this service's credentials (systemd.exec(5)), if there is one."""
    name = environ.get("CREDENTIALS_DIRECTORY", "")
    return Path(name) if name.startswith("/") else None


def is_private(mode: int, path: Path, mount: Mount | None, credentials: Path | None) -> bool:
    """The rule of this module, for a resolved path: whether nobody but us is let in. `mount` None means unknown."""
    if not mode & _ANYBODY_ELSE:
        return True
    if credentials is not None and path.is_relative_to(credentials):
        return True
    if mode & _OTHERS_WRITE:
        return False
    if path.is_relative_to(_CONTAINER_SECRETS):
        return True
    if mount is None or not mount.read_only or mount.kind not in _MEMORY:
        return False
    return not _SHARED_MOUNTS.fullmatch(mount.point)


def _refuse_open_file(status: os.stat_result, path: Path, place: str, environ: Mapping[str, str]) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Misconfigured(f"{place}: {path} is not a regular file")
    mode = stat.S_IMODE(status.st_mode)
    if not mode & _ANYBODY_ELSE:
        return
    credentials = credentials_directory(environ)
    real = path.resolve()
    if not is_private(mode, real, mount_of(real), credentials.resolve() if credentials else None):
        raise Misconfigured(
            f"{place}: {path} has mode {mode:04o}, so others may {_what_others_may(mode)} it",
            hint=f"chmod 600 {path}",
        )


def _what_others_may(mode: int) -> str:
    reads = mode & (stat.S_IRGRP | stat.S_IROTH)
    writes = mode & _OTHERS_WRITE
    return "read and change" if reads and writes else "change" if writes else "read" if reads else "run"


def _unopened(path: Path, place: str, error: OSError) -> Misconfigured:
    if isinstance(error, FileNotFoundError):
        return Misconfigured(f"{place}: {path} does not exist")
    if isinstance(error, PermissionError):
        return Misconfigured(
            f"{place}: {path} may not be read by user {os.geteuid()}",
            hint=f"chown the file to the user that runs the worker: chown USER {path}",
        )
    return Misconfigured(f"{place}: {path} cannot be opened: {error.strerror}")


def mount_of(path: Path, table: Path = Path("/proc/self/mountinfo")) -> Mount | None:
    """The mount on which a resolved path lies, from /proc/self/mountinfo (proc(5)); None when that is not there."""
    try:
        text = table.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    best: Mount | None = None
    for line in text.splitlines():
        mount = _read_mount(line)
        # Later lines lie on top of earlier ones at the same point, hence >=.
        if mount and path.is_relative_to(mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def _read_mount(line: str) -> Mount | None:
    # 36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/sda rw,errors=continue
    before, separator, after = line.partition(" - ")
    left, right = before.split(" "), after.split(" ")
    if not separator or len(left) < 6 or len(right) < 3:  # noqa: PLR2004 - the fields shown above
        return None
    point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), left[4])
    read_only = "ro" in left[5].split(",") or "ro" in right[2].split(",")
    return Mount(point, right[0], read_only)
