"""What the demo and the drills are played on: a folder, a provider, a daemon, commands, and the two ways in which they
make sure: `check` a fact, `wait` for one.

Nothing is waited for with a bare sleep. While a story waits, or a command runs, its processes are watched.
"""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import sqlite3
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from worker.cli.demo_story.commands import Commands
from worker.cli.demo_story.failure import StepFailed
from worker.cli.demo_story.processes import TICK, ending, read_line, spawn
from worker.errors import Misconfigured, WorkerError
from worker.sandbox import BadControl, ConsentFailed, SandboxControl, give_consent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from worker.cli.demo_story.narrator import Narrator
    from worker.cli.demo_story.processes import Child

#: Seconds that anything may take, on a machine that is busy with other things. Most of it takes one or two.
LIMIT = 60.0
#: Seconds until a process must have said that it is there.
_START = 30.0
#: What a step may meet besides StepFailed.
TROUBLE = (WorkerError, BadControl, ConsentFailed, OSError, HTTPException, sqlite3.Error, LookupError, ValueError)
#: Signals that end a story, besides Ctrl-C.
_ENDING = (signal.SIGTERM, signal.SIGHUP)
#: Seconds that a process may take to be seen dead.
_DYING = 1.0


@dataclass
class StepRecord:
    """One step, for the document at the end."""

    name: str
    title: str
    began: float
    seconds: float = 0.0
    done: bool = False
    facts: list[str] = field(default_factory=list)


class Scene:
    """The folder, the processes, and what is known of them."""

    def __init__(self, folder: Path, narrator: Narrator, limit: float = LIMIT) -> None:
        self.folder = folder
        self.narrator = narrator
        self.limit = limit
        self.commands = Commands(folder, self.look)
        self.steps: list[StepRecord] = []
        self.provider: Child | None = None
        self.daemon: Child | None = None
        #: What the provider said about itself when it listened.
        self.addresses: dict[str, str] = {}
        self._control: SandboxControl | None = None

    @property
    def daemon_log(self) -> Path:
        """What `worker run` prints."""
        return self.folder / "daemon.log"

    @property
    def provider_log(self) -> Path:
        """What the provider complains of."""
        return self.folder / "provider.log"

    @property
    def sink(self) -> Path:
        """The embedded sink's database."""
        return self.folder / "state" / "data.db"

    @property
    def control(self) -> SandboxControl:
        """The handles of the provider."""
        assert self._control is not None
        return self._control

    def launch_provider(self, arguments: Sequence[str]) -> None:
        """Start the other side, in a process of its own, and connect to its handles. Raises StepFailed."""
        words = ["--with-parent", "--client-secret", secrets.token_urlsafe(24), *arguments]
        child = spawn("the provider", "worker.sandbox", words, self.folder, self.provider_log)
        self.provider = child
        word, _, document = read_line(child.process, _START, lambda: None).partition(" ")
        if word != "READY":
            code = child.process.poll()
            complaint = self.provider_log.read_text(encoding="utf-8", errors="replace").strip()
            how = "does not listen" if code is None else ending(code)
            raise StepFailed(f"the provider {how}" + (f": {complaint}" if complaint else ""))
        self.addresses = json.loads(document)
        self._control = SandboxControl(self.addresses["base_url"], self.addresses["control_token"])

    def command(self, *words: str, given: str = "", expected: int = 0) -> str:
        """Type a command, in sight; what it printed."""
        self.narrator.command(f"worker {' '.join(words)}")
        return self.commands.run(*words, given=given, expected=expected)

    def consent(self, integration: str, person: str) -> None:
        """The person opens the link that the command prints, and allows; the operator pastes where that leads."""
        words = ("enroll", integration, person, "--paste")
        self.narrator.command(f"worker {' '.join(words)}")
        enrolling = self.commands.begin(*words)
        answer = give_consent(self.commands.line(enrolling), person)
        self.commands.end(enrolling, answer + "\n")

    def check(self, happened: bool, claim: str, found: object = None) -> None:
        """State a fact. Raises StepFailed with what was found instead when it is none."""
        if not happened:
            raise StepFailed(f"this did not come true: {claim}" + ("" if found is None else f"; found {found}"))
        self.steps[-1].facts.append(claim)
        self.narrator.fact(claim)

    def wait(self, happened: Callable[[], bool], claim: str) -> None:
        """Wait until something is a fact, and state it. Raises StepFailed when it does not become one."""
        self.narrator.waiting(claim)
        if not self.pause_until(happened):
            raise StepFailed(f"this did not come true within {self.limit:.0f} s: {claim}")
        self.check(True, claim)

    def pause_until(self, happened: Callable[[], bool]) -> bool:
        """Wait until something is so, and say nothing; whether it came to be so in time."""
        deadline = time.monotonic() + self.limit
        self.look()
        while not happened():
            if time.monotonic() > deadline:
                return False
            time.sleep(TICK)
            self.look()
        return True

    def look(self) -> None:
        """See what goes on. Raises StepFailed when a process of the story has ended."""
        for child in (self.provider, self.daemon):
            if child is not None:
                child.check()

    def stats(self) -> dict[str, Any]:
        """The provider's own counters."""
        return self.control.stats()

    def cause(self, error: BaseException) -> str:
        """What went wrong; a process that is gone explains any error that follows from it."""
        # A connection breaks a moment before the system calls its process dead.
        patience = _DYING if isinstance(error, OSError | HTTPException) else 0.0
        for child in (self.provider, self.daemon):
            try:
                if child is not None:
                    child.check(patience)
            except WorkerError as gone:
                return gone.message
        return error.message if isinstance(error, WorkerError) else f"{type(error).__name__}: {error}"

    def close(self) -> int | None:
        """End the story's processes, the daemon before what it talks to; the daemon's exit code, if it was there."""
        self.commands.close()
        code = self.daemon.stop() if self.daemon is not None else None
        self.daemon = None
        if self.provider is not None:
            self.provider.stop()
            self.provider = None
        return code


def make_folder(command: str) -> Path:
    """A temporary folder for `worker COMMAND`. Raises Misconfigured when there is no place for one."""
    try:
        return Path(tempfile.mkdtemp(prefix=f"worker-{command}-")).resolve()
    except OSError as error:
        raise Misconfigured(
            f"no temporary folder can be made: {error}", hint=f"TMPDIR=a folder you can write to worker {command}"
        ) from None


def sweep(folder: Path) -> None:
    """Take the folder away."""
    shutil.rmtree(folder, ignore_errors=True)


def end(scene: Scene) -> None:
    """End the processes; a second Ctrl-C must not leave one behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *_ENDING)}
    try:
        scene.close()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM, and a terminal that closes, end the story as Ctrl-C does: with everything it started."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
