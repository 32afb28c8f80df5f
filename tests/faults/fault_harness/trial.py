"""One trial: a process is stopped at one place of one operation, another goes on, and the oracle judges.

arrange     the provider's side: a grant of the trial's own user
victim      a fork prepares the folder, then works and is stopped
look        what the provider has counted, what stands in the files, untouched
restart     another fork opens the store and goes on
judge       by the provider's counters
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fault_harness.faults import Fault
    from fault_harness.oracle import Evidence, Judgement
    from fault_harness.place import Place
    from fault_harness.provider import Provider
    from fault_harness.steps import Step

#: Ways to stop before a line; any other is the name of a system call.
LINE_STOPS = ("exit", "kill")
_ID = re.compile(r"([a-z-]+)(?:\+([a-z0-9_]+))?:(\d+):(exit|kill|[a-z0-9]+)")


@dataclass(frozen=True, order=True)
class TrialId:
    """`refresh+timeout:0123:kill`: stopped before the 123rd line; `refresh:0004:fsync`: at the 4th fsync.

    Number 0 is not stopped at all.
    """

    operation: str
    fault: str
    number: int
    how: str

    def __str__(self) -> str:
        fault = "" if self.fault == "none" else f"+{self.fault}"
        return f"{self.operation}{fault}:{self.number:04}:{self.how}"

    @classmethod
    def parse(cls, text: str) -> TrialId:
        """The id that a text spells. Raises ValueError."""
        found = _ID.fullmatch(text)
        if not found:
            raise ValueError(f"{text!r} is no trial; write OPERATION[+FAULT]:NUMBER:exit, :kill or :SYSCALL")
        operation, fault, number, how = found.groups()
        return cls(operation, fault or "none", int(number), how)


class Operation(Protocol):
    """What is stopped."""

    @property
    def name(self) -> str:
        """As in a trial's id."""

    @property
    def words(self) -> str:
        """A sentence for the table."""

    @property
    def steps(self) -> Sequence[Step]:
        """In order."""

    @property
    def scope(self) -> Sequence[str]:
        """Which files count, as beginnings of paths under `worker/`."""

    @property
    def faults(self) -> Sequence[Fault]:
        """The columns of its table."""

    def arrange(self, trial: Trial) -> None:
        """Before anything starts, in the parent: the provider's side."""

    def prepare(self, trial: Trial) -> Callable[[], object]:
        """In the victim, untraced: the folder's side. Answers the operation."""

    def between(self, trial: Trial, *, redeemed: bool) -> None:
        """After the stop, in the parent. `redeemed`: the provider has made a grant for a code."""

    def restart(self, trial: Trial) -> dict[str, Any]:
        """In the fresh process: go on, and report."""

    def judge(self, trial: Trial, evidence: Evidence) -> Judgement:
        """In the parent: what this was."""


@dataclass
class Trial:
    """One trial under way."""

    id: TrialId
    fault: Fault
    provider: Provider
    place: Place
    user: str
    #: What `arrange` and `between` leave for the others; JSON.
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """What its processes print."""
        return self.place.folder / "trial.log"


@dataclass(frozen=True)
class Result:
    """A judged trial."""

    id: TrialId
    step: int
    place: str
    stopped: bool
    judgement: Judgement
    #: Calls of the token endpoint, in the whole trial.
    calls: int = 0
    log: str = ""
