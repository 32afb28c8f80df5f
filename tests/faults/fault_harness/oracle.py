"""Judges a trial by what the provider has counted and what stands in the files, not by the product's own verdicts.

The one loss that nobody can prevent: the provider has rotated, and the process is gone before the answer was
committed. Then, and only then, the product may ask for a human, and it has to say "lost in rotation". Whatever else
ends in a question for a human, a second use of a spent token, a missing or doubled row, a value that does not open or
silence is a violation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fault_harness.faults import Fault
    from fault_harness.place import Stored
    from fault_harness.processes import Ended
    from fault_harness.provider import Counted
    from fault_harness.restart import Report


class Outcome(StrEnum):
    """How a trial ended, for the table."""

    WENT_ON = "went on"
    SETTLED = "settled"
    LOST = "lost, told"
    REFUSED = "refused, told"
    STALE = "stale, told"
    AGAIN = "again"
    VIOLATION = "VIOLATION"


MEANING = {
    Outcome.WENT_ON: "after the restart the daemon works on by itself, as if nothing had happened",
    Outcome.SETTLED: "the restart finds a refresh cut off, and one call settles that nothing is lost",
    Outcome.LOST: "the provider had rotated and the answer died with the process: it says “lost in rotation”, asks for"
    " consent, and makes up for what was missed",
    Outcome.REFUSED: "the provider has refused the grant: it says so, asks for consent, and makes up for what was"
    " missed",
    Outcome.STALE: "the restored store holds a refresh token that was replaced since: it is never sent, and the account"
    " asks for consent",
    Outcome.AGAIN: "nothing was stored, and the command given again does it",
    Outcome.VIOLATION: "the promise is broken",
}


@dataclass(frozen=True)
class Evidence:
    """Everything known of one trial."""

    fault: Fault
    #: The process that was to be stopped, and whether it was.
    victim: Ended
    stopped: bool
    #: The provider before the operation, after the stop, and at the end.
    before: Counted
    after: Counted
    end: Counted
    #: The store after the stop, untouched.
    stored: Stored
    #: The sink's rows at the end.
    rows: list[int]
    said: Report
    #: Whether the provider takes the refresh token that is stored at the end.
    taken: bool

    @property
    def granted(self) -> int:
        """Refreshes that the provider granted before the stop."""
        return self.after.granted - self.before.granted

    @property
    def reused(self) -> int:
        """How often a spent token was presented, in the whole trial."""
        return self.end.reused - self.before.reused

    @property
    def intent(self) -> bool:
        """Whether the store holds a refresh that was begun and never ended."""
        return bool(self.stored.tables.get("refresh_intent"))


@dataclass(frozen=True)
class Judgement:
    """An outcome, and for a violation what is wrong."""

    outcome: Outcome
    words: str = ""


def judge(evidence: Evidence, expected: Outcome, *complaints: str) -> Judgement:
    """The expected outcome, unless there is anything to complain about."""
    found = [words for words in (*_always(evidence), *complaints) if words]
    return Judgement(Outcome.VIOLATION, "; ".join(found)) if found else Judgement(expected)


def _always(evidence: Evidence) -> Iterator[str]:
    """What must hold for every trial of every operation."""
    said = evidence.said
    if evidence.victim.hung:
        yield "the process hung instead of ending"
    if not evidence.stored.sound:
        yield "the database is damaged after the stop"
    if said.refused:
        yield f"the store does not open: {said.refused}"
    if said.undecryptable:
        yield f"a stored value does not open: {said.undecryptable}"


def unless(condition: object, words: str) -> str:
    """The complaint, when the condition does not hold."""
    return "" if condition else words


def has_gone_on(evidence: Evidence, rows: list[int]) -> tuple[str, ...]:
    """Complaints about an account that needs no human: it has to run, with the living token, and every row once."""
    said = evidence.said
    stuck = f"the account is {said.state} ({said.cause}: {said.reason}), its last run {said.run}"
    return (
        unless(said.ran and said.state == "active", f"no human is needed, and yet {stuck}"),
        unless(evidence.end.alive, "the grant has died at the provider"),
        unless(not evidence.reused, f"a spent token was presented {evidence.reused} times"),
        unless(evidence.taken, "the stored refresh token is not the living one"),
        unless(evidence.rows == rows, f"the sink holds {evidence.rows}, not {rows}"),
    )


def has_told(evidence: Evidence, rows: list[int], *, lost: bool) -> tuple[str, ...]:
    """Complaints about an account that needs a human: it has to say why, run nothing silently, and go on afterwards."""
    said = evidence.said
    words = f"{said.cause}: {said.reason}"
    says_lost = said.cause == "lost in rotation" and "lost in rotation" in said.reason
    return (
        unless(said.state == "needs_consent", f"the grant is gone, and yet the account is {said.state}"),
        unless(says_lost or not lost, f'the token was lost in rotation, and it says "{words}"'),
        unless(said.cause and said.reason, "it does not say why"),
        unless("consent" in said.run[1], f"its last run does not name the cause: {said.run}"),
        unless(evidence.reused <= 1, f"a spent token was presented {evidence.reused} times"),
        unless(said.healed, f"after the consent the missed run was not made: {said.run}"),
        unless(evidence.taken, "after the consent the stored refresh token is not the living one"),
        unless(evidence.rows == rows, f"the sink holds {evidence.rows}, not {rows}"),
    )
