"""`worker accounts release` and `confirm`: the operator decides about held refusals, and what he is shown of them."""

from __future__ import annotations

import json

import pytest

from worker.store.records import Finding

REFUSED = Finding("revoked", "the provider refuses the refresh token (invalid_grant)", {"status": 400})


@pytest.fixture
def held(place):
    """Five accounts that were refused within a moment."""
    from worker.accounts.fleet import MassRefusal

    store, now = place.wiring.store, place.wiring.clock.now()
    for number in range(5):
        account = place.enroll(f"a{number}")
        rule = MassRefusal(accounts=5, percent=20, within=600.0, hold=1800.0)
        store.holds.refuse(store.grants.read(account.id), REFUSED, now, rule)
    return place


def integration(place):
    return place.wiring.store.accounts.list()[0].integration


@pytest.mark.parametrize(("command", "state"), [("release", "active"), ("confirm", "needs_consent")])
def test_decision_moves_everybody_who_is_held(held, command, state):
    """Those who had been flagged before too; and it is asked for once."""
    ended = held.command("--json", "accounts", command, integration(held))
    assert (ended.returncode, {row["state"] for row in json.loads(ended.stdout)}) == (0, {state})
    assert {str(account.state) for account in held.wiring.store.accounts.list()} == {state}
    again = held.command("accounts", command, integration(held))
    assert (again.returncode, "are held" in again.stderr) == (2, True)


def test_held_account_says_who_decides(held):
    """`why` and `status` name the incident, the canary and the commands."""
    why = held.command("accounts", "why", integration(held), "a4").stdout
    assert "a canary account decides" in why
    status = held.command("status")
    assert status.returncode == 3
    assert "5 of 5 accounts" in status.stdout
    assert f"worker accounts release {integration(held)}" in status.stdout


def test_status_shows_the_last_answer_of_a_failing_refresh(place):
    """For how long, how often, and whether somebody was told."""
    account = place.enroll("acme")
    store, now = place.wiring.store, place.wiring.clock.now()
    finding = Finding("try again later", "no new access token: 503, temporarily_unavailable", {})
    store.grants.fail_refresh(store.grants.read(account.id), finding, now - 7 * 3600, not_before=now)
    store.failing.tell(account.integration, 6 * 3600.0, now)
    shown = place.command("status").stdout
    assert "refresh failing for 7 h, 1 attempt, told" in shown
    assert "last answer: no new access token: 503, temporarily_unavailable" in shown
