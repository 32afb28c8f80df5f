from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.config.durations import DurationFault, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900.0), ("15s", 15.0), ("1h30m", 5400.0), ("2d", 172800.0), ("1w", 604800.0), ("0.5s", 0.5), ("0s", 0.0)],
)
def test_duration_reads_numbers_with_units(text, seconds):
    """One or more parts, largest unit first."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("15", 'has no unit; write "15m", "15s" or "15h"'),
        (" 15 ", 'has no unit; write "15m"'),
        ("15 minutes", 'is not a duration; write "15m"'),
        ("15 min.", 'write "15m"'),
        ("15M", 'write "15m"'),
        ("2 Days", 'write "2d"'),
        ("30m1h", "is not a duration"),
        ("1h1h", "is not a duration"),
        ("", "is not a duration"),
        ("PT15M", "is not a duration"),
        ("-5m", "is not a duration"),
        ("99999999999999h", "is not a duration"),
        ("\u0661\u0665m", "is not a duration"),
    ],
)
def test_duration_says_what_to_write(text, what):
    """The message completes `"15" …`."""
    with pytest.raises(DurationFault) as caught:
        parse_duration(text)
    assert what in str(caught.value)


@given(st.integers(0, 10**8))
def test_duration_written_reads_back(seconds):
    """What is shown is what would be written."""
    assert parse_duration(format_duration(float(seconds))) == seconds
