"""How rows differ from before."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from worker.jobs.shapes import Shape, drift


def shape_of(*rows):
    """What these rows look like."""
    shape = Shape()
    for row in rows:
        shape.note(row)
    return shape


def known(*rows):
    """What is known after a run with these rows."""
    return drift("t", {}, shape_of(*rows), whole=True).columns


def test_first_run_makes_the_norm_and_tells_nothing():
    """Nothing is new when everything is."""
    assert drift("t", {}, shape_of({"id": 1}), whole=True).sentences == ()


def test_column_that_appears_is_told():
    """With the kind of its values."""
    assert drift("t", known({"id": 1}), shape_of({"id": 1, "vip": True}), whole=True).sentences == (
        "t.vip is new: boolean",
    )


def test_column_that_a_whole_run_lacks_is_told_once():
    """Twenty rows without it are no chance, and the next run tells nothing new."""
    without = shape_of(*({"id": n} for n in range(20)))
    found = drift("t", known({"id": 1, "vip": True}), without, whole=True)
    assert found.sentences == ("t.vip is gone: none of 20 rows has it",)
    assert drift("t", found.columns, without, whole=True).sentences == ()


@pytest.mark.parametrize(("rows", "whole"), [(19, True), (100, False)])
def test_column_that_a_few_rows_lack_is_no_news(rows, whole):
    """Nor one that a run lacks which was cut short."""
    without = shape_of(*({"id": n} for n in range(rows)))
    assert drift("t", known({"id": 1, "vip": True}), without, whole=whole).sentences == ()


def test_column_that_comes_back_is_told():
    """After it was gone."""
    gone = drift("t", known({"id": 1, "vip": True}), shape_of(*({"id": n} for n in range(20))), whole=True)
    assert drift("t", gone.columns, shape_of({"id": 1, "vip": False}), whole=True).sentences == ("t.vip is back",)


def test_kind_that_changes_is_a_change_and_told_once():
    """Text where numbers were."""
    found = drift("t", known({"price": 1}), shape_of({"price": "1,00"}), whole=False)
    assert found.changes == ("t.price was number, and now holds text",)
    assert drift("t", found.columns, shape_of({"price": "2"}), whole=True).changes == ()


@pytest.mark.parametrize("value", [1.5, Decimal("1.50"), None])
def test_kind_is_a_family_of_types(value):
    """JSON writes the same price either way, and None says nothing."""
    assert drift("t", known({"price": 1}), shape_of({"price": value}), whole=True).sentences == ()


def test_column_that_was_empty_so_far_takes_any_kind():
    """It had none before."""
    assert drift("t", known({"note": None}), shape_of({"note": "x"}), whole=True).changes == ()


def test_shape_of_rows_with_very_many_different_fields_stays_small():
    """Two thousand shapes are summed up on the way."""
    shape = shape_of(*({"id": n, f"field{n}": n} for n in range(2000)))
    assert len(shape.columns) == 2001


def note_many(shape, first):
    """6000 rows of 3000 shapes."""
    for row in range(6000):
        shape.note({f"c{(7 * row + first) % 3000}": 1})


def test_shape_takes_rows_from_several_threads():
    """Streams of one run may share a table; with many shapes one sums up while another adds."""
    shape, interval = Shape(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(note_many, [shape] * 4, range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert (shape.rows, len(shape.columns)) == (24000, 3000)
