"""How long to wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.accounts.backoff import LONGEST, SPREAD, wait_after

failures = st.integers(1, 10_000)
chance = st.floats(0, 1)


def test_wait_doubles_with_each_failure():
    """From two seconds on."""
    assert [wait_after(count, None, 0.0) for count in (1, 2, 3, 4)] == [2.0, 4.0, 8.0, 16.0]


@given(failures, chance)
def test_wait_has_an_upper_end(count, part):
    """A provider that is down for a day is asked every quarter of an hour or so."""
    assert 2.0 <= wait_after(count, None, part) <= LONGEST * (1 + SPREAD)


@given(failures, st.floats(0, 1e9), chance)
def test_wait_is_never_shorter_than_asked_for(count, asked, part):
    """Retry-After counts whole, and for as long as it says."""
    assert wait_after(count, asked, part) >= asked


@given(failures)
def test_wait_is_spread(count):
    """Accounts that failed together come back one after the other."""
    assert wait_after(count, None, 1.0) > wait_after(count, None, 0.0)
