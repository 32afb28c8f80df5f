"""Who holds a lock on a file, as the kernel tells it."""

from __future__ import annotations

import subprocess
import sys

from worker.store.holders import holders_of

_HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_holders_are_named_while_they_hold(tmp_path) -> None:
    """By number and name; afterwards by nothing."""
    path = tmp_path / "file"
    path.touch()
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert holders_of(path).startswith(f"process {holder.pid} (")
        holder.communicate("")
    assert holders_of(path) == "another process"


def test_holders_of_nothing_are_not_known(tmp_path) -> None:
    """A file that is gone, a kernel that tells nothing."""
    assert holders_of(tmp_path / "none") == "another process"
    assert holders_of(tmp_path, tmp_path / "no-locks") == "another process"
