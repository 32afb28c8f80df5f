"""What an OAuth client owes to those who trust it, line by line: the lines of the checklist that need no command.

Each test bears the number of its line; the standard that asks for it stands in the docstring. Lines 10, 11, 26, 27, 29
and 30 drive the installed command: tests/acceptance/test_checklist_commands.py.
"""

from __future__ import annotations

import json
import re
import socket
from base64 import urlsafe_b64encode
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from account_house import REDIRECT, at_once
from scripted_server import Answer

from worker.accounts.enrolment import Choices
from worker.accounts.loopback import LoopbackListener
from worker.accounts.token_endpoint import NotSent, Timeouts, ask
from worker.errors import ConfigProblems, EnrolmentFailed, Misconfigured, NeedsConsent, ScopeMissing, TryAgainLater
from worker.oauth.dialect import Dialect
from worker.oauth.token_request import Client, refresh_request
from worker.redact import Secret
from worker.sandbox import give_consent

TOKENS = b'{"access_token": "access-token-2", "refresh_token": "refresh-token-2", "expires_in": 3600}'


def asked_for(url: str) -> dict[str, str]:
    """The parameters of an address."""
    return dict(parse_qsl(urlsplit(url).query))


def altered(back: str, **changes: str | None) -> str:
    """An answer with some parameters replaced, or left out for None."""
    kept = {name: value for name, value in (asked_for(back) | changes).items() if value is not None}
    return f"{back.partition('?')[0]}?{urlencode(kept)}"


def answered(token, attempt, **more: str) -> str:
    """The address of an answer from a provider that is played by hand."""
    return f"{attempt.expected.redirect_uri}?{urlencode({'code': 'c0de', 'state': attempt.expected.state} | more)}"


def finish(house, attempt, back):
    return house.enrolment.finish(attempt, back, Choices())


def redeemed(sandbox) -> int:
    """How often a code has been sent."""
    return sum(sandbox.stats()["token_calls"].get("authorization_code", {}).values())


def test_line_01_only_the_code_flow_is_used(house, sandbox):
    """RFC 9700 sections 2.1.2 and 2.4: a code is asked for, and no password or other grant is ever sent."""
    assert asked_for(house.begin().url)["response_type"] == "code"
    account = house.consent().grant.account
    house.refresh(account)
    assert {kind for kind, calls in sandbox.stats()["token_calls"].items() if calls} == {
        "authorization_code",
        "refresh_token",
    }


def test_line_02_pkce_is_s256_even_where_only_plain_is_advertised(house, sandbox, serve):
    """RFC 9700 section 2.1.1, RFC 7636 section 4.2: never a fallback to `plain`, which protects from nobody."""
    issuer = serve(Answer(404))
    document = {"issuer": issuer.origin, "code_challenge_methods_supported": ["plain"]}
    issuer.answers = [Answer(200, json.dumps(document).encode())]
    house.configure(issuer=issuer.origin)
    attempt = house.begin()
    asked = asked_for(attempt.url)
    digest = urlsafe_b64encode(sha256(attempt.verifier.reveal().encode()).digest()).rstrip(b"=").decode()
    assert (asked["code_challenge_method"], asked["code_challenge"]) == ("S256", digest)


def test_line_03_verifier_is_fresh_and_long(house):
    """RFC 7636 section 7.1: 256 bits, 43 characters or more, of one attempt alone."""
    verifiers = {house.begin().verifier.reveal() for _ in range(50)}
    assert len(verifiers) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9\-._~]{43,128}", one) for one in verifiers)


@pytest.mark.parametrize("which", ["replayed", "of another attempt", "changed by a letter"])
def test_line_04_state_is_good_for_one_answer_to_one_attempt(house, sandbox, which):
    """RFC 9700 section 2.1: what does not bear this attempt's unused state is refused, and no code is sent for it."""
    attempt = house.begin()
    back = give_consent(attempt.url, "alice")
    if which == "replayed":
        finish(house, attempt, back)
    elif which == "of another attempt":
        back = altered(back, state=house.begin().expected.state)
    else:
        back = altered(back, state=attempt.expected.state[:-1] + "-")
    before = redeemed(sandbox)
    with pytest.raises(EnrolmentFailed):
        finish(house, attempt, back)
    assert redeemed(sandbox) == before


