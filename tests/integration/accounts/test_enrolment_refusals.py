"""Every way in which an enrolment ends without a grant: a clear message, nothing stored, nothing changed."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from account_house import REDIRECT
from scripted_server import Answer

from worker.accounts.enrolment import Choices
from worker.errors import EnrolmentFailed, Misconfigured, TryAgainLater
from worker.sandbox import give_consent


def changed(back: str, **changes: str | None) -> str:
    """An answer with some parameters replaced, or left out for None."""
    parts = urlsplit(back)
    parameters = dict(parse_qsl(parts.query)) | changes
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    return parts._replace(query=query).geturl()


@pytest.fixture(params=["new", "existing"])
def untouched(request, house):
    """Checks at its end that nothing was stored for a new account, or nothing changed for an existing one."""
    before = None
    if request.param == "existing":
        house.consent(user="alice")
        before = house.grant(), house.refresh_token(), house.store.timeline.of(house.account())
    yield house
    if before is None:
        assert house.store.accounts.find("arlo", "acme") is None
    else:
        assert (house.grant(), house.refresh_token(), house.store.timeline.of(house.account())) == before
        assert house.refresh(house.account()).generation == 2


def fails(house, back, error=EnrolmentFailed, match=None):
    attempt = house.begin()
    with pytest.raises(error, match=match) as caught:
        house.enrolment.finish(attempt, back(attempt), Choices())
    return caught.value


def consented(**changes):
    return lambda attempt: changed(give_consent(attempt.url, "alice"), **changes)


def test_refused_consent(untouched):
    """The human said no."""
    error = fails(
        untouched, lambda attempt: give_consent(attempt.url, "alice", allow=False), match="consent was refused"
    )
    assert (error.exit_code, error.evidence["error"]) == (1, "access_denied")


def test_wrong_state(untouched):
    """Somebody else's answer."""
    fails(untouched, consented(state="forged"), match="another attempt")


def test_missing_state(untouched):
    """Nobody's answer."""
    fails(untouched, consented(state=None), match="no state")


def test_answer_to_an_earlier_attempt(untouched):
    """Each has a state of its own."""
    earlier = untouched.begin()
    fails(untouched, lambda _: give_consent(earlier.url, "alice"), match="another attempt")


def test_wrong_issuer(untouched, sandbox):
    """Another provider's answer (RFC 9207): the code is not sent anywhere."""
    untouched.configure(issuer=sandbox.issuer)
    sandbox.set(callback_iss="wrong")
    sandbox.reset_stats()
    fails(untouched, consented(), match="issuer")
    assert sandbox.stats()["token_calls_total"] == 0


def test_missing_issuer_though_advertised(untouched, sandbox):
    """A provider that always names itself has not answered this."""
    untouched.configure(issuer=sandbox.issuer)
    sandbox.set(callback_iss="absent")
    fails(untouched, consented(), match="does not name its issuer")


def test_missing_issuer_that_is_not_advertised_is_fine(house, sandbox):
    """Most providers do not send it yet."""
    sandbox.set(callback_iss="absent", iss_advertised=False)
    house.configure(issuer=sandbox.issuer)
    assert house.consent().created


@pytest.mark.parametrize(
    "place",
    [
        "http://127.0.0.1:8766/callback",
        "http://127.0.0.1:8765/callback/",
        "http://localhost:8765/callback",
        "https://127.0.0.1:8765/callback",
        "http://127.0.0.1:8765/CALLBACK",
    ],
)
def test_wrong_redirect_uri(untouched, place):
    """Scheme, host, port and path are compared exactly."""
    fails(untouched, lambda attempt: f"{place}?code=x&state={attempt.expected.state}", match="redirect URI")


@pytest.mark.parametrize("text", ["", "hello", "http://127.0.0.1:8765/callback", "code=abc", "\x00"])
def test_what_is_no_answer(untouched, text):
    """Something else was pasted."""
    fails(untouched, lambda _: text)


def test_two_codes(untouched):
    """One of them is forged."""
    fails(untouched, lambda attempt: give_consent(attempt.url, "alice") + "&code=other", match="more than once")


