"""How far a collection was read, and what is asked for next: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import WorkerError
from worker.jobs.rest.place import Place, mark, spelt
from worker.jobs.rest.resource import Increment

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def place(stored=None, **options):
    """The place of a collection."""
    return Place("customers", Increment("updated_at", "since", **options), stored)


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("2026-01-01T12:00:00Z", "2026-01-01T11:59:00Z"),
        ("2026-01-01T12:00:00.250Z", "2026-01-01T11:59:00.250Z"),
        ("2026-01-01T12:00:00.1234567Z", "2026-01-01T11:59:00.123456Z"),
        ("2026-01-01 12:00:00", "2026-01-01 11:59:00"),
        ("2026-01-01T12:00:00+02:00", "2026-01-01T11:59:00+02:00"),
        ("2026-01-01T12:00:00+0000", "2026-01-01T11:59:00+0000"),
        ("2026-01-02", "2026-01-01"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        (105, 105),
        ("105", "105"),
    ],
)
def test_place_reaches_back_in_the_apis_own_spelling(stored, asked):
    """One minute by default: rows that became visible late, and equal times at the border, come again."""
    assert place(stored).params == {"since": asked}


@pytest.mark.parametrize(("stored", "asked"), [(105, 95), ("105", "95")])
def test_place_reaches_back_in_numbers_when_told(stored, asked):
    """An overlap in numbers is for numbers."""
    assert place(stored, overlap=10).params == {"since": asked}


def test_place_asks_for_the_initial_value_and_for_everything_without_one():
    """The first run."""
    assert (place(initial="2020-01-01T00:00:00Z").params, place().params) == ({"since": "2020-01-01T00:00:00Z"}, {})


def test_place_compares_moments_and_not_texts():
    """Ten o'clock in New York is later than eleven in Berlin."""
    there = place()
    there.see(["2026-01-01T10:00:00-05:00", "2026-01-01T11:00:00+01:00"])
    there.advance()
    assert there.value == "2026-01-01T10:00:00-05:00"


def test_place_compares_numbers_that_came_as_text():
    """99 is less than 105, although not as text."""
    there = place()
    there.see(["99", "105", "9"])
    there.advance()
    assert there.value == "105"


def test_place_does_not_move_before_it_is_told_to():
    """Rows that were read are not yet delivered."""
    there = place("2026-01-01T00:00:00Z")
    there.see(["2026-01-01T12:00:00Z"])
    assert there.value == "2026-01-01T00:00:00Z"


def test_place_never_goes_back():
    """The overlap brings older rows; nothing new came."""
    there = place("2026-01-01T12:00:00Z")
    there.see(["2026-01-01T11:59:30Z"])
    there.advance()
    assert there.value == "2026-01-01T12:00:00Z"


def test_place_is_no_later_than_the_apis_clock_when_the_listing_began():
    """A row read early may have changed since, at a time before that of the last row."""
    there = place()
    there.answered(_NOON.timestamp())
    there.answered(_NOON.timestamp() + 600)
    there.see(["2026-01-01T11:00:00.000Z", "2026-01-01T12:05:00.000Z"])
    there.advance()
    assert there.value == "2026-01-01T12:00:00.000Z"


def test_place_of_a_sorted_list_follows_the_apis_clock():
    """A row that changes goes to the end of the list, and is read there."""
    there = place(ascending=True)
    there.answered(_NOON.timestamp())
    there.answered(_NOON.timestamp() + 600)
    there.see(["2026-01-01T11:00:00Z", "2026-01-01T12:05:00Z", "2030-01-01T00:00:00Z"])
    there.advance()
    assert there.value == "2026-01-01T12:10:00Z"


def test_place_refuses_a_sorted_list_that_is_not():
    """What earlier pages have claimed does not hold."""
    with pytest.raises(WorkerError, match="is not sorted"):
        place(ascending=True).see(["2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z", "2026-01-01T11:00:00Z"])


@pytest.mark.parametrize("value", ["next week", "01/02/2026", True, {"at": 1}, "2026-13-01T00:00:00Z"])
def test_mark_refuses_what_has_no_known_order(value):
    """Text that is compared as text would lose rows silently."""
    with pytest.raises(WorkerError, match="neither a time"):
        mark(value, "customers.updated_at")


def test_place_refuses_a_time_after_a_number():
    """The field was changed in the config; the stored place is of the other."""
    there = place(105)
    there.see(["2026-01-01T12:00:00Z"])
    with pytest.raises(WorkerError, match="one is a time") as refused:
        there.advance()
    assert "--since" in refused.value.hint


def test_place_refuses_an_overlap_in_numbers_for_times():
    """Nobody knows whether 5 are seconds or days."""
    with pytest.raises(WorkerError, match="overlap is the number 5"):
        _ = place("2026-01-01T12:00:00Z", overlap=5).params


@given(
    st.integers(86_400_000_000, 2**53).map(lambda microseconds: _EPOCH + timedelta(microseconds=microseconds)),
    st.sampled_from(["2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000+05:30", "2026-01-01 00:00:00"]),
)
def test_spelling_never_moves_a_moment_ahead(moment, like):
    """What does not fit is cut off, so that nothing is skipped."""
    assert mark(spelt(moment, like), "any").rank <= moment
