"""`make faults`: stops a real process at every step of what must never lose anything, and says what became of it.

    python tests/faults [--operation NAME] [--fault NAME] [--step N] [--every N] [--thorough] [--write]
    python tests/faults --only refresh:0123:kill        one trial, with its log
    python tests/faults --list                          the operations, their steps and faults

Progress goes to standard error, the table to standard output. Exits with 1 when anything was violated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fault_harness import syscalls
from fault_harness.operations import ALL
from fault_harness.oracle import Outcome
from fault_harness.steps import label
from fault_harness.sweep import CALLS, Found, Plan, cores, crew, find, in_order, make, make_one
from fault_harness.table import complaints, markdown
from fault_harness.trial import TrialId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fault_harness.trial import Result

_REPOSITORY = Path(__file__).parents[2]
_TABLE = _REPOSITORY / "docs" / "fault-table.md"
_KILL_LOOP = Path(__file__).with_name("kill_loop.py")
#: Seconds between two lines of progress.
_PROGRESS = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.list:
        return _list()
    if asked.only:
        return _one(_trial(parser, asked.only), asked.tamper)
    unable = syscalls.missing()
    if unable:
        _say(f"no stops at system calls: {unable}")
        if os.environ.get("CI"):
            return 1
    found, results = _sweep(_plan(asked), asked.jobs)
    text = markdown(found, results)
    wrong = complaints(results)
    if asked.json:
        _print(json.dumps({"trials": len(results), "violations": wrong, "unseen": _unseen(found)}))
    else:
        _print(text)
    if asked.write:
        _TABLE.write_text(text, encoding="utf-8")
    wrong += _unseen(found)
    for words in wrong:
        _say(words)
    _say(f"{len(results)} trials, {len(wrong)} violations")
    lost = _kill_loop(asked.kills) if asked.kills else 0
    return 1 if wrong or lost else 0


def _trial(parser: argparse.ArgumentParser, text: str) -> TrialId:
    """The trial that is asked for; ends the program with one sentence when there is none of that name."""
    try:
        trial_id = TrialId.parse(text)
    except ValueError as error:
        parser.error(f"{error}, for example refresh:0123:kill; docs/fault-table.md names them")
    if trial_id.operation not in ALL:
        parser.error(f"there is no operation {trial_id.operation!r}; there are {', '.join(ALL)}")
    return trial_id


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make faults",
        description=f"{__doc__.splitlines()[0] if __doc__ else ''} By itself, `make faults` takes some ten minutes and"
        " rewrites docs/fault-table.md (--minutes 6 --write --kills 300); options go into FAULTS, and one trial into"
        " ONLY: make faults ONLY=refresh:0123:kill",
        epilog='Examples: make faults FAULTS="--list"; make faults FAULTS="--operation refresh --minutes 2"',
    )
    add = parser.add_argument
    add("--operation", action="append", choices=list(ALL), help="only this one; may be repeated")
    add("--fault", action="append", help=f"only this fault ({CALLS}: stops at system calls); may be repeated")
    add("--step", type=int, help="only this step, by its number in the table")
    add("--every", type=int, default=0, metavar="N", help="every Nth execution of a line")
    add("--thorough", action="store_true", help="every line in every step under every fault: takes an hour")
    add("--sample", action="store_true", help="one line for each step and fault: what CI runs")
    add("--seed", type=int, default=1, help="which lines are chosen where not all are")
    add("--only", metavar="TRIAL", help="one trial: OPERATION[+FAULT]:NUMBER:exit, :kill or :SYSCALL")
    add("--tamper", default="", metavar="SQL", help="with --only: spoil the store between the stop and the restart")
    add("--list", action="store_true", help="show operations, steps and faults")
    add("--minutes", type=float, default=0.0, help="begin no further trial after so many minutes")
    add("--jobs", type=int, default=cores(), help="processes (default: one for each core)")
    add("--kills", type=int, default=0, help="finally, so many SIGKILLs in a loop of commits")
    add("--write", action="store_true", help=f"write {_TABLE.relative_to(_REPOSITORY)}")
    add("--json", action="store_true", help="a summary instead of the table")
    return parser


def _plan(asked: argparse.Namespace) -> Plan:
    most, with_fault, calls = (0, 0, 0) if asked.thorough else (1, 1, 1) if asked.sample else (14, 2, 6)
    return Plan(
        operations=asked.operation or list(ALL),
        faults=asked.fault or (),
        step=None if asked.step is None else asked.step - 1,
        most=most,
        most_with_fault=with_fault,
        most_calls=calls,
        every=asked.every,
        seed=asked.seed,
        budget=asked.minutes * 60,
    )


def _sweep(plan: Plan, jobs: int) -> tuple[list[Found], list[Result]]:
    began = time.monotonic()
    with crew(jobs) as pool:
        found = find(pool, plan)
        trials = in_order(found, plan.seed)
        _say(f"{len(trials)} trials of {', '.join(plan.operations)}")
        results: list[Result] = []
        told = began
        for result in make(pool, trials, plan.budget):
            results.append(result)
            if result.judgement.outcome is Outcome.VIOLATION:
                _say(f"VIOLATION {result.id}: {result.judgement.words}")
            if time.monotonic() - told > _PROGRESS:
                told = time.monotonic()
                _say(f"{len(results)} of {len(trials)} after {told - began:.0f} s")
    return found, sorted(results, key=lambda result: result.id)


def _unseen(found: Sequence[Found]) -> list[str]:
    """Steps that must come and did not: the product has moved, and `steps` has to follow."""
    return [
        f"{one.operation}: step {label(ALL[one.operation].steps, step)!r} never began; see its operation's file"
        for one in found
        if one.fault == "none"
        for step in one.unseen
    ]


def _one(trial_id: TrialId, tamper: str) -> int:
    result = make_one(trial_id, tamper)
    stopped = f"stopped in step {result.step + 1}, {result.place}" if result.stopped else "not stopped"
    _print(f"{result.id}: {stopped}\n{result.judgement.outcome} {result.judgement.words}\n{result.log}")
    return 1 if result.judgement.outcome is Outcome.VIOLATION else 0


def _list() -> int:
    for operation in ALL.values():
        _print(f"{operation.name}: {operation.words}")
        for number in range(len(operation.steps)):
            _print(f"    {label(operation.steps, number)}")
        _print(f"    faults: {', '.join(fault.name for fault in operation.faults)}")
    return 0


def _kill_loop(kills: int) -> int:
    return subprocess.run([sys.executable, str(_KILL_LOOP), "--kills", str(kills)], check=False).returncode


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


def _print(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
