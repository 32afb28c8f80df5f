"""How many rows a listing may take away before somebody is asked. Pure.

A share of the table is what an operator can say without knowing the data; what the job usually takes away says more.
So the share is the outer limit of a job that takes little away: ten times its usual number is enough for it. And a job
that usually takes much away may take twice that without asking every time.

A listing without a single row is what a wrong filter, a lost permission and a half-broken API look like. Where there
is more than one row it is never believed, whatever the numbers say, unless the brake is off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.errors import UsageFault
from worker.jobs.norms import ENOUGH, highest_usual

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Rows that may go without asking, however small the table is.
FEW = 20
#: Times its usual number that a calm job may take away, and one that takes much away.
_CALM, _BUSY = 10, 2
_RULE = re.compile(r"(\d{1,2}(?:\.\d+)?|100)\s*%|(\d+)|off")


@dataclass(frozen=True)
class Rule:
    """What the operator allows: a share of the rows, a number of rows, or (neither) everything."""

    share: float | None = 0.1
    rows: int | None = None

    @property
    def off(self) -> bool:
        """Whether nothing is ever held."""
        return self.share is None and self.rows is None


@dataclass(frozen=True)
class Gone:
    """What a listing says."""

    #: Rows that it does not name.
    rows: int
    #: Rows that are there.
    present: int
    #: Rows that it names.
    seen: int


@dataclass(frozen=True)
class Brake:
    """The brake of one run."""

    rule: Rule = field(default_factory=Rule)
    #: Table -> how many rows each of its last listings took away.
    history: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def objection(self, table: str, gone: Gone) -> str:
        """Why this is not to be done without asking; empty when it is."""
        if self.rule.off or not gone.rows:
            return ""
        if not gone.seen and gone.rows > 1:
            return f"the listing is empty, and {gone.rows} rows are there"
        limit = self.limit(table, gone.present)
        if gone.rows <= limit:
            return ""
        return f"{gone.rows} of {gone.present} rows would go; up to {limit} go without asking"

    def limit(self, table: str, present: int) -> int:
        """Rows that may go without asking."""
        if self.rule.rows is not None:
            return self.rule.rows
        assert self.rule.share is not None
        limit = int(present * self.rule.share)
        history = self.history.get(table, ())
        if len(history) >= ENOUGH:
            usual = highest_usual(history)
            limit = max(min(limit, int(_CALM * usual)), int(_BUSY * usual))
        return max(FEW, limit)


def read_rule(text: str) -> Rule:
    """`10%`, `50` (rows) or `off`. Raises UsageFault."""
    found = _RULE.fullmatch(text.strip().lower())
    if found is None:
        raise UsageFault(f'"{text}" is no limit', hint='write "10%", a number of rows, or "off"')
    if found[1] is not None:
        return Rule(float(found[1]) / 100)
    return Rule(None, int(found[2])) if found[2] is not None else Rule(None)
