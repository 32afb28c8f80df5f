"""How far the local clock is off, by the Date of an answer. Pure: the moments come as arguments.

Tokens and ID tokens are compared with the provider's clock whether we like it or not; an hour's difference makes them
look expired, or not valid yet, and nothing in the provider's answers says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds that are no fault: what a machine without a time service may be off, and what providers tolerate.
TOLERATED = 60.0
#: Digits of an Age; RFC 9111 section 1.2.2 has ten.
_LONGEST_AGE = 10


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """The local clock beside somebody else's."""

    #: Seconds, at least; negative: behind. 0 when the difference may be the time that the answer took.
    ahead: float
    #: Whose clock it is: `https://host[:port]`.
    origin: str

    @property
    def wrong(self) -> bool:
        """Whether it is more than can be tolerated."""
        return abs(self.ahead) > TOLERATED


def measure(fields: Mapping[str, str], origin: str, *, asked_at: float, answered_at: float) -> ClockSkew | None:
    """Compare with an answer's Date (RFC 9110 section 6.6.1), which has whole seconds; None without one.

    An answer out of a cache carries the Date of the day it was made, and its Age since (RFC 9111 section 5.1).
    """
    try:
        moment = parsedate_to_datetime(fields.get("Date", "")).timestamp()
        moment += int(fields.get("Age", "0")[:_LONGEST_AGE])
    except (TypeError, ValueError, OverflowError):
        return None
    # Any moment between asking and being answered is right, and any within the second that the field names.
    return ClockSkew(max(asked_at - moment - 1.0, 0.0) or min(answered_at - moment, 0.0), origin)
