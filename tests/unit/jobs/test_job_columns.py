from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.jobs.sinks.columns import Kind, declared, kind_of, restored, stored, wider

_KINDS = st.sampled_from(list(Kind))


@given(_KINDS, _KINDS, _KINDS)
def test_column_widening_does_not_depend_on_the_order(one, two, three):
    """Whatever order the rows come in, the column ends up the same."""
    assert wider(one, two) == wider(two, one)
    assert wider(wider(one, two), three) == wider(one, wider(two, three))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, None], Kind.BOOL),
        ([True, 2], Kind.INT),
        ([1, 2.5], Kind.REAL),
        ([1, "a"], Kind.TEXT),
        ([{"a": 1}, [1]], Kind.JSON),
        ([{"a": 1}, "a"], Kind.TEXT),
        ([b"a"], Kind.BLOB),
        ([b"a", 1], Kind.TEXT),
        ([2**63 - 1], Kind.INT),
        ([2**63], Kind.TEXT),
        ([-(2**70)], Kind.TEXT),
        ([2**53, 0.5], Kind.REAL),
        ([2**53 + 1, 0.5], Kind.TEXT),
        ([None], None),
    ],
)
def test_column_kind_holds_every_value(values, kind):
    """The narrowest that loses nothing."""
    assert kind_of(values) is kind


def test_column_kind_includes_what_is_there():
    """An int does not narrow a text column."""
    assert kind_of([1], Kind.TEXT) is Kind.TEXT


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (0.1 + 0.2, "0.30000000000000004"), (7, "7"), (b"\xff", "ff"), ([1, "ä"], '[1,"ä"]'), ("x", "x")],
)
def test_column_text_is_exact(value, text):
    """Every digit, and the same whether the value was there before the column became text or came after."""
    assert stored(value, Kind.TEXT) == text
    before = kind_of([value])
    assert restored(stored(value, before), before, Kind.TEXT) == text


@pytest.mark.parametrize(
    ("text", "kind"), [("bigint", Kind.INT), ("VARCHAR(9)", Kind.TEXT), ("double", Kind.REAL), ("", Kind.TEXT)]
)
def test_column_of_a_foreign_type_is_understood(text, kind):
    """As SQLite's affinity rules take it."""
    assert declared(text) is kind
