"""Attempts and what they show of themselves."""

from __future__ import annotations

import pytest

from worker.accounts.enrolment import Attempt
from worker.errors import EnrolmentFailed
from worker.oauth.authorization import ExpectedCallback
from worker.redact import Secret


@pytest.fixture
def attempt() -> Attempt:
    """One that nobody has answered."""
    expected = ExpectedCallback("http://127.0.0.1:1/cb", "the-state")
    return Attempt(None, "acme", "https://provider.example/authorize?state=x", expected, Secret("the-verifier"), "n")


def test_attempt_is_spent_once(attempt):
    """The second time is refused, with what to do."""
    attempt.spend()
    with pytest.raises(EnrolmentFailed) as caught:
        attempt.spend()
    assert caught.value.hint == "start the enrolment again"


def test_attempt_shows_neither_state_nor_verifier(attempt):
    """In no repr."""
    shown = repr(attempt)
    assert "the-state" not in shown
    assert "the-verifier" not in shown
