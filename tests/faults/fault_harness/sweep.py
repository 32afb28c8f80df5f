"""Which trials are made, and making them: on every core a workshop of its own.

The lines of an operation are found by a first run. In a loop the same line comes again and again with nothing between
that anybody outside could see, so each line counts once in each step, at its first execution there, unless all are
asked for. `Plan` says how many of them are tried.
"""

from __future__ import annotations

import math
import os
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

from fault_harness import faults, syscalls
from fault_harness.operations import ALL
from fault_harness.trial import LINE_STOPS, Result, TrialId
from fault_harness.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.pool import Pool

    from fault_harness.faults import Fault
    from fault_harness.trial import Operation


#: The column of stops at system calls, asked for as a fault is.
CALLS = "calls"


@dataclass(frozen=True)
class Plan:
    """How much is tried. A `most` of 0 is no limit."""

    operations: Sequence[str]
    #: Names of faults; empty for all that an operation knows.
    faults: Sequence[str] = ()
    #: Index of the only step that is wanted.
    step: int | None = None
    #: Lines tried in each step: without a fault (and with a grace period), with one; and system calls.
    most: int = 14
    most_with_fault: int = 2
    most_calls: int = 6
    #: Instead: every so-manieth execution of a line, whatever its step.
    every: int = 0
    seed: int = 1
    #: Seconds after which no further trial is begun; 0 is no limit.
    budget: float = 0.0


@dataclass(frozen=True)
class Found:
    """What a counting run found of one operation under one fault."""

    operation: str
    fault: str
    #: Lines executed, and different ones (in different steps).
    lines: int
    distinct: int
    #: Steps that no line was executed in.
    unseen: tuple[int, ...]
    #: Each with its rank: the first ones of all steps come before the second ones of any.
    trials: tuple[tuple[int, TrialId], ...]


@contextmanager
def crew(size: int) -> Iterator[Pool]:
    """Processes that each hold a workshop. Forked before this process has any thread."""
    with get_context("fork").Pool(size, _move_in) as pool:
        yield pool
        pool.close()
        pool.join()


def find(pool: Pool, plan: Plan) -> list[Found]:
    """Count every operation under every fault, and choose the trials."""
    wanted = [
        (name, fault.name, plan)
        for name in plan.operations
        for fault in ALL[name].faults
        if not plan.faults or fault.name in plan.faults
    ]
    stops_at_calls = not syscalls.missing() and (not plan.faults or CALLS in plan.faults)
    calls = [(name, plan) for name in plan.operations] if stops_at_calls else []
    return [*pool.starmap(_find_lines, wanted, chunksize=1), *pool.starmap(_find_calls, calls, chunksize=1)]


def in_order(found: Sequence[Found], seed: int) -> list[TrialId]:
    """All trials by rank, and within a rank in a seeded order, so that the cores share slow ones."""
    ranked = [(rank, trial) for one in found for rank, trial in one.trials]
    random.Random(seed).shuffle(ranked)
    return [trial for _, trial in sorted(ranked, key=lambda each: each[0])]


def make(pool: Pool, trials: Sequence[TrialId], budget: float) -> Iterator[Result]:
    """Make the trials, as far as the seconds of `budget` reach (0: all); answers come as they end."""
    deadline = time.monotonic() + budget if budget else math.inf
    made = pool.imap_unordered(_make_in_time, [(trial, deadline) for trial in trials], chunksize=2)
    return (result for result in made if result is not None)


def make_one(trial_id: TrialId, tamper: str = "") -> Result:
    """One trial, alone, in this process; `tamper` is SQL for the store, between the stop and the restart."""
    _move_in()
    _workshops[-1].tamper = tamper
    return _make(trial_id)


#: The workshop of this process.
_workshops: list[Workshop] = []


def _move_in() -> None:
    workshop = Workshop()
    _workshops.append(workshop)
    Finalize(None, workshop.close, exitpriority=1)


def _make_in_time(task: tuple[TrialId, float]) -> Result | None:
    trial_id, deadline = task
    return _make(trial_id) if time.monotonic() < deadline else None


def _make(trial_id: TrialId) -> Result:
    operation = ALL[trial_id.operation]
    return _workshops[-1].run(operation, fault_of(operation, trial_id.fault), trial_id)


def fault_of(operation: Operation, name: str) -> Fault:
    """One of the operation's faults. Raises ValueError."""
    found = next((fault for fault in operation.faults if fault.name == name), None)
    if found is None:
        raise ValueError(f"{operation.name} knows no fault {name!r}: {', '.join(one.name for one in operation.faults)}")
    return found


def _find_lines(name: str, fault_name: str, plan: Plan) -> Found:
    operation = ALL[name]
    points = _workshops[-1].count(operation, fault_of(operation, fault_name))
    first: dict[tuple[int, str], int] = {}
    for number, point in enumerate(points, 1):
        first.setdefault(point, number)
    by_step: dict[int, list[int]] = {}
    for (step, _), number in first.items():
        by_step.setdefault(step, []).append(number)
    most = plan.most if fault_name in {faults.NONE.name, faults.GRACE.name} else plan.most_with_fault
    if plan.every:
        by_step = {step: [] for step in by_step}
        for number in range(1, len(points) + 1, plan.every):
            by_step[points[number - 1][0]].append(number)
        most = 0
    trials = [(0, TrialId(name, fault_name, 0, "exit"))] if plan.step is None else []
    for step, numbers in by_step.items():
        if plan.step in {None, step}:
            chosen = enumerate(_some(numbers, most, plan.seed))
            trials += [(rank, TrialId(name, fault_name, number, LINE_STOPS[number % 2])) for rank, number in chosen]
    unseen = tuple(step for step in range(len(operation.steps)) if step not in by_step)
    return Found(name, fault_name, len(points), len(first), unseen, tuple(trials))


def _find_calls(name: str, plan: Plan) -> Found:
    operation = ALL[name]
    calls = _workshops[-1].count_calls(operation, faults.NONE)
    by_step: dict[int, list[TrialId]] = {}
    for step, call, number in calls:
        by_step.setdefault(step, []).append(TrialId(name, faults.NONE.name, number, call))
    chosen = [
        ranked
        for step, trials in by_step.items()
        if plan.step in {None, step}
        for ranked in enumerate(_some(trials, plan.most_calls, plan.seed))
    ]
    return Found(name, CALLS, len(calls), len(calls), (), tuple(chosen))


def _some(items: list[Any], most: int, seed: int) -> list[Any]:
    """At most so many (0: all), in the order in which they are worth trying: any one, the last, the first, others."""
    dice = random.Random(seed)
    inner = items[1:-1]
    dice.shuffle(inner)
    order = [*inner[:1], *items[-1:], *(items[:1] if len(items) > 1 else []), *inner[1:]]
    return order[:most] if most else order


def cores() -> int:
    """How many processes are worth having."""
    return max(os.cpu_count() or 1, 1)
