"""What is usual."""

from __future__ import annotations

import pytest

from worker.jobs.norms import REMEMBERED, remembered, unusual

STEADY = [100, 98, 103, 101, 99, 100, 102, 97, 100]


@pytest.mark.parametrize(("rows", "told"), [(100, False), (149, False), (50, False), (0, True), (160, True)])
def test_norm_tells_of_rows_that_are_far_from_the_median(rows, told):
    """Half of it more or less is no news, whatever the deviation."""
    assert bool(unusual(rows, STEADY)) is told


def test_norm_names_both_numbers():
    """For a person who reads a list of runs."""
    assert unusual(0, STEADY) == "0 rows, usually about 100 (the last 9 runs)"


def test_norm_needs_a_history():
    """Seven runs say nothing."""
    assert unusual(0, [100] * 7) == ""


def test_norm_is_not_moved_by_single_outliers():
    """A backfill among thirty runs."""
    assert unusual(0, [*STEADY, 1_000_000, 2_000_000])


def test_norm_of_a_job_that_varies_is_wide():
    """An incremental job brings what the day brought."""
    assert unusual(0, [5, 300, 40, 900, 120, 700, 10, 450]) == ""


def test_norm_remembers_the_last_thirty():
    """And no more."""
    assert remembered(list(range(40)), 7) == [*range(11, 40), 7][-REMEMBERED:]
