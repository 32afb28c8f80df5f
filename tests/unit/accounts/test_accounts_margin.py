"""How early a token counts as lapsed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.accounts.access import MARGIN, _margin


@given(st.floats(0.001, 1e9))
def test_margin_is_never_more_than_a_quarter_of_the_lifetime(lifetime):
    """Nor more than a second."""
    assert 0 < _margin(lifetime) <= min(lifetime / 4, MARGIN)


def test_margin_of_a_token_without_lifetime_is_none():
    """It does not lapse."""
    assert _margin(None) == 0