def test_unknown_code(untouched):
    """Made up."""
    error = fails(untouched, consented(code="made-up"), match="refuses the authorization code")
    assert error.evidence["error"] == "invalid_grant"


def test_expired_code(untouched, sandbox):
    """The human pasted it after lunch."""

    def late(attempt):
        back = give_consent(attempt.url, "alice")
        sandbox.advance(301)
        return back

    error = fails(untouched, late, match="expired")
    assert "start the enrolment again" in error.hint


def test_code_of_another_redirect_uri(untouched):
    """The provider's own check."""
    attempt = untouched.enrolment.begin(untouched.client, "acme", "http://127.0.0.1:9999/callback")
    code = dict(parse_qsl(urlsplit(give_consent(attempt.url, "alice")).query))["code"]
    fails(untouched, consented(code=code), error=(EnrolmentFailed, Misconfigured))


def test_wrong_client_secret(untouched, sandbox):
    """The client's fault, told with what to look at; no incident, nobody is being refreshed."""
    untouched.secret = "wrong"
    error = fails(untouched, consented(), error=Misconfigured, match="client itself")
    assert (error.exit_code, untouched.incident()) == (78, None)
    untouched.secret = sandbox.client_secret


@pytest.mark.parametrize("kind", ["timeout", "timeout_after", "reset_before", "reset_after", "half_body", "drip"])
def test_lost_answer(untouched, sandbox, kind):
    """The code is spent or lost: begin again."""
    untouched.configure(connect_timeout=1.0, read_timeout=0.3)
    sandbox.fault("token", kind)
    error = fails(untouched, consented(), error=TryAgainLater, match="nothing was stored")
    assert error.exit_code == 75
    untouched.configure(read_timeout=30.0)


@pytest.mark.parametrize("kind", ["http_500", "http_503", "html", "garbage", "huge", "redirect"])
def test_provider_that_cannot_answer(untouched, sandbox, kind):
    """Later, from the start."""
    sandbox.fault("token", kind)
    fails(untouched, consented(), error=TryAgainLater, match="nothing was stored")


def test_retry_after_is_passed_on(untouched, sandbox):
    """For whoever drives enrolments by a program."""
    sandbox.fault("token", "http_429", retry_after="120")
    assert fails(untouched, consented(), error=TryAgainLater).after == 120


def test_somebody_else(house):
    """See also the flow: nothing changes."""
    house.consent(user="alice")
    before = house.grant()
    with pytest.raises(EnrolmentFailed):
        house.consent(user="mallory")
    assert house.grant() == before


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"aud": "another"},
        {"iss": "https://another.example"},
        {"exp": 1},
        {"sub": ""},
    ],
)
def test_id_token_that_is_not_for_us(build, serve, clock, claims):
    """Nonce, audience, issuer, expiry and subject are checked."""
    import base64

    def part(value) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    token = serve(Answer())
    issuer = "https://provider.example"
    house = build(token)
    attempt = house.begin()
    good = {"iss": issuer, "aud": "client", "sub": "alice", "exp": clock.now() + 60, "nonce": attempt.nonce}
    id_token = f"{part({'alg': 'RS256'})}.{part(good | claims)}.c2ln"
    document = {"access_token": "a", "refresh_token": "r", "id_token": id_token}
    token.answers = [Answer(200, json.dumps(document).encode())]
    house.client.issuer = lambda: issuer
    with pytest.raises(EnrolmentFailed, match="ID token"):
        house.enrolment.finish(attempt, f"{REDIRECT}?code=x&state={attempt.expected.state}", Choices())
    assert house.store.accounts.find("arlo", "acme") is None


def test_messages_hold_no_secret(house, sandbox):
    """Neither code nor state nor tokens, in any failure."""
    attempt = house.begin()
    back = give_consent(attempt.url, "alice")
    sandbox.advance(400)
    with pytest.raises(EnrolmentFailed) as caught:
        house.enrolment.finish(attempt, back, Choices())
    code = dict(parse_qsl(urlsplit(back).query))["code"]
    told = f"{caught.value!r} {caught.value.hint} {caught.value.evidence}"
    assert code not in told
    assert attempt.expected.state not in told
