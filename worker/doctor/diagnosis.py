"""What the doctor says: one sentence about one subject, how grave it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.errors import WorkerError


class Level(StrEnum):
    """How grave it is."""

    OK = "ok"
    #: Works, but is worth knowing.
    NOTE = "note"
    #: A human must consent.
    CONSENT = "consent"
    #: Does not work now; a pause may mend it.
    LATER = "later"
    #: Does not work until an operator changes something.
    FAULT = "fault"


#: As everywhere: see `worker.errors`.
_EXIT_CODES = {Level.FAULT: 78, Level.LATER: 75, Level.CONSENT: 3}
_LEVELS = {code: level for level, code in _EXIT_CODES.items()}


@dataclass(frozen=True)
class Diagnosis:
    """One finding. `subject` is what was looked at: `key`, `store`, `integrations.arlo`."""

    subject: str
    level: Level
    message: str
    #: What to do; empty when there is nothing to do.
    hint: str = ""


def of_error(subject: str, error: WorkerError) -> Diagnosis:
    """An error that a check met, as its diagnosis."""
    return Diagnosis(subject, _LEVELS.get(error.exit_code, Level.FAULT), error.message, error.hint)


def exit_code(diagnoses: Iterable[Diagnosis]) -> int:
    """The gravest finding's: 78 something must be changed, 75 a pause may mend it, 3 a human must consent, else 0."""
    return max((_EXIT_CODES.get(diagnosis.level, 0) for diagnosis in diagnoses), default=0)
