"""Faults of the integration: one incident for all its accounts, one call in each backoff, and what ends it."""

from __future__ import annotations

from functools import partial

import pytest
from account_house import at_once
from scripted_server import Answer

from worker.errors import Misconfigured, NeedsConsent, TryAgainLater, WorkerError
from worker.events import IncidentClosed, IncidentOpened
from worker.redact import Secret

JSON = ("Content-Type", "application/json")
CLIENT = Answer(401, b'{"error": "invalid_client"}', [JSON])
DEAD = Answer(400, b'{"error": "invalid_grant"}', [JSON])
GOOD = Answer(200, b'{"access_token": "a2", "refresh_token": "r2", "expires_in": 60}', [JSON])


@pytest.fixture
def meet(build, serve):
    """A house with so many accounts, named `a0` and so on, and the server that gives these answers."""

    def make(*answers, accounts=1, **options):
        token = serve(*answers, **options)
        house = build(token)
        for number in range(accounts):
            house.admit(f"a{number}", refresh_token=f"refresh-token-{number}")
        return house, token

    return make


def attempt(house, name):
    try:
        house.refresh(house.account(name))
    except WorkerError as error:
        return type(error)
    return None


def sweep(house, count):
    return [attempt(house, f"a{number}") for number in range(count)]


def test_hundred_accounts_meet_a_wrong_secret_with_one_call(meet):
    """One incident, one call; all accounts keep their state and their tokens."""
    house, token = meet(CLIENT, accounts=100)
    assert sweep(house, 100) == [Misconfigured] * 100
    assert (len(token.asked), len(house.told(IncidentOpened))) == (1, 1)
    assert {str(account.state) for account in house.store.accounts.list()} == {"active"}


def test_backoff_is_shared_and_grows(meet):
    """Thirty seconds, a minute, two …: each time one call, whoever makes it."""
    house, token = meet(CLIENT, accounts=20)
    for seconds, calls in ((0, 1), (29, 1), (20, 2), (59, 2), (20, 3), (119, 3), (40, 4)):
        house.clock.advance(seconds)
        sweep(house, 20)
        assert len(token.asked) == calls


def test_stampede_makes_one_call_for_each_backoff(meet):
    """Fifty threads in five processes at the moment when the backoff ends: one call."""
    house, token = meet(CLIENT, accounts=50)
    attempt(house, "a0")
    refreshers = [house.new_refresher() for _ in range(5)]
    accounts = [house.account(f"a{number}") for number in range(50)]
    crew = [partial(refreshers[place % 5].refresh, account.id, 1) for place, account in enumerate(accounts)]
    for calls in (2, 3):
        house.clock.advance(1000)
        at_once(crew)
        assert len(token.asked) == calls


def test_questions_on_their_way_together_count_as_one(meet):
    """Ten threads that met the wrong secret at the same moment do not push the next attempt hours away."""
    answered = Answer(401, CLIENT.body, [JSON])
    house, token = meet(answered, accounts=10)
    accounts = [house.account(f"a{number}") for number in range(10)]
    at_once([lambda account=account: house.refresh(account) for account in accounts])
    assert house.incident().not_before <= house.clock.now() + 30 * 1.25
    assert house.incident().occurrences == 1
    assert len(token.asked) <= 10


def test_attempt_that_was_taken_and_never_made_comes_back(meet):
    """Its process died: after two minutes somebody else may."""
    house, token = meet(CLIENT)
    attempt(house, "a0")
    house.clock.advance(100)
    assert house.store.incidents.claim("arlo", "client_refused", house.clock.now(), house.clock.now() + 120)
    attempt(house, "a0")
    assert len(token.asked) == 1
    house.clock.advance(121)
    attempt(house, "a0")
    assert len(token.asked) == 2


def test_new_secret_is_tried_at_once(meet):
    """`worker secrets set` releases the incident; the first success ends it, and missed runs become due."""
    house, _ = meet(CLIENT, GOOD, accounts=3)
    sweep(house, 3)
    account = house.account("a2")
    house.store.schedule.ensure("sync", {account.id: house.clock.now()})
    house.store.runs.skip(
        house.store.schedule.entry("sync", account.id), "incident", house.clock.now(), house.clock.now() + 9e5
    )
    assert house.store.incidents.release("arlo", "client_refused", house.clock.now())
    assert attempt(house, "a0") is None
    assert house.incident() is None
    assert house.store.schedule.entry("sync", account.id).next_due == house.clock.now()


