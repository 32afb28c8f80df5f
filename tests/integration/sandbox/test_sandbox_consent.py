"""The authorization endpoint and its consent page."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from worker.sandbox import ConsentFailed, give_consent


def test_consent_comes_back_with_code_state_and_issuer(client):
    """Allow ends at the redirect URI with code, echoed state and the issuer."""
    back = client.callback()
    assert (back["state"], back["iss"]) == ("st-1", client.sandbox.issuer)
    assert back["code"]


def test_refused_consent_comes_back_as_access_denied(client):
    """Deny ends at the redirect URI with access_denied and no code."""
    back = client.callback(allow=False)
    assert back["error"] == "access_denied"
    assert "code" not in back


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "openid nonsense"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
    ],
)
def test_faulty_request_goes_back_as_error(client, change, error):
    """What is wrong with a request of a known client is told to the client, with its state."""
    back = client.callback(**change)
    assert (back["error"], back["state"]) == (error, "st-1")


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "somebody"},
        {"redirect_uri": "http://127.0.0.1:8765/callback/"},
        {"redirect_uri": "http://127.0.0.1:8765/Callback"},
        {"redirect_uri": "http://localhost:8765/callback"},
        {"redirect_uri": "http://127.0.0.1@evil.example:8765/callback"},
        {"redirect_uri": None},
    ],
)
def test_unknown_client_or_redirect_ends_on_a_page(client, change):
    """Nobody is redirected to an address that is not registered."""
    with pytest.raises(ConsentFailed, match="HTTP 400"):
        client.callback(**change)


def test_repeated_parameter_is_refused(client):
    """RFC 6749 section 3.1: parameters must not be repeated."""
    back = give_consent(client.authorization_url() + "&scope=openid", "alice")
    assert "error=invalid_request" in back


def test_loopback_redirect_may_use_any_port(client):
    """RFC 8252 section 7.3: the port of a loopback redirect is the client's choice."""
    back = give_consent(client.authorization_url(redirect_uri="http://127.0.0.1:50123/callback"), "alice")
    assert back.startswith("http://127.0.0.1:50123/callback?code=")


def test_exact_port_can_be_demanded(make):
    """With loopback_any_port off, the registered port is the only one."""
    client = make(loopback_any_port=False)
    with pytest.raises(ConsentFailed):
        client.callback(redirect_uri="http://127.0.0.1:50123/callback")


@pytest.mark.parametrize(("setting", "expected"), [("absent", None), ("wrong", "https://attacker.example")])
def test_issuer_of_the_callback_can_be_bent(make, setting, expected):
    """Tests of RFC 9207 need a callback without iss and one with another server's."""
    assert make(callback_iss=setting).callback().get("iss") == expected


def test_person_can_leave_scopes_out(client):
    """Refused scopes are missing from the grant, and the token answer says so."""
    back = give_consent(client.authorization_url(), "alice", refuse=["all_claims"])
    code = re.search("code=([^&]+)", back)[1]
    assert client.redeem(code).json()["scope"] == "openid profile offline_access read"


def test_form_counts_once(client):
    """Posting a consent page a second time does nothing."""
    page = client.http.get(client.authorization_url()).text
    interaction = re.search('name="interaction" value="([^"]+)"', page)[1]
    form = {"interaction": interaction, "login": "alice", "decision": "allow"}
    answers = [client.http.post(client.sandbox.authorize_url, form, allow_redirects=False) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [302, 400]


def test_empty_user_name_asks_again(client):
    """Nobody consents without a name; the page stays usable."""
    page = client.http.get(client.authorization_url()).text
    interaction = re.search('name="interaction" value="([^"]+)"', page)[1]
    form = {"interaction": interaction, "login": " "}
    assert "user name is needed" in client.http.post(client.sandbox.authorize_url, form).text
    again = client.http.post(client.sandbox.authorize_url, form | {"login": "bo"}, allow_redirects=False)
    assert again.status_code == 302


def test_discovery_names_what_is_there(client):
    """Both discovery documents (OpenID Connect, RFC 8414) are the same, and their issuer is exact."""
    base = client.sandbox.base_url
    openid = client.http.get(f"{client.sandbox.issuer}/.well-known/openid-configuration").json()
    oauth = client.http.get(f"{base}/.well-known/oauth-authorization-server/oauth").json()
    assert openid == oauth
    assert (openid["issuer"], openid["token_endpoint"]) == (client.sandbox.issuer, client.sandbox.token_url)


def test_login_hint_fills_in_the_user_name(client):
    """login_hint names the person; the provider's own tenant:… does not."""
    assert 'value="ana"' in client.http.get(client.authorization_url(login_hint="ana")).text
    assert "tenant:demo" not in client.http.get(client.authorization_url(login_hint="tenant:demo")).text


def test_page_escapes_what_it_was_given(client):
    """A hint with markup stays text."""
    page = client.http.get(client.authorization_url(login_hint='"><script>')).text
    assert "<script>" not in page


def test_authorize_address_is_below_the_issuer(client):
    """The provider's paths are /oauth/connect/…."""
    assert urlsplit(client.sandbox.authorize_url).path == "/oauth/connect/authorize"
