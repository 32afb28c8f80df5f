"""How many deletions go without asking."""

from __future__ import annotations

import pytest

from worker.errors import UsageFault
from worker.jobs.brake import Brake, Gone, Rule, read_rule


@pytest.mark.parametrize(
    ("gone", "held"),
    [
        (Gone(20, 100, 80), False),
        (Gone(21, 100, 79), True),
        (Gone(100, 1000, 900), False),
        (Gone(101, 1000, 899), True),
        (Gone(1, 1, 0), False),
        (Gone(2, 2, 0), True),
        (Gone(0, 0, 0), False),
    ],
)
def test_brake_holds_more_than_twenty_rows_and_a_tenth(gone, held):
    """The default, for a job without a history; an empty listing is held however few rows there are."""
    assert bool(Brake().objection("t", gone)) is held


def test_brake_of_a_calm_job_is_ten_times_its_usual():
    """Fifty thousand of a million rows are less than a tenth, and a thousand times what this job takes away."""
    calm = Brake(history={"t": [40, 50, 45, 50, 55, 60, 50, 48]})
    assert calm.limit("t", 1_000_000) < 1000
    assert Brake().limit("t", 1_000_000) == 100_000


def test_brake_of_a_busy_job_asks_only_beyond_twice_its_usual():
    """Rows that live for a day: a third goes with every listing."""
    busy = Brake(history={"t": [300, 310, 290, 300, 305, 295, 300, 300]})
    assert not busy.objection("t", Gone(330, 1000, 670))
    assert busy.objection("t", Gone(800, 1000, 200))


def test_brake_history_of_a_few_listings_is_no_norm():
    """One quiet day says nothing."""
    assert Brake(history={"t": [0, 0, 0]}).limit("t", 1000) == 100


def test_brake_of_a_job_that_deletes_nothing_still_lets_a_few_rows_go():
    """Zero is no norm to multiply."""
    assert Brake(history={"t": [0] * 30}).limit("t", 1_000_000) == 20


@pytest.mark.parametrize(
    ("text", "rule"),
    [("10%", Rule(0.1)), ("2.5 %", Rule(0.025)), ("50", Rule(None, 50)), ("off", Rule(None)), ("100%", Rule(1.0))],
)
def test_brake_rule_reads_share_number_and_off(text, rule):
    """As an operator writes it."""
    assert read_rule(text) == rule


@pytest.mark.parametrize("text", ["", "ten", "-1", "101%", "10 rows"])
def test_brake_rule_that_says_nothing_is_refused(text):
    """Before it is taken for "off"."""
    with pytest.raises(UsageFault):
        read_rule(text)
