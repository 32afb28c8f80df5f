"""How far the local clock is off, by the Date of an answer."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.oauth.clock_skew import TOLERATED, measure

NOW = 1_767_225_600.0
ORIGIN = "https://auth.example.com"


def skew(date, asked_at=NOW, answered_at=NOW, **fields):
    return measure({"Date": date, **fields}, ORIGIN, asked_at=asked_at, answered_at=answered_at)


def at(moment):
    return formatdate(moment, usegmt=True)


@given(
    real=st.floats(1e9, 4e9),
    off=st.floats(-1e8, 1e8),
    there=st.floats(0, 200),
    back=st.floats(0, 200),
)
def test_skew_is_never_more_than_the_clock_is_off(real, off, there, back):
    """Whatever the network took: the local clock is `off`, and what is found is at most that, to the same side."""
    found = skew(at(int(real)), asked_at=real - there + off, answered_at=real + back + off)
    assert min(off, 0) - 0.001 <= found.ahead <= max(off, 0) + 0.001


@given(real=st.floats(1e9, 4e9), off=st.floats(-1e8, 1e8), took=st.floats(0, 30))
def test_skew_is_less_than_the_clock_is_off_by_the_round_trip_and_a_second_at_most(real, off, took):
    """A clock that is off by more than a minute, the way and that second, is found."""
    found = skew(at(int(real)), asked_at=real + off, answered_at=real + took + off)
    assert abs(found.ahead - off) <= took + 1.001


def test_skew_of_an_answer_out_of_a_cache_counts_its_age():
    """An hour old, and says so."""
    assert not skew(at(NOW - 3600), Age="3600").wrong


@pytest.mark.parametrize("off", [-TOLERATED - 1, TOLERATED + 2])
def test_skew_of_more_than_a_minute_is_wrong(off):
    """To either side."""
    assert skew(at(NOW - off)).wrong


@pytest.mark.parametrize("off", [-TOLERATED, -1, 0, 1, TOLERATED])
def test_skew_of_a_minute_is_tolerated(off):
    """Providers do the same."""
    assert not skew(at(NOW - off)).wrong


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 32 Jan 2026 00:00:00 GMT", "\x00", "9" * 400])
def test_skew_without_a_readable_date_is_unknown(date):
    """No Date, no judgement."""
    assert skew(date) is None


@pytest.mark.parametrize("age", ["-5", "soon", "inf", "nan", "1e400"])
def test_skew_is_not_fooled_by_a_strange_age(age):
    """Unknown, or as if there were none; never wrong."""
    found = skew(at(NOW), Age=age)
    assert found is None or not found.wrong
