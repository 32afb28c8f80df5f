"""Processes of the story: started with a clean environment, ended by their own handle, whatever happens.

They run in sessions of their own, so that Ctrl-C reaches the demo alone, which then ends them in the right order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.cli.demo_story.failure import StepFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

#: Seconds that a process is given to end by itself.
PATIENCE = 8.0
#: Seconds between two looks at what goes on.
TICK = 0.1
#: What belongs to the service or folder that the demo was called from, not to the demo.
_FOREIGN = {"WORKER_CONFIG", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
_NO_PROXY = "127.0.0.1,localhost"


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the story's processes: no foreign configuration, no proxy between them and 127.0.0.1."""
    kept = {name: value for name, value in environ.items() if name not in _FOREIGN}
    return kept | dict.fromkeys(("no_proxy", "NO_PROXY"), _NO_PROXY)


@dataclass(frozen=True)
class Child:
    """A process that goes on in the background."""

    name: str
    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    def check(self, patience: float = 0.0) -> None:
        """Raise StepFailed when it has ended, or ends within so many seconds, though nobody asked it to."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            return
        raise StepFailed(f"{self.name} (process {self.pid}) {ending(code)} in the middle of the story")

    def stop(self) -> int:
        """Ask it to end, wait, and end it if need be; answers its exit code. May be called again."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"left with exit code {code}"


def spawn(name: str, module: str, arguments: Sequence[str], folder: Path, log: Path) -> Child:
    """Start `python -m MODULE` in a folder; what it logs goes to a file there.

    Its standard input is a pipe that closes when the demo ends, by whatever way. The provider's standard output is
    a pipe, too (it says where it listens); anything else's is the log.
    """
    listens = module == "worker.sandbox"
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            env=environment(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if listens else file,
            stderr=file,
            text=True,
            start_new_session=True,
        )
    return Child(name, process)


def read_line(process: subprocess.Popen[str], limit: float, meanwhile: Callable[[], None]) -> str:
    """The next line that a process prints, without its end; empty when it ends or `limit` seconds pass before."""
    import select
    import time

    assert process.stdout is not None
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if select.select([process.stdout], [], [], TICK)[0]:
            return process.stdout.readline().rstrip("\n")
        meanwhile()
    return ""


def finish(process: subprocess.Popen[str], given: str, limit: float, meanwhile: Callable[[], None]) -> tuple[str, str]:
    """Hand a process its input and wait for its end; what it printed, and what it logged.

    Raises subprocess.TimeoutExpired; the caller ends the process then.
    """
    import time

    deadline = time.monotonic() + limit
    text: str | None = given
    while True:
        try:
            return process.communicate(text, timeout=TICK)
        except subprocess.TimeoutExpired:
            text = None  # it is remembered
            if time.monotonic() > deadline:
                raise
            meanwhile()