@pytest.mark.parametrize("change", [lambda iss: iss + "/", str.upper, lambda iss: iss.replace("http:", "https:")])
def test_line_05_iss_present_must_equal_exactly(house, sandbox, change):
    """RFC 9207 section 2.4: to the letter, and before the code is sent anywhere."""
    house.configure(issuer=sandbox.issuer)
    attempt = house.begin()
    back = give_consent(attempt.url, "alice")
    with pytest.raises(EnrolmentFailed, match="comes from issuer"):
        finish(house, attempt, altered(back, iss=change(asked_for(back)["iss"])))
    assert redeemed(sandbox) == 0


def test_line_06_iss_missing_though_advertised_is_refused(house, sandbox):
    """RFC 9207 section 2.4."""
    house.configure(issuer=sandbox.issuer)
    attempt = house.begin()
    with pytest.raises(EnrolmentFailed, match="does not name its issuer"):
        finish(house, attempt, altered(give_consent(attempt.url, "alice"), iss=None))
    assert redeemed(sandbox) == 0


@pytest.mark.parametrize(
    ("forged", "says"),
    [({"state": "other"}, "another attempt"), ({"state": ""}, "no state"), ({"iss": "https://evil.example"}, "issuer")],
)
def test_line_07_error_answers_are_checked_like_any_other(house, sandbox, forged, says):
    """An error that somebody else sent settles nothing: the true answer to the attempt is still taken."""
    house.configure(issuer=sandbox.issuer)
    attempt = house.begin()
    error = {"error": "access_denied", "state": attempt.expected.state} | forged
    with pytest.raises(EnrolmentFailed, match=says):
        finish(house, attempt, f"{REDIRECT}?{urlencode(error)}")
    assert finish(house, attempt, give_consent(attempt.url, "alice")).created


def test_line_08_each_attempt_by_loopback_has_a_redirect_uri_of_its_own(house):
    """RFC 9700 section 4.4: an answer to one provider's attempt is none to another's, with or without `iss`."""
    with LoopbackListener(None) as one, LoopbackListener(None) as other:
        attempts = [house.enrolment.begin(house.client, "acme", each.redirect_uri) for each in (one, other)]
        one.expect(attempts[0].expected)
        other.expect(attempts[1].expected)
        assert one.redirect_uri != other.redirect_uri
        mixed_up = altered(f"{other.redirect_uri}?code=c", state=attempts[0].expected.state)
        assert requests.get(mixed_up, timeout=10).status_code == 400
        with pytest.raises(EnrolmentFailed):
            other.wait(0)


def test_line_09_loopback_listens_on_127_0_0_1_alone(house):
    """RFC 8252 section 8.3: on every interface, 127.0.0.2 would answer as well."""
    with LoopbackListener(None) as listener:
        port = urlsplit(listener.redirect_uri).port
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)


def test_line_12_callback_page_is_kept_by_nobody_and_loads_nothing(house):
    """No store, no referrer, nothing but itself; not even its own address is repeated."""
    with LoopbackListener(None) as listener:
        attempt = house.enrolment.begin(house.client, "acme", listener.redirect_uri)
        listener.expect(attempt.expected)
        page = requests.get(answered(None, attempt), timeout=10)
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert not {"c0de", attempt.expected.state} & set(re.split(r"\W", page.text))
    assert not re.search(r"src=|href=|url\(|http", page.text)


def test_line_13_code_is_sent_once_whatever_becomes_of_the_answer(house, sandbox):
    """RFC 6749 section 4.1.2: a second redemption may revoke what the first one granted."""
    attempt = house.begin()
    back = give_consent(attempt.url, "alice")
    sandbox.fault("token", "reset_after")
    with pytest.raises(TryAgainLater):
        finish(house, attempt, back)
    with pytest.raises(EnrolmentFailed, match="has had its answer"):
        finish(house, attempt, back)
    assert redeemed(sandbox) == 1


