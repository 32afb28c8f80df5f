"""Refreshes that fail for long are told of: once, with the last answer, and when they succeed again."""

from __future__ import annotations

import pytest
from account_house import at_once
from scripted_server import Answer

from worker.errors import Misconfigured, TryAgainLater
from worker.events import AccountFailing, AccountMoved, AccountRecovered

JSON = ("Content-Type", "application/json")
ODD = Answer(400, b'{"error": "flux_capacitor_cold"}', [JSON])
LOST = Answer(raw=lambda handler: handler.connection.close())
GOOD = Answer(200, b'{"access_token": "a2", "refresh_token": "r2", "expires_in": 60}', [JSON])
HOUR = 3600.0


@pytest.fixture
def meet(build, serve):
    """A house whose account meets these answers at the token endpoint."""

    def make(*answers):
        house = build(serve(*answers))
        house.admit()
        return house

    return make


def fail(house, name="acme"):
    with pytest.raises(TryAgainLater):
        house.refresh(house.account(name))


def pass_time(house, hours):
    """Look every half hour."""
    for _ in range(int(hours * 2)):
        house.clock.advance(HOUR / 2)
        house.refresher.tend()


@pytest.mark.parametrize("answer", [ODD, Answer(503, b"", []), Answer(200, b"<html>", []), LOST])
def test_failing_refresh_is_told_after_six_hours(meet, answer):
    """An unknown error, a busy server, a page, no answer at all: not before, and only once."""
    house = meet(answer)
    fail(house)
    pass_time(house, 5.5)
    assert house.told(AccountFailing) == []
    pass_time(house, 1)
    pass_time(house, 20)
    assert len(house.told(AccountFailing)) == 1


def test_alert_says_for_how_long_how_often_and_the_last_answer(meet):
    """`failing for 6 h, 2 attempts, last answer …`, with the status and the code."""
    house = meet(ODD)
    since = house.clock.now()
    fail(house)
    house.clock.advance(HOUR)
    fail(house)
    pass_time(house, 5)
    (event,) = house.told(AccountFailing)
    answer = "no new access token: 400, flux_capacitor_cold"
    assert event == AccountFailing(
        "arlo",
        "acme",
        since,
        2,
        answer,
        f"failing for 6 h, 2 attempts, last answer: {answer}",
        "worker accounts why arlo/acme",
    )
    assert house.store.timeline.of(house.account())[-1].kind == "alerted"


def test_alert_is_repeated_every_day(meet):
    """As long as it lasts."""
    house = meet(ODD)
    fail(house)
    pass_time(house, 6 + 24 + 24)
    assert len(house.told(AccountFailing)) == 3


def test_alert_is_told_once_by_all_processes(meet):
    """And not again after a restart: the store knows."""
    house = meet(ODD)
    fail(house)
    house.clock.advance(7 * HOUR)
    at_once([house.new_refresher().tend for _ in range(8)])
    house.new_refresher().tend()
    assert len(house.told(AccountFailing)) == 1


def test_threshold_is_the_integration_s(meet):
    """`alert_after`."""
    house = meet(ODD)
    house.configure(alert_after=HOUR)
    fail(house)
    pass_time(house, 1)
    assert len(house.told(AccountFailing)) == 1


def test_long_retry_after_is_honoured_and_told_at_once(meet):
    """Nothing will happen for twelve hours; so there is nothing to wait for with the telling."""
    house = meet(Answer(429, b"", [("Retry-After", "43200")]), GOOD)
    fail(house)
    house.refresher.tend()
    (event,) = house.told(AccountFailing)
    assert (event.attempts, event.last_answer) == (1, "no new access token: 429")
    assert "the next attempt at 2026-01-01T" in event.cause
    house.clock.advance(43199)
    fail(house)
    house.clock.advance(12000)
    assert house.refresh(house.account()).generation == 2


def test_recovery_after_an_alert_is_told(meet):
    """And the next failure begins anew."""
    house = meet(ODD, GOOD, ODD)
    fail(house)
    pass_time(house, 7)
    house.refresh(house.account())
    assert house.told(AccountRecovered) == [
        AccountRecovered("arlo", "acme", "a refresh succeeded, after 7 h of failures")
    ]
    fail(house)
    pass_time(house, 5)
    assert len(house.told(AccountFailing)) == 1


def test_recovery_without_an_alert_is_not_told(meet):
    """Nobody knew of anything."""
    house = meet(ODD, GOOD)
    fail(house)
    house.clock.advance(HOUR)
    house.refresh(house.account())
    assert house.told(AccountRecovered) == []


@pytest.mark.parametrize("state", ["paused", "needs_consent", "revoked"])
def test_account_that_nobody_refreshes_is_not_told_of(meet, state):
    """Its state says all there is."""
    from worker.store.records import Finding

    house = meet(ODD)
    fail(house)
    match state:
        case "paused":
            house.store.accounts.pause(house.account(), house.clock.now(), "")
        case "needs_consent":
            house.store.grants.flag(house.grant(), Finding("revoked", "x"), house.clock.now())
        case "revoked":
            house.store.grants.erase(house.account(), house.clock.now())
    pass_time(house, 7)
    assert house.told(AccountFailing) == []


def test_refused_client_is_an_incident_and_no_alert_of_each_account(meet):
    """One fault, told at once."""
    house = meet(Answer(401, b'{"error": "invalid_client"}', [JSON]))
    with pytest.raises(Misconfigured):
        house.refresh(house.account())
    pass_time(house, 7)
    assert house.told(AccountFailing) == []


def test_new_consent_takes_the_alarm_away(meet):
    """Nothing is failing any more."""
    house = meet(ODD)
    fail(house)
    pass_time(house, 7)
    house.admit(access_token="a9", refresh_token="r9")
    pass_time(house, 48)
    assert (len(house.told(AccountFailing)), house.grant().alerted_at) == (1, None)


def test_unknown_error_never_flags_the_account(meet):
    """However often: it stays active, and each attempt waits longer."""
    house = meet(ODD)
    waits = []
    for _ in range(14):
        with pytest.raises(TryAgainLater) as caught:
            house.refresh(house.account())
        waits.append(caught.value.after)
        house.clock.advance(2000)
    assert (house.account().state, house.told(AccountMoved)) == ("active", [])
    assert waits[:3] == pytest.approx([2, 4, 8], rel=0.25)
    assert waits[-1] == pytest.approx(900, rel=0.25)


def test_broken_discovery_backs_off_and_is_told(build, serve):
    """No token endpoint is known: it counts as a failure like any other, and is not asked for again at once."""
    provider = serve(Answer(503, b"", []))
    house = build(issuer=f'"{provider.origin}"')
    house.configure(token_url=None)
    house.admit()
    fail(house)
    asked = len(provider.asked)
    fail(house)
    assert len(provider.asked) == asked
    pass_time(house, 7)
    assert "no metadata" in house.told(AccountFailing)[0].last_answer
