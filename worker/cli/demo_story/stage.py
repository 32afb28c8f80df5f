"""What the demo's steps work with: a scene, and what is known of the accounts and their rows.

While the story waits, or a command runs, the daemon's log is read and the table is kept alive.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from worker.cli.demo_story.folder import KEYS, PEOPLE
from worker.cli.demo_story.progress import Progress
from worker.cli.demo_story.rows import Fingerprint, sink_counts, sink_prints, source_prints
from worker.cli.demo_story.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.cli.demo_story.narrator import Narrator
    from worker.cli.demo_story.processes import Child

#: Seconds between two looks at the rows.
_LOOK = 0.5


class Stage(Scene):
    """The scene, the people, and what is known of them."""

    def __init__(self, folder: Path, narrator: Narrator) -> None:
        super().__init__(folder, narrator)
        self.progress = Progress(self.daemon_log)
        #: The command that waits for bob's second consent, and the link that it gave.
        self.enrolling: tuple[Child, str] | None = None
        #: Monotonic second before the first consent: no access token is older.
        self.first_consent = 0.0
        self._looked = 0.0

    def look(self) -> None:
        """See what goes on. Raises StepFailed when a process of the story has ended."""
        super().look()
        self.progress.read()
        now = time.monotonic()
        if self.daemon is not None and now - self._looked >= _LOOK:
            self._looked = now
            self.progress.source = {name: int(self.stats()["rows"][name]) for name in KEYS}
            self.progress.sink = sink_counts(self.sink)
            self.narrator.show(self.progress)

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
