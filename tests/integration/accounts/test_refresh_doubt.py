"""No answer: the provider may have rotated, and the new token is lost with the answer. What happens then."""

from __future__ import annotations

import pytest
import requests
from account_house import at_once
from scripted_server import Answer

from worker.errors import NeedsConsent, TryAgainLater, WorkerError
from worker.events import AccountFailing, AccountMoved

JSON = ("Content-Type", "application/json")
DEAD = Answer(400, b'{"error": "invalid_grant"}', [JSON])
GOOD = Answer(200, b'{"access_token": "a2", "refresh_token": "r2", "expires_in": 60}', [JSON])
LOST = Answer(raw=lambda handler: handler.connection.close())


@pytest.fixture
def impatient(house, sandbox):
    """The sandbox's integration with short timeouts, and an account."""
    house.configure(connect_timeout=1.0, read_timeout=0.3)
    house.enrol()
    return house


def fail(house) -> TryAgainLater:
    with pytest.raises(TryAgainLater) as caught:
        house.refresh(house.account())
    house.clock.advance(3000)
    return caught.value


@pytest.mark.parametrize("kind", ["timeout_after", "reset_after", "half_body", "drip", "timeout", "reset_before"])
def test_lost_answer_leaves_the_account_in_doubt(impatient, sandbox, kind):
    """Timeout, reset, half an answer, one that drips: the intent stays, and the account says so."""
    sandbox.fault("token", kind)
    fail(impatient)
    assert impatient.account().state == "in_doubt"
    assert impatient.grant().intent_started_at is not None
    assert [(event.before, event.after) for event in impatient.told(AccountMoved)] == [("active", "in_doubt")]


@pytest.mark.parametrize("kind", ["huge", "gzip_bomb", "garbage", "html", "redirect", "unauthorized", "forbidden"])
def test_unreadable_answer_is_tried_again_later(house, sandbox, kind):
    """An answer that nobody can read is an answer: the account keeps its state."""
    house.enrol()
    sandbox.fault("token", kind)
    fail(house)
    assert (house.account().state, house.store.grants.open_intents()) == ("active", [])
    assert house.refresh(house.account()).generation == 2


@pytest.mark.parametrize("kind", ["timeout", "reset_before"])
def test_doubt_ends_well_when_the_provider_had_not_acted(impatient, sandbox, kind):
    """The next use tries once with the same refresh token; it works, and the account is active again."""
    sandbox.fault("token", kind)
    fail(impatient)
    impatient.refresh(impatient.account())
    account = impatient.account()
    assert (account.state, account.reason, impatient.store.grants.open_intents()) == ("active", "", [])
    assert impatient.told(AccountMoved)[-1].after == "active"


@pytest.mark.parametrize("kind", ["timeout_after", "reset_after", "half_body"])
def test_doubt_ends_badly_as_lost_in_rotation(impatient, sandbox, kind):
    """The provider had rotated, and refuses the spent token: lost, not revoked, and the evidence says since when."""
    sandbox.fault("token", kind)
    fail(impatient)
    with pytest.raises(NeedsConsent, match="lost in rotation"):
        impatient.refresh(impatient.account())
    account = impatient.account()
    assert (account.state, account.cause) == ("needs_consent", "lost in rotation")
    assert "outcome is unknown" in impatient.store.timeline.of(account)[-1].evidence["after"]


def test_doubt_outlives_a_discovery_that_fails(build, serve):
    """Nothing is sent while the token endpoint is unknown, so nothing is known of the answer that was lost before."""
    house = build(serve(LOST, DEAD))
    house.admit()
    fail(house)
    endpoint = house.integration.token_url
    house.configure(token_url=None, issuer="http://127.0.0.1:9")
    fail(house)
    house.configure(token_url=endpoint, issuer=None)
    with pytest.raises(NeedsConsent, match="lost in rotation"):
        house.refresh(house.account())


def test_doubt_is_settled_by_a_grace_period(impatient, sandbox):
    """A provider that repeats a lost answer loses nothing."""
    sandbox.set(grace=86400.0)
    sandbox.fault("token", "reset_after")
    fail(impatient)
    assert impatient.refresh(impatient.account()).generation == 2
    assert impatient.session(impatient.account()).get("events/").status_code == 200


def test_account_in_doubt_still_uses_its_access_token(impatient, sandbox):
    """Only the refresh token is in doubt."""
    sandbox.fault("token", "timeout")
    with pytest.raises(TryAgainLater):
        impatient.refresh(impatient.account())
    assert impatient.session(impatient.account()).get("events/").status_code == 200


