"""A wrong clock, noticed by the provider's own Date at each token answer."""

from __future__ import annotations

import pytest

from worker.accounts.clock_watch import ClockWatch
from worker.accounts.enrolment import Choices
from worker.errors import EnrolmentFailed, WorkerError
from worker.events import IncidentClosed, IncidentOpened
from worker.sandbox import give_consent
from worker.store.records import CLOCK_SKEW


@pytest.fixture
def account(house):
    """One of a house that watches its clock."""
    house.events.subscribe(ClockWatch(house.store, house.clients, house.clock, house.events).hear)
    return house.enrol()


def set_our_clock(house, seconds):
    """And nobody else's."""
    house.clock.set_wall(house.clock.now() + seconds)
    house.sandbox.advance(-seconds)


def found(house):
    return house.store.incidents.find_open("arlo", CLOCK_SKEW)


def test_clock_that_is_right_opens_no_incident(house, account):
    """Nor does a second more or less."""
    house.refresh(account)
    assert found(house) is None


@pytest.mark.parametrize(("off", "words"), [(7382.0, "2 h 3 min ahead of"), (-7380.0, "2 h 3 min behind")])
def test_wrong_clock_opens_an_incident_that_says_by_how_much(house, account, off, words):
    """And compared with whom."""
    set_our_clock(house, off)
    house.refresh(account)
    cause = found(house).cause
    assert words in cause
    assert cause.endswith(house.sandbox.token_url.removesuffix("/token").partition("/oauth")[0])
    assert [event.kind for event in house.happened if isinstance(event, IncidentOpened)] == [CLOCK_SKEW]


def test_wrong_clock_is_told_once(house, account):
    """Every refresh finds it; the incident counts them."""
    set_our_clock(house, 7200.0)
    for _ in range(3):
        house.refresh(account)
    assert len([event for event in house.happened if isinstance(event, IncidentOpened)]) == 1
    assert found(house).occurrences == 3


def test_incident_is_closed_when_the_clock_is_right_again(house, account):
    """By the next token answer."""
    set_our_clock(house, 7200.0)
    house.refresh(account)
    set_our_clock(house, -7200.0)
    house.refresh(account)
    assert found(house) is None
    assert [event.kind for event in house.happened if isinstance(event, IncidentClosed)] == [CLOCK_SKEW]


def test_refusal_tells_of_the_clock_as_well(house, account):
    """Any answer has a Date, also one that brings no token."""
    set_our_clock(house, 7200.0)
    house.sandbox.fault("token", "http_503")
    with pytest.raises(WorkerError):
        house.refresh(account)
    assert found(house) is not None


def test_wrong_clock_does_not_keep_anybody_from_refreshing(house, account):
    """It is told, and the work goes on."""
    set_our_clock(house, -7200.0)
    generation = house.refresh(account).generation
    assert house.refresh(account).generation == generation + 1


def test_metadata_tell_of_the_clock_too(house):
    """Discovery is the first answer that a process hears."""
    set_our_clock(house, 7200.0)
    house.configure(issuer=house.sandbox.issuer)
    house.client.metadata()
    assert house.client.skew.wrong


def test_enrolment_that_fails_for_the_clock_says_so(house):
    """The ID token looks expired: by how much our clock is off stands beside it."""
    attempt = house.begin()
    callback = give_consent(attempt.url, "acme")
    set_our_clock(house, 10 * 86400 + 2)
    with pytest.raises(EnrolmentFailed, match=r"expired .*; the local clock is 10 d ahead of http") as caught:
        house.enrolment.finish(attempt, callback, Choices())
    assert "timedatectl" in caught.value.hint
