"""How long to wait after a failure. Pure: chance comes as an argument."""

from __future__ import annotations

#: Seconds after the first failure, doubled with each more.
FIRST = 2.0
#: A provider that is down for a day is asked every quarter of an hour.
LONGEST = 900.0
#: A wait is lengthened by up to this part, so that accounts which failed together do not come back together.
SPREAD = 0.25


def wait_after(failures: int, asked: float | None, chance: float, *, first: float = FIRST) -> float:
    """Seconds until the next attempt after so many failures in a row (1 or more).

    `asked` is what the other side asked for (Retry-After), honoured whole; `chance` lies in 0..1.
    """
    own = min(first * 2.0 ** min(failures - 1, 20), LONGEST)
    return max(own, asked or 0.0) * (1 + SPREAD * chance)
