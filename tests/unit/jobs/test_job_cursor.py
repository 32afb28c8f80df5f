from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import WorkerError
from worker.jobs.cursor import from_text, merge, to_text

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_cursor_merge_keeps_what_is_not_named():
    """A checkpoint names only what moved."""
    assert merge({"a": 1, "b": 2}, {"b": 3}) == {"a": 1, "b": 3}


def test_cursor_merge_takes_out_what_is_none():
    """`ctx.cursor.get(name, default)` then gives the default again."""
    assert merge({"a": 1, "b": 2}, {"b": None}) == {"a": 1}


def test_cursor_merge_changes_neither_argument():
    """A failed commit must leave the old place as it was."""
    current = {"a": 1}
    merge(current, {"a": 2})
    assert current == {"a": 1}


@given(st.dictionaries(st.text(), _JSON.filter(lambda value: value is not None), max_size=4))
def test_cursor_reads_back_as_it_was_set(values):
    """Through its stored text."""
    merged = merge({}, values)
    assert from_text(to_text(merged), "here") == json.loads(json.dumps(values))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), r"cursor's changed is a datetime.*isoformat"),
        (Decimal(1), "cursor's changed is a Decimal"),
        (float("nan"), "cursor's changed is nan"),
        ({"a": [1, {2}]}, r"cursor's changed\.a\[1\] is a set"),
        ({1: 2}, "has the name 1"),
        (b"x", "is a bytes"),
    ],
)
def test_cursor_value_that_is_not_json_is_named(value, what):
    """At the line that set it."""
    with pytest.raises(WorkerError, match=what):
        merge({}, {"changed": value})


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_cursor_text_that_is_no_object_names_its_place(text):
    """A damaged file says which it is."""
    with pytest.raises(WorkerError, match=r"cursor in state/data\.db"):
        from_text(text, "state/data.db")