@pytest.mark.parametrize("option", ["token_url", "authorize_url", "revoke_url", "identity_url", "issuer", "api_base"])
def test_line_14_address_without_tls_is_refused_by_the_config(build, option):
    """RFC 6750 section 5.3: for each address; `allow_http` has to be written to lift that."""
    with pytest.raises(ConfigProblems, match=option):
        build(allow_http="false", **{option: '"http://provider.example/x"'})


@pytest.mark.parametrize(
    "switch", [{}, {"PYTHONHTTPSVERIFY": "0"}, {"CURL_CA_BUNDLE": ""}, {"OAUTHLIB_INSECURE_TRANSPORT": "1"}]
)
def test_line_14_certificate_is_verified_whatever_the_environment_says(serve, certified, clock, monkeypatch, switch):
    """RFC 6750 section 5.3: no switch turns it off; the form is not sent."""
    for name, value in switch.items():
        monkeypatch.setenv(name, value)
    token = serve(Answer(200, TOKENS), tls=certified)
    request = refresh_request(f"{token.origin}/token", Client("client", Secret("secret")), Secret("refresh-token-1"))
    answer = ask(request, Timeouts(5.0, 5.0), Dialect(), clock, "test")
    assert (type(answer), token.asked) == (NotSent, [])


def test_line_15_redirect_of_the_token_endpoint_is_refused(house, sandbox):
    """A 307 would send the refresh token and the client's secret elsewhere."""
    account = house.enrol()
    sandbox.fault("token", "redirect")
    with pytest.raises(TryAgainLater):
        house.refresh(account)
    assert not sandbox.stats()["elsewhere"].get("requests")
    house.clock.advance(3600)
    assert house.refresh(account).generation == 2


def test_line_16_metadata_of_another_issuer_is_refused(house, sandbox):
    """RFC 8414 section 3.3: `issuer` equals the configured one, or none of the endpoints is believed."""
    house.configure(issuer=sandbox.issuer, token_url=None)
    assert house.client.token_url() == sandbox.token_url
    house.configure(issuer=sandbox.issuer + "/", token_url=None)
    with pytest.raises(Misconfigured, match="names the issuer"):
        house.client.token_url()


@pytest.mark.parametrize(("told", "sent"), [("bEaReR", ["Bearer access-token-2"]), ("mac", []), ("DPoP", [])])
def test_line_17_token_of_an_unknown_type_is_not_used(build, serve, told, sent):
    """RFC 6749 section 7.1: case does not matter, the type does; the refresh token that came along is kept."""
    token, api = serve(Answer(200, TOKENS[:-1] + f', "token_type": "{told}"}}'.encode())), serve(Answer())
    house = build(token, api)
    session = house.session(house.admit(access_token="access-token-1", lifetime=1.0))
    house.clock.advance(3600)
    if sent:
        session.get("things")
    else:
        with pytest.raises(Misconfigured, match="only bearer tokens"):
            session.get("things")
    assert [request.headers.get("authorization") for request in api.asked] == sent
    assert house.refresh_token() == "refresh-token-2"


def test_line_18_token_stands_in_the_header_only(build, serve):
    """RFC 6750 section 2: one method, and never the one that ends in logs."""
    api = serve(Answer())
    house = build(None, api)
    house.session(house.admit()).post("things", params={"a": "b"}, data={"c": "d"})
    asked = api.asked[0]
    assert asked.headers["authorization"] == "Bearer access-token-1"
    assert b"access-token-1" not in asked.path.encode() + asked.body
    assert [name for name, value in asked.headers.items() if "access-token-1" in value] == ["authorization"]


