"""What the daemon has done so far, read from its own log as it grows. For the eye, and for knowing when to look
closer; what the story claims is then checked in the store, in the sink and at the provider.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.cli.demo_story.folder import PEOPLE
from worker.states import FINISHED, RunState

if TYPE_CHECKING:
    from pathlib import Path

#: How the log puts the end of a run, or of an attempt.
_ENDS = {f"run {state}" for state in FINISHED | {RunState.RETRYING} if state is not RunState.SKIPPED}


@dataclass
class AccountProgress:
    """One account, as far as the log tells."""

    state: str = "-"
    generation: int = 0
    refreshes: int = 0
    #: Ends of runs: succeeded, failed, skipped, …
    runs: Counter[str] = field(default_factory=Counter)
    #: Ids of the runs under way.
    running: set[str] = field(default_factory=set)
    #: Jobs of which a run was skipped.
    skipped: set[str] = field(default_factory=set)
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
        """The last log lines that are more than information, shortened, each once; none where there is no log."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return [shown for shown in dict.fromkeys(map(_shortened, lines)) if shown][-count:]

    def _take(self, entry: dict[str, Any]) -> None:
        message = str(entry.get("message", ""))
        self.ready = self.ready or message == "ready"
        account = self.accounts.get(str(entry.get("account")))
        if account is None:
            return
        job, rows = entry.get("job", ""), entry.get("rows", 0)
        match message:
            case "run started":
                account.running.add(str(entry.get("run_id")))
            case "grant refreshed":
                account.refreshes += 1
                account.generation = int(entry.get("generation", 0))
                account.last = "token refreshed"
            case "account needs consent":
                account.state = "needs_consent"
                account.last = "needs consent"
            case "run skipped":
                account.runs["skipped"] += 1
                account.skipped.add(str(job))
                account.last = f"{job} skipped"
            case _ if message in _ENDS:
                account.running.discard(str(entry.get("run_id")))
                account.runs[message.removeprefix("run ")] += 1
                account.last = f"{job}: {rows} rows" if message == "run succeeded" else f"{job} failed"


def _shortened(line: str) -> str:
    """A log line for people; empty for mere information."""
    try:
        entry = json.loads(line)
        level, message = entry["level"], entry["message"]
    except (ValueError, LookupError, TypeError):
        return line
    trace = str(entry.get("exc_info", "")).strip().splitlines()
    cause = entry.get("error") or entry.get("cause") or (trace[-1] if trace else "")
    who = "/".join(str(entry[name]) for name in ("account", "job") if name in entry)
    return "" if level == "INFO" else " ".join(filter(None, ("daemon:", who, message, f"({cause})" if cause else "")))
