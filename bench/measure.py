"""Figures and how they are shown: quartiles, ratios, tables. Nothing here is ever asserted: machines are shared."""

from __future__ import annotations

import contextlib
import os
import statistics
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Effort:
    """How long a benchmark may take."""

    quick: bool

    def pick(self, full, quick):
        return quick if self.quick else full


@dataclass
class Result:
    """One benchmark's outcome: a table, and what it was measured with."""

    name: str
    title: str
    method: str
    rows: list[dict[str, object]] = field(default_factory=list)


@dataclass(frozen=True)
class Quartiles:
    """The middle half of some figures."""

    low: float
    median: float
    high: float

    def shown(self, digits=0):
        return f"{self.median:.{digits}f} [{self.low:.{digits}f}-{self.high:.{digits}f}]"


def quartiles(figures) -> Quartiles:
    """Lower quartile, median and upper quartile."""
    figures = sorted(figures)
    if len(figures) == 1:
        return Quartiles(figures[0], figures[0], figures[0])
    low, middle, high = statistics.quantiles(figures, n=4, method="inclusive")
    return Quartiles(low, middle, high)


def ratios(figures, base) -> Quartiles:
    """Figures against a base, paired by round: what disturbed a round disturbed both."""
    return quartiles([one / other for one, other in zip(figures, base, strict=True)])


def cores() -> tuple[set[int], set[int]]:
    """A core for the server and one for the client; twice the same set where there is only one."""
    ours = sorted(os.sched_getaffinity(0))
    return ({ours[0]}, {ours[-1]}) if len(ours) > 1 else (set(ours), set(ours))


@contextlib.contextmanager
def pinned(core):
    """This process stays on a core for the length of a block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def table(result: Result) -> str:
    """The result as plain text; the first column is a name, the others are figures."""
    names = list(result.rows[0])
    lines = [names, *([str(row.get(name, "")) for name in names] for row in result.rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(names))]
    shown = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([result.title, "=" * len(result.title), "", shown[0], rule, *shown[1:], "", result.method])
