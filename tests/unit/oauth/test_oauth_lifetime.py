"""Lifetimes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.oauth.lifetime import access_lifetime, read_moment, refresh_lifetime

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("given_value", "seconds"),
    [
        (3600, 3600),
        ("3600", 3600),
        (" 3600 ", 3600),
        (3599.9, 3599),
        ("3600.0", 3600),
        (0, None),
        (-1, None),
        ("-1", None),
        (0.5, None),
        (None, None),
        (True, None),
        (False, None),
        ("soon", None),
        ("", None),
        ([], None),
        ({}, None),
        ([3600], None),
        (float("nan"), None),
        (float("inf"), None),
        (1e300, None),
        (10**40, None),
        ("9" * 5000, None),
        (315_360_000, 315_360_000),
    ],
)
def test_expires_in_is_whole_seconds_or_unknown(given_value, seconds):
    """Zero, less than zero and for ever are unknown lifetimes, not tokens that are always expired."""
    assert access_lifetime({"expiresin": given_value}, now=NOW) == seconds


@pytest.mark.parametrize(("unit", "seconds"), [("seconds", 1800), ("milliseconds", 1), ("minutes", 108_000)])
def test_expires_in_has_the_unit_of_the_settings(unit, seconds):
    """A unit cannot be told from the number."""
    assert access_lifetime({"expiresin": 1800}, now=NOW, unit=unit) == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("expiresat", NOW + 600),
        ("expiresat", str(int(NOW) + 600)),
        ("expiresat", (int(NOW) + 600) * 1000),
        ("expiresat", "2026-01-01T00:10:00Z"),
        ("expiretime", "2026-01-01T00:10:00.000+0000"),
        ("expiresat", "2026-01-01T00:10:00"),
        ("expires", "Thu, 01 Jan 2026 00:10:00 GMT"),
        ("expires", 600),
        ("expires", "600"),
        ("expires", int(NOW) + 600),
        ("expireson", int(NOW) + 600),
        ("accesstokenexpiration", int(NOW) + 600),
        ("accesstokenexpirein", int(NOW) + 600),
    ],
)
def test_lifetime_under_other_names_is_found(name, value):
    """Absolute times count from now; `expires` is either, told by its size."""
    assert access_lifetime({name: value}, now=NOW) == 600


def test_lifetime_falls_back_to_the_readable_member():
    """An unreadable expires_in does not hide a readable moment."""
    assert access_lifetime({"expiresin": None, "expiresat": NOW + 5}, now=NOW) == 5


def test_lifetime_that_is_over_is_unknown():
    """A moment in the past says that one of two clocks is wrong, not that a new token is dead."""
    assert access_lifetime({"expiresat": NOW - 5}, now=NOW) is None


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("refreshtokenexpiresin", 15_811_200, 15_811_200),
        ("refreshexpiresin", 0, None),
        ("xrefreshtokenexpiresin", "8726400", 8_726_400),
        ("refreshtokenexpiresat", NOW + 9, 9),
    ],
)
def test_refresh_lifetime_is_read_too(name, value, seconds):
    """It tells when a human will be needed."""
    assert refresh_lifetime({name: value}, now=NOW) == seconds


@pytest.mark.parametrize(
    "text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_moment_is_read_in_every_http_form(text):
    """RFC 9110 section 5.6.7: the form of today and the two obsolete ones."""
    assert read_moment(text) == 784_111_777.0


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,4} [A-Z][a-z]{2} \d{1,6} \d+:\d+:\d+ .{0,8}"))
def test_moment_of_any_text_raises_nothing(text):
    """An unreadable date is None."""
    read_moment(text)
