"""The table step by fault by outcome, for the terminal and for the docs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fault_harness.operations import ALL
from fault_harness.oracle import MEANING, Outcome
from fault_harness.steps import label
from fault_harness.sweep import CALLS, fault_of
from fault_harness.trial import LINE_STOPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fault_harness.sweep import Found
    from fault_harness.trial import Result

#: Characters of a violation's log that are shown with it.
_LOG = 1500
_UNSTOPPED = "not stopped"
_HEAD = """# What happens when the process is stopped

Written by `make faults`; do not edit. A process is stopped (`os._exit` or SIGKILL) at the lines that an operation
executes, and by SIGKILL at its system calls, against a provider that rotates refresh tokens and ends the whole family
when a spent one comes back. Then a fresh process opens the store, recovers as the daemon does at its start, and runs
what is due. An oracle judges by the provider's own counters and by the files, not by what the product says.

Each cell: how many stops ended how. `docs/reliability.md` says what is promised.
"""


def key(result: Result) -> str:
    """The column that a result belongs to."""
    return result.id.fault if result.id.how in LINE_STOPS else CALLS


def markdown(found: Sequence[Found], results: Sequence[Result]) -> str:
    """All tables, with their legend."""
    used = {result.judgement.outcome for result in results}
    legend = [f"- **{outcome}**: {MEANING[outcome]}." for outcome in Outcome if outcome in used]
    names = list(dict.fromkeys(one.operation for one in found))
    sections = [_section(name, found, results) for name in names]
    return "\n".join([_HEAD, *legend, "", *sections])


def _section(name: str, found: Sequence[Found], results: Sequence[Result]) -> str:
    operation = ALL[name]
    own = [result for result in results if result.id.operation == name]
    columns = list(dict.fromkeys(one.fault for one in found if one.operation == name))
    letters = {column: chr(ord("a") + place) for place, column in enumerate(columns)}
    lines = [f"## {name}", "", f"{operation.words[0].upper()}{operation.words[1:]}. {_counts(name, found, own)}", ""]
    lines += [f"- {letters[column]}: {_words(name, column)}" for column in columns]
    lines += ["", f"| step | {' | '.join(letters.values())} |", "|---|" + "---|" * len(columns)]
    for step in (*range(len(operation.steps)), None):
        cells = [_cell([one for one in own if key(one) == column and _row(one) == step]) for column in columns]
        shown = label(operation.steps, step) if step is not None else _UNSTOPPED
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _row(result: Result) -> int | None:
    return result.step if result.stopped else None


def _cell(results: Sequence[Result]) -> str:
    outcomes = Counter(result.judgement.outcome for result in results)
    return ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in Outcome if outcomes[outcome])


def _counts(name: str, found: Sequence[Found], results: Sequence[Result]) -> str:
    plain = next((one for one in found if one.operation == name and one.fault == "none"), None)
    calls = max((result.calls for result in results), default=0)
    executed = f"{plain.lines} lines executed, {plain.distinct} different ones in their steps; " if plain else ""
    stops = sum(result.stopped for result in results)
    return f"{executed}{stops} stops; at most {calls} token calls in a trial, restart included."


def _words(name: str, column: str) -> str:
    return "SIGKILL at a system call; the provider answers" if column == CALLS else fault_of(ALL[name], column).words


def complaints(results: Iterable[Result]) -> list[str]:
    """Every violation with what is wrong, where, and how to see it again."""
    return [
        f"{result.id}  step {result.step + 1}, {result.place}\n"
        f"    {result.judgement.words}\n    again: make faults ONLY={result.id}\n{result.log[-_LOG:]}".rstrip()
        for result in results
        if result.judgement.outcome is Outcome.VIOLATION
    ]