def test_dead_grant_in_between_does_not_hold_the_others_up(meet):
    """It says nothing about the client: the next account may ask at once."""
    house, token = meet(CLIENT, DEAD, GOOD, accounts=3)
    sweep(house, 3)
    house.clock.advance(1000)
    assert sweep(house, 3) == [NeedsConsent, None, None]
    assert (house.incident(), len(token.asked)) == (None, 4)


def test_missing_secret_is_one_incident(meet):
    """For all accounts, without a call; it waits for nothing but the secret."""
    house, token = meet(GOOD, accounts=5)
    house.client._read_secret = lambda: None
    assert sweep(house, 5) == [Misconfigured] * 5
    assert (token.asked, len(house.told(IncidentOpened))) == ([], 1)
    house.client._read_secret = lambda: Secret("s")
    assert sweep(house, 5) == [None] * 5
    assert house.told(IncidentClosed)[0].cause == "a refresh succeeded"


def test_unreadable_secret_is_one_incident(meet):
    """A secret's file that is gone, a command that fails: told with the place, nothing spent."""

    def unreadable():
        raise Misconfigured("/run/secret cannot be read", hint="look at client_secret_file")

    house, token = meet(GOOD, accounts=5)
    house.client._read_secret = unreadable
    assert sweep(house, 5) == [Misconfigured] * 5
    assert (token.asked, house.incident().remedy) == ([], "look at client_secret_file")
    assert {str(account.state) for account in house.store.accounts.list()} == {"active"}


def test_address_that_cannot_be_asked_is_one_incident(meet):
    """The settings name something that is no address."""
    house, _ = meet(GOOD, accounts=3)
    house.configure(token_url=f"https://{'a' * 70}.example/token")
    sweep(house, 3)
    assert "cannot be asked" in house.incident().cause
    assert len(house.told(IncidentOpened)) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(404, b'{"message": "no such route"}', [JSON]), Misconfigured),
        (Answer(410, b'{"message": "gone"}', [JSON]), Misconfigured),
        (Answer(404, b"<html>", [("Content-Type", "text/html")]), TryAgainLater),
        (Answer(410, b"", []), TryAgainLater),
    ],
)
def test_moved_endpoint_is_an_incident_when_somebody_there_says_so(meet, answer, error):
    """A structured answer; a proxy's page with the same status is tried again later, bounded by the alert."""
    house, _ = meet(answer)
    assert attempt(house, "a0") is error
    assert (house.incident() is not None) == (error is Misconfigured)


def test_refused_certificate_is_told_at_once(meet, certified):
    """An incident of its own; nothing was sent, so every account goes on trying, and is not in doubt."""
    house, token = meet(GOOD, accounts=3, tls=certified)
    assert sweep(house, 3) == [TryAgainLater] * 3
    (opened,) = house.told(IncidentOpened)
    assert opened.kind == "certificate_refused"
    assert "worker doctor" in opened.remedy
    assert token.asked == []
    assert {str(account.state) for account in house.store.accounts.list()} == {"active"}


def test_refused_certificate_is_over_with_the_first_success(meet, certified, monkeypatch):
    """It was renewed, or its CA is named now."""
    house, _ = meet(GOOD, accounts=2, tls=certified)
    sweep(house, 2)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certified[0]))
    house.clock.advance(60)
    assert attempt(house, "a0") is None
    assert [event.kind for event in house.told(IncidentClosed)] == ["certificate_refused"]


def test_broken_tls_without_a_certificate_fault_is_no_incident(meet):
    """A server that speaks no TLS at all may be a proxy that restarts."""
    house, token = meet(GOOD)
    house.configure(token_url=token.origin.replace("http://", "https://") + "/token")
    assert attempt(house, "a0") is TryAgainLater
    assert house.told(IncidentOpened) == []


def test_unknown_host_is_tried_again_later(meet):
    """A resolver that is gone comes back; bounded by the alert."""
    house, _ = meet(GOOD)
    house.configure(token_url="http://no-such-host.invalid/token")
    assert attempt(house, "a0") is TryAgainLater
    assert (house.account("a0").state, house.store.grants.open_intents()) == ("active", [])
