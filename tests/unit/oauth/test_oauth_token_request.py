"""What is POSTed to the provider."""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import Misconfigured
from worker.oauth.token_request import Client, Redemption, code_request, refresh_request, revocation_request
from worker.redact import Secret

URL = "https://as.example.org/token"
BASIC = Client("me", Secret("sesame"))
POST = Client("me", Secret("sesame"), "post")
PUBLIC = Client("me", auth="none")


def test_refresh_with_basic_sends_the_secret_in_the_header_only():
    """RFC 6749 section 2.3.1: one method, never two."""
    sent = refresh_request(URL, BASIC, Secret("rt"))
    assert sent.form == {"grant_type": "refresh_token", "refresh_token": "rt"}
    assert sent.headers["Authorization"] == "Basic bWU6c2VzYW1l"


def test_refresh_with_post_sends_the_secret_in_the_form_only():
    """Likewise the other way."""
    sent = refresh_request(URL, POST, Secret("rt"))
    assert (sent.form["client_id"], sent.form["client_secret"]) == ("me", "sesame")
    assert "Authorization" not in sent.headers


def test_refresh_of_a_public_client_sends_its_id():
    """RFC 6749 section 3.2.1."""
    sent = refresh_request(URL, PUBLIC, Secret("rt"))
    assert sent.form["client_id"] == "me"
    assert "client_secret" not in sent.form


def test_basic_encodes_odd_characters_first():
    """RFC 6749 section 2.3.1 and its appendix B: form-encoded, then joined, then base64."""
    sent = refresh_request(URL, Client("odd:id", Secret("p@ss+w%o rd:/")), Secret("rt"))
    pair = b64decode(sent.headers["Authorization"].removeprefix("Basic ")).decode()
    assert pair == "odd%3Aid:p%40ss%2Bw%25o+rd%3A%2F"


@given(st.text(min_size=1), st.text(min_size=1))
def test_basic_is_read_back_by_a_server(client_id, secret):
    """Any id and secret survive, colons and letters above ASCII too."""
    sent = refresh_request(URL, Client(client_id, Secret(secret)), Secret("rt"))
    pair = b64decode(sent.headers["Authorization"].removeprefix("Basic ")).decode()
    assert [unquote_plus(part) for part in pair.split(":")] == [client_id, secret]


def test_refresh_sends_redirect_uri_and_scopes_when_asked_to():
    """Some providers want the redirect URI here too."""
    sent = refresh_request(URL, BASIC, Secret("rt"), redirect_uri="https://x/cb", scopes=["a", "b"])
    assert (sent.form["redirect_uri"], sent.form["scope"]) == ("https://x/cb", "a b")


def test_code_is_redeemed_with_its_verifier_and_redirect_uri():
    """RFC 6749 section 4.1.3 and RFC 7636 section 4.5."""
    sent = code_request(URL, BASIC, Redemption(Secret("c"), "https://x/cb", Secret("v")), extra={"audience": "api"})
    assert sent.form == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": "https://x/cb",
        "code_verifier": "v",
        "audience": "api",
    }


def test_revocation_names_the_token_and_its_kind():
    """RFC 7009 section 2.1."""
    assert revocation_request(URL, BASIC, Secret("rt")).form == {"token": "rt", "token_type_hint": "refresh_token"}


@pytest.mark.parametrize("name", ["grant_type", "refresh_token", "client_id", "client_secret"])
def test_settings_do_not_replace_the_protocols_own(name):
    """A parameter of the settings adds, and overrides nothing."""
    with pytest.raises(Misconfigured, match=name):
        refresh_request(URL, BASIC, Secret("rt"), extra={name: "x"})


@pytest.mark.parametrize("client", [Client("me"), Client("me", Secret("")), Client("me", auth="post")])
def test_missing_secret_is_said_before_anything_is_sent(client):
    """With the command that mends it."""
    with pytest.raises(Misconfigured) as caught:
        refresh_request(URL, client, Secret("rt"))
    assert "worker secrets set" in caught.value.hint


def test_request_hides_its_secrets():
    """A repr in a log shows neither header nor form."""
    shown = repr(refresh_request(URL, POST, Secret("rt-value"))) + repr(POST)
    assert not any(secret in shown for secret in ("sesame", "rt-value"))