def test_doubt_outlives_a_busy_server(build, serve):
    """No answer, then 503, then a refusal: still lost in rotation."""
    token = serve(LOST, Answer(503, b"", []), DEAD)
    house = build(token)
    house.admit()
    fail(house)
    fail(house)
    with pytest.raises(NeedsConsent):
        house.refresh(house.account())
    assert house.account().cause == "lost in rotation"


def test_doubt_outlives_a_refused_client(build, serve):
    """No answer, then a wrong client secret, then a refusal: still lost in rotation."""
    from worker.errors import Misconfigured

    token = serve(LOST, Answer(401, b'{"error": "invalid_client"}', [JSON]), DEAD)
    house = build(token)
    house.admit()
    fail(house)
    with pytest.raises(Misconfigured):
        house.refresh(house.account())
    house.clock.advance(3000)
    with pytest.raises(NeedsConsent):
        house.refresh(house.account())
    assert house.account().cause == "lost in rotation"


@pytest.mark.parametrize("status", [200, 500, 502, 504])
def test_answer_that_may_hide_a_rotation_is_remembered(build, serve, status):
    """A proxy's page in place of the tokens: the account stays active, and a refusal later on is called lost."""
    token = serve(Answer(status, b"<html>oops</html>", [("Content-Type", "text/html")]), DEAD)
    house = build(token)
    house.admit()
    fail(house)
    assert house.account().state == "active"
    with pytest.raises(NeedsConsent):
        house.refresh(house.account())
    assert house.account().cause == "lost in rotation"


@pytest.mark.parametrize("status", [403, 408, 429, 503])
def test_answer_that_cannot_hide_a_rotation_casts_no_doubt(build, serve, status):
    """A busy server has not looked at the request: a refusal later on is a revocation."""
    token = serve(Answer(status, b"", []), DEAD)
    house = build(token)
    house.admit()
    fail(house)
    with pytest.raises(NeedsConsent):
        house.refresh(house.account())
    assert house.account().cause == "revoked"


def test_refused_connection_casts_no_doubt(build, serve):
    """Nobody was there: nothing was spent."""
    token = serve(DEAD)
    house = build(token)
    good = house.integration.token_url
    house.configure(token_url="http://127.0.0.1:9/token")
    house.admit()
    fail(house)
    house.configure(token_url=good)
    with pytest.raises(NeedsConsent):
        house.refresh(house.account())
    assert house.account().cause == "revoked"


def test_doubt_is_gone_after_a_success(build, serve):
    """A later refusal is judged by itself."""
    token = serve(LOST, GOOD, DEAD)
    house = build(token)
    house.admit()
    fail(house)
    house.refresh(house.account())
    with pytest.raises(NeedsConsent):
        house.refresh(house.account())
    assert house.account().cause == "revoked"


def test_doubt_is_gone_after_a_consent(build, serve):
    """The human's new grant has no past."""
    token = serve(LOST, DEAD)
    house = build(token)
    house.admit()
    fail(house)
    house.admit(access_token="a9", refresh_token="r9")
    assert (house.account().state, house.store.grants.open_intents()) == ("active", [])
    with pytest.raises(NeedsConsent):
        house.refresh(house.account())
    assert house.account().cause == "revoked"


def test_next_use_of_an_account_in_doubt_sends_the_same_refresh_token_once(build, serve):
    """And not again before the time it then names."""
    token = serve(LOST)
    house = build(token)
    house.admit()
    fail(house)
    for _ in range(3):
        with pytest.raises(TryAgainLater):
            house.refresh(house.account())
    assert [asked.form["refresh_token"] for asked in token.asked] == ["refresh-token-1"] * 2


#: Everything that lets the provider rotate and loses its answer.
LOSSES = ["reset_after", "timeout_after", "half_body", "502", "504", "unreadable"]


@pytest.fixture
def lose(impatient, sandbox, serve):
    """Loses the answer to one refresh, after the provider has acted on it."""

    def make(kind):
        if kind in {"502", "504", "unreadable"}:
            status = 200 if kind == "unreadable" else int(kind)
            proxy = serve(Answer(status, b"<html>", [("Content-Type", "text/html")], before=lambda: forward(proxy)))
            impatient.configure(token_url=f"{proxy.origin}/token")
            fail(impatient)
            impatient.configure(token_url=sandbox.token_url)
        else:
            sandbox.fault("token", kind)
            fail(impatient)
        return impatient

    def forward(proxy):
        asked = proxy.asked[-1]
        headers = {name: asked.headers[name] for name in ("authorization", "content-type")}
        assert requests.post(sandbox.token_url, data=asked.body, headers=headers, timeout=10).ok

    return make


