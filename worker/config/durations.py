"""Lengths of time as people write them in the config: `15m`, `1h30m`, `90d`. A number without a unit is refused,
because half the readers take it for seconds and the other half for minutes.
"""

from __future__ import annotations

import re

#: Seconds per unit, longest first.
UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}

# Nine digits at most, so that no text can become an infinite number of seconds.
_PART = r"(?:(\d{1,9}(?:\.\d{1,6})?)%s)?"
_DURATION = re.compile("".join(_PART % unit for unit in UNITS), re.ASCII)
_NUMBER = re.compile(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*", re.ASCII)
_WORDY = re.compile(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*([smhdw])[a-z]*\.?\s*", re.IGNORECASE | re.ASCII)


class DurationFault(ValueError):
    """The text is no length of time; the message says what to write instead."""


def parse_duration(text: str) -> float:
    """Seconds. Raises DurationFault, whose message leaves out the text itself (`has no unit; write "15m" …`)."""
    match = _DURATION.fullmatch(text)
    if match and any(match.groups()):
        return sum(float(part) * size for part, size in zip(match.groups(), UNITS.values(), strict=True) if part)
    number = _NUMBER.fullmatch(text)
    if number:
        raise DurationFault(f"has no unit; {units_for(number[1])}")
    wordy = _WORDY.fullmatch(text)
    if wordy:
        raise DurationFault(f'is not a duration; write "{wordy[1]}{wordy[2].lower()}"')
    raise DurationFault('is not a duration; write a number and a unit, e.g. "30s", "15m", "1h30m" or "2d"')


def units_for(number: object) -> str:
    """What to write instead of a bare number: `write "15m", "15s" or "15h"`."""
    return f'write "{number}m", "{number}s" or "{number}h"'


def format_duration(seconds: float) -> str:
    """The text that reads back as `seconds`: `1h30m`."""
    parts = []
    rest = seconds
    for unit, size in list(UNITS.items())[:-1]:
        count = int(rest // size)
        rest -= count * size
        parts.append(f"{count}{unit}" if count else "")
    last = f"{round(rest, 6):g}s" if rest else ""
    return "".join(parts) + last or "0s"
