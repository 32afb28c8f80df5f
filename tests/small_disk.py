"""A file system of a few hundred kilobytes that can be filled, made read-only, and emptied again: a real one."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PAGE = 4096


class SmallDisk:
    """A mounted tmpfs. What fills it lies in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Until not one more page fits."""
        self._ballast.mkdir()
        try:
            with (self._ballast / "big").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(_PAGE))
        except OSError:
            return

    def use_up_inodes(self) -> None:
        """Until not one more file can be made."""
        self._ballast.mkdir()
        try:
            for number in range(1_000_000):
                (self._ballast / str(number)).touch()
        except OSError:
            return

    def empty(self) -> None:
        """Take the ballast away."""
        for path in self._ballast.iterdir():
            path.unlink()
        self._ballast.rmdir()

    def forbid_writing(self) -> None:
        """Mount it once more over itself, read-only: files that are open stay so, as when the kernel does it."""
        subprocess.run(["mount", "--bind", str(self.path), str(self.path)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(self.path)], check=True)

    def allow_writing(self) -> None:
        """Mount it for writing again."""
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@contextmanager
def mounted(path: Path) -> Iterator[SmallDisk]:
    """A disk at `path`. Where mounting is not allowed, the test is skipped: no package would help."""
    path.mkdir(mode=0o700)
    options = f"size=1m,nr_inodes=64,mode=0700,uid={os.geteuid()}"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        # Lazily: whoever still has a file open does not keep the rest of the tests from going on.
        subprocess.run(["umount", "--lazy", str(path)], check=True)