@pytest.mark.parametrize("kind", LOSSES)
def test_lost_rotation_costs_one_guarded_attempt(lose, sandbox, kind):
    """Two calls in all: the one whose answer was lost, and the one that found out. Nobody calls it revoked."""
    house = lose(kind)
    for _ in range(3):
        with pytest.raises(NeedsConsent, match="lost in rotation"):
            house.refresh(house.account())
        house.clock.advance(3000)
    assert (house.refresh_calls, house.account().cause) == (2, "lost in rotation")
    assert "revoked" not in house.account().reason


@pytest.mark.parametrize("kind", LOSSES)
def test_grace_period_makes_a_loss_unnoticed(lose, sandbox, kind):
    """The answer is repeated: the account is active, nobody is told of anything but the doubt and its end."""
    sandbox.set(grace=86400.0)
    house = lose(kind)
    assert house.refresh(house.account()).generation == 2
    assert (house.account().state, house.refresh_calls) == ("active", 2)
    assert sandbox.stats()["reuse_detected"] == 0
    assert {str(event.after) for event in house.told(AccountMoved)} <= {"in_doubt", "active"}
    kinds = [entry.kind for entry in house.store.timeline.of(house.account())]
    assert kinds[-2:] in (["refresh_failed", "refreshed"], ["refreshed", "state"])


@pytest.mark.parametrize("kind", ["reset_after", "502"])
def test_guarded_attempt_is_one_however_many_ask(lose, kind):
    """Eight threads in four processes: one call, and all are told the same."""
    house = lose(kind)
    account = house.account()
    refreshers = [house.new_refresher() for _ in range(4)]
    results = at_once([lambda place=place: refreshers[place % 4].refresh(account.id, 1) for place in range(8)])
    assert {type(result) for result in results} == {NeedsConsent}
    assert house.refresh_calls == 2


@pytest.mark.parametrize("kind", ["reset_after", "502"])
def test_doubt_outlives_a_restart_and_a_pause(lose, kind):
    """What is unknown stays unknown while the operator has set the account aside."""
    house = lose(kind)
    house.store.accounts.pause(house.account(), house.clock.now(), "")
    with pytest.raises(WorkerError, match="paused"):
        house.refresh(house.account())
    house.refresher = house.new_refresher()
    house.store.accounts.resume(house.account(), house.clock.now())
    with pytest.raises(NeedsConsent, match="lost in rotation"):
        house.refresh(house.account())
    assert house.refresh_calls == 2


def test_doubt_of_an_account_paused_meanwhile_is_settled_after_the_pause(impatient, sandbox, serve):
    """The pause came while the request was on its way: no move is told, and the doubt is not forgotten."""
    account = impatient.account()
    slow = serve(
        Answer(
            before=lambda: impatient.store.accounts.pause(account, impatient.clock.now(), ""),
            raw=lambda handler: handler.connection.close(),
        )
    )
    impatient.configure(token_url=f"{slow.origin}/token")
    fail(impatient)
    assert (impatient.account().state, impatient.told(AccountMoved)) == ("paused", [])
    impatient.configure(token_url=sandbox.token_url)
    sandbox.revoke("acme")
    impatient.store.accounts.resume(impatient.account(), impatient.clock.now())
    with pytest.raises(NeedsConsent, match="lost in rotation"):
        impatient.refresh(impatient.account())


def test_provider_that_never_answers_is_asked_ever_more_rarely(build, serve):
    """Each attempt may be the one; so they go on, but a quarter of an hour apart, and somebody is told after six."""
    token = serve(LOST)
    house = build(token)
    house.admit()
    for _ in range(24 * 60):
        with pytest.raises(TryAgainLater):
            house.refresh(house.account())
        house.refresher.tend()
        house.clock.advance(60)
    assert 80 <= len(token.asked) <= 110
    assert {asked.form["refresh_token"] for asked in token.asked} == {"refresh-token-1"}
    assert (house.account().state, len(house.told(AccountFailing))) == ("in_doubt", 1)


def test_slow_answer_is_no_lost_answer(impatient, sandbox):
    """One that takes its time, and comes whole within the read timeout."""
    impatient.configure(read_timeout=20.0)
    sandbox.fault("token", "slow", delay=0.5)
    assert impatient.refresh(impatient.account()).generation == 2
    assert impatient.told(AccountMoved) == []
