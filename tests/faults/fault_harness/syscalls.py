"""Below Python: SIGKILL at a system call, inside SQLite's commit or a request, injected by strace.

strace follows a process that has everything prepared and waits. A first run lists the calls; then K-th `fsync` or
`pwrite64` … is where the process dies, before the call is made. Which step a call belongs to is told by the victim: it
asks, in vain, for a file that is named for the step.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fault_harness.processes import Child, Ended

#: What changes a file, a name or the other side's mind.
CALLS = (
    "pwrite64",
    "write",
    "fsync",
    "fdatasync",
    "ftruncate",
    "unlink",
    "unlinkat",
    "rename",
    "renameat2",
    "link",
    "linkat",
    "connect",
    "sendto",
    "recvfrom",
)
_MARK = "fault-harness-step:"
_LINE = re.compile(r"(?:\d+ +)?(\w+)\((?:AT_FDCWD, )?(?:\"" + _MARK + r"(\d+))?")
#: Seconds until strace has taken hold of a process.
_ATTACHING = 20.0


def missing() -> str:
    """Why this cannot be done here; empty when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-e", "trace=none", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()[-100:]}"


def mark(step: int) -> None:
    """Tell whoever traces us that a step begins."""
    os.access(f"{_MARK}{step}", os.F_OK)


def trace(child: Child, log: Path, inject: tuple[str, int] | None) -> Ended:
    """Let a waiting child go on under strace; with `inject`, SIGKILL at the so-manieth call of that name."""
    wanted = ",".join((*(f"?{name}" for name in CALLS), "?access", "?faccessat", "?faccessat2"))
    command = ["strace", "-f", "-qq", "-s", "40", "-o", str(log), "-e", f"trace={wanted}", "-e", "signal=none"]
    if inject is not None:
        command += ["-e", f"inject={inject[0]}:signal=SIGKILL:when={inject[1]}"]
    child.wait_ready()
    with subprocess.Popen([*command, "-p", str(child.pid)], stderr=subprocess.PIPE, text=True) as strace:
        _wait_until_traced(child.pid, strace)
        ended = child.wait()
        strace.wait(_ATTACHING)
    return ended


def calls(log: Path) -> list[tuple[int, str, int]]:
    """Step, name and number (from 1, for each name) of every call in a log, in order."""
    step, counted, found = 0, Counter[str](), []
    for line in log.read_text(errors="replace").splitlines():
        read = _LINE.match(line)
        if read is None:
            continue
        name, begun = read.groups()
        if begun is not None:
            step = int(begun)
        elif name in CALLS:
            counted[name] += 1
            found.append((step, name, counted[name]))
    return found


def _wait_until_traced(pid: int, strace: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _ATTACHING
    while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
        if strace.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"strace did not take hold: {strace.stderr.read() if strace.stderr else ''}")
        time.sleep(0.002)
