"""The policy of the fleet breaker: how many refusals are too many, and when the canary is tried."""

from __future__ import annotations

import pytest

from worker.accounts.fleet import NEVER, MassRefusal

DEFAULT = MassRefusal(accounts=5, percent=20, within=600.0, hold=1800.0)


@pytest.mark.parametrize(
    ("refused", "alive"),
    [(1, 1), (2, 2), (3, 3), (4, 4), (4, 1000), (5, 26), (19, 100)],
)
def test_few_refusals_stand_for_themselves(refused, alive):
    """Fewer than five, or less than a fifth: each owner is told at once."""
    assert not DEFAULT.reached(refused, alive)


@pytest.mark.parametrize(("refused", "alive"), [(5, 5), (5, 25), (20, 100), (12, 40)])
def test_many_refusals_are_held(refused, alive):
    """At least five, and at least a fifth of those that work."""
    assert DEFAULT.reached(refused, alive)


@pytest.mark.parametrize("refused", [1, 5, 1000])
def test_zero_accounts_hold_nothing(refused):
    """`mass_refusal_accounts = 0`, and an integration that is not configured any more."""
    assert not MassRefusal(accounts=0, percent=1, within=600.0, hold=1800.0).reached(refused, refused)
    assert not NEVER.reached(refused, refused)


def test_probes_come_ever_more_rarely():
    """After 2, 5, 10, 20 and 30 minutes; then none."""
    times, now = [], 1000.0
    while (at := DEFAULT.next_probe(1000.0, now)) is not None:
        times.append(at - 1000.0)
        now = at
    assert times == pytest.approx([120, 300, 600, 1200, 1800])


def test_probes_that_nobody_made_are_left_out():
    """After a pause of a quarter of an hour the next one is the one at twenty minutes."""
    assert DEFAULT.next_probe(0.0, 900.0) == pytest.approx(1200)


def test_probes_go_on_when_the_clock_was_set_back():
    """Not after a year, when the clock is where it was."""
    assert DEFAULT.next_probe(1e6, 0.0) == pytest.approx(120)