def test_line_19_token_does_not_follow_a_redirect_to_another_origin(house, sandbox):
    """It went to `localhost`, which is another name for 127.0.0.1 and another origin."""
    session = house.session(house.enrol())
    sandbox.fault("api", "redirect")
    session.get("events/")
    elsewhere = sandbox.stats()["elsewhere"]
    assert (elsewhere["requests"], elsewhere["with_authorization"]) == (1, 0)


def test_line_20_rejected_token_costs_one_refresh_and_one_retry(house, sandbox):
    """RFC 6750 section 3.1; and no second refresh where the fresh one is rejected as well."""
    session = house.session(house.enrol())
    session.get("events/")
    sandbox.expire()
    assert session.get("events/").status_code == 200
    assert house.refresh_calls == 1
    sandbox.fault("api", "invalid_token", times=10)
    assert session.get("events/").status_code == 401
    assert (house.refresh_calls, session.requests_sent) == (2, 5)


def test_line_21_missing_scope_is_never_refreshed_for(house, sandbox):
    """RFC 6749 section 6: a refresh cannot widen the scope."""
    session = house.session(house.enrol())
    sandbox.fault("api", "insufficient_scope", times=10)
    with pytest.raises(ScopeMissing):
        session.get("events/")
    assert house.refresh_calls == 0


@pytest.mark.parametrize("told", ['"refresh-token-2"', "null", '""', None])
def test_line_22_new_refresh_token_replaces_the_old_and_an_omitted_one_keeps_it(build, serve, told):
    """RFC 6749 section 6."""
    member = "" if told is None else f', "refresh_token": {told}'
    house = build(serve(Answer(200, f'{{"access_token": "access-token-2"{member}}}'.encode())))
    house.refresh(house.admit())
    assert house.refresh_token() == ("refresh-token-2" if told == '"refresh-token-2"' else "refresh-token-1")


def test_line_23_account_has_one_refresh_in_flight(house, sandbox):
    """However many refreshers there are: in one process, or as others would have them."""
    account = house.enrol()
    sandbox.set(token_delay=0.2)
    crew = [house.new_refresher() for _ in range(8)]
    grants = at_once([lambda each=each: each.refresh(account.id, 1).generation for each in crew])
    assert grants == [2] * 8
    assert (house.refresh_calls, sandbox.stats()["peak_concurrent_token_calls"]) == (1, 1)


def test_line_24_dead_grant_is_read_again_before_anybody_is_told(build, serve):
    """A refusal of a token that has been replaced meanwhile says nothing about the one that is stored."""
    token = serve(Answer(400, b'{"error": "invalid_grant"}'))
    house = build(token)
    account = house.admit()
    token.answers[0].before = lambda: house.admit(refresh_token="refresh-token-of-a-new-consent")
    assert house.refresh(account).generation == 2
    assert (house.account().state, house.refresh_token()) == ("active", "refresh-token-of-a-new-consent")


def test_line_25_granted_scopes_are_recorded_and_the_difference_is_told(house):
    """RFC 6749 section 3.3: what the person left out is missing, and not assumed."""
    enrolled = house.consent(refuse=["all_claims"])
    assert enrolled.scopes.missing == ("all_claims",)
    assert "all_claims" not in house.grant().scopes


def test_line_28_revocation_gives_back_the_refresh_token_first(build, serve):
    """RFC 7009 section 2.2: 200 is success, also for a token that nobody knows; with 503 the grant lives on."""
    revocation = serve(Answer(503, b"", [("Retry-After", "30")]), Answer(200))
    house = build()
    house.configure(revoke_url=f"{revocation.origin}/revoke")
    account = house.admit()
    with pytest.raises(TryAgainLater) as caught:
        house.enrolment.revoke(house.client, account)
    assert (caught.value.after, house.account().state, house.refresh_token()) == (30, "active", "refresh-token-1")
    house.enrolment.revoke(house.client, account)
    assert house.account().state == "revoked"
    assert [request.form["token"] for request in revocation.asked] == ["refresh-token-1"] * 2
    with pytest.raises(NeedsConsent):
        house.store.grants.read_refresh_token(house.grant())
