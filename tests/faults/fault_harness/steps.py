"""The numbered steps of an operation, declared as data: each begins where a function is entered or left.

Steps come in order. A step that a run may pass by (the answer never came, so it was never read) is optional: while the
harness waits for it, it also listens for those behind it, up to the next one that has to come.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class At(StrEnum):
    """Which end of a function."""

    ENTRY = "entry"
    EXIT = "exit"
    #: Left with an answer, not with an error.
    ANSWER = "answer"


@dataclass(frozen=True)
class Step:
    """One numbered step. `begins` is a function as `store.grants:Grants.begin_refresh`; empty for the first step."""

    name: str
    begins: str = ""
    at: At = At.ENTRY
    optional: bool = False
    #: From here on the token request is on its way, so the provider acts on it whatever becomes of us.
    sent: bool = False


class Progress:
    """Which step has been reached, from what is entered and left."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        #: Index of the step that is under way.
        self.step = 0
        self._awaited: dict[tuple[str, At], int] = {}
        self._listen()

    def hear(self, function: str, at: At) -> bool:
        """A function was entered or left; answers whether that began another step."""
        found = self._awaited.get((function, at))
        if found is None:
            return False
        self.step = found
        self._listen()
        return True

    def _listen(self) -> None:
        self._awaited.clear()
        for number in range(self.step + 1, len(self._steps)):
            step = self._steps[number]
            self._awaited.setdefault((step.begins, step.at), number)
            if not step.optional:
                return


def label(steps: Sequence[Step], number: int) -> str:
    """A step for people: `4 intent being committed`."""
    return f"{number + 1} {steps[number].name}"
