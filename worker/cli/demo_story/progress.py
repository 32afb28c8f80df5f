"""What the daemon has done so far, read from its own log as it grows. For the eye, and for knowing when to look
closer; what the story claims is then checked in the store, in the sink and at the provider.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.cli.demo_story.folder import PEOPLE

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class AccountProgress:
    """One account, as far as the log tells."""

    state: str = "-"
    generation: int = 0
    refreshes: int = 0
    #: Ends of runs: succeeded, failed, skipped, …
    runs: Counter[str] = field(default_factory=Counter)
    last: str = ""


class Progress:
    """Follows one log file of JSON lines."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = 0
        self.ready = False
        self.accounts = {name: AccountProgress() for name in PEOPLE}
        #: (account, collection) -> rows in the sink; collection -> rows at the source.
        self.sink: dict[tuple[str, str], int] = {}
        self.source: dict[str, int] = {}

    def read(self) -> None:
        """Take in what was logged since the last time; half a line is left for the next."""
        try:
            with self._log.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                self._take(entry)

    def tail(self, count: int) -> list[str]:
        """The log's last lines that are more than information, else simply its last lines."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        grave = [line for line in lines if '"level": "INFO"' not in line]
        return (grave or lines)[-count:]

    def _take(self, entry: dict[str, Any]) -> None:
        message = str(entry.get("message", ""))
        self.ready = self.ready or message == "ready"
        account = self.accounts.get(str(entry.get("account")))
        if account is None:
            return
        job, rows = entry.get("job", ""), entry.get("rows", 0)
        match message:
            case "grant refreshed":
                account.refreshes += 1
                account.generation = int(entry.get("generation", 0))
                account.last = f"token refreshed for {job}"
            case "account needs consent":
                account.state = "needs_consent"
                account.last = "needs consent"
            case "run skipped":
                account.runs["skipped"] += 1
                account.last = f"{job} skipped"
            case "run failed" | "run succeeded":
                account.runs[message.removeprefix("run ")] += 1
                account.last = f"{job}: {rows} rows" if message == "run succeeded" else f"{job} failed"
