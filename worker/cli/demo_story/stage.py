"""What the steps work with, and the two ways in which they make sure: `check` a fact, `wait` for one.

Nothing is waited for with a bare sleep. While the story waits, or a command runs, the processes are watched, the
daemon's log is read and the table is kept alive.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.cli.demo_story.commands import Commands
from worker.cli.demo_story.failure import StepFailed
from worker.cli.demo_story.folder import KEYS, PEOPLE
from worker.cli.demo_story.processes import TICK
from worker.cli.demo_story.progress import Progress
from worker.cli.demo_story.rows import Fingerprint, sink_counts, sink_prints, source_prints

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.cli.demo_story.narrator import Narrator
    from worker.cli.demo_story.processes import Child
    from worker.sandbox import SandboxControl

#: Seconds that anything may take, on a machine that is busy with other things. Most of it takes one or two.
_LIMIT = 60.0
#: Seconds between two looks at the rows.
_LOOK = 0.5


@dataclass
class StepRecord:
    """One step, for the document at the end."""

    name: str
    title: str
    began: float
    seconds: float = 0.0
    done: bool = False
    facts: list[str] = field(default_factory=list)


class Stage:
    """The folder, the processes, the people, and what is known of them."""

    def __init__(self, folder: Path, narrator: Narrator) -> None:
        self.folder = folder
        self.narrator = narrator
        self.commands = Commands(folder, self.look)
        self.progress = Progress(self.daemon_log)
        self.steps: list[StepRecord] = []
        self.provider: Child | None = None
        self.daemon: Child | None = None
        #: What the provider said about itself when it listened.
        self.addresses: dict[str, str] = {}
        #: The command that waits for bob's second consent, and the link that it gave.
        self.enrolling: tuple[Child, str] | None = None
        #: Monotonic second before the first consent: no access token is older.
        self.first_consent = 0.0
        self._control: SandboxControl | None = None
        self._looked = 0.0

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

    def connect(self, control: SandboxControl) -> None:
        """The provider can be reached from now on."""
        self._control = control

    def command(self, *words: str, given: str = "", expected: int = 0) -> str:
        """Type a command, in sight; what it printed."""
        self.narrator.command(f"worker {' '.join(words)}")
        return self.commands.run(*words, given=given, expected=expected)

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
            raise StepFailed(f"this did not come true within {_LIMIT:.0f} s: {claim}")
        self.check(True, claim)

    def pause_until(self, happened: Callable[[], bool]) -> bool:
        """Wait until something is so, and say nothing; whether it came to be so in time."""
        deadline = time.monotonic() + _LIMIT
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
        self.progress.read()
        now = time.monotonic()
        if self.daemon is not None and now - self._looked >= _LOOK:
            self._looked = now
            self.progress.source = {name: int(self.stats()["rows"][name]) for name in KEYS}
            self.progress.sink = sink_counts(self.sink)
            self.narrator.show(self.progress)

    def stats(self) -> dict[str, Any]:
        """The provider's own counters."""
        return self.control.stats()

    def source(self, collection: str) -> set[Fingerprint]:
        """What the source holds now."""
        return source_prints(self.control.rows(collection), collection)

    def lacking(self, account: str) -> int:
        """How many rows one account's sink lacks, or has in another state than the source."""
        try:
            return sum(
                len(self.source(collection) ^ sink_prints(self.sink, collection, account)) for collection in KEYS
            )
        except sqlite3.OperationalError:  # being written just now, or not made yet
            return -1

    def level(self, *accounts: str) -> Callable[[], bool]:
        """Whether these accounts' rows are exactly the source's."""
        return lambda: all(self.lacking(account) == 0 for account in accounts or PEOPLE)

    def close(self) -> int | None:
        """End the story's processes, the daemon before what it talks to; the daemon's exit code, if it was there."""
        self.commands.close()
        code = self.daemon.stop() if self.daemon is not None else None
        self.daemon = None
        if self.provider is not None:
            self.provider.stop()
            self.provider = None
        return code
