"""Both ends of an authorization."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import EnrolmentFailed, Misconfigured
from worker.oauth.authorization import AuthorizationRequest, ExpectedCallback, authorization_url, read_callback

REDIRECT = "http://127.0.0.1:8765/callback"
ISSUER = "https://as.example.org"
EXPECTED = ExpectedCallback(REDIRECT, "st4te", ISSUER, iss_required=True)
LAX = ExpectedCallback(REDIRECT, "st4te")
SOUND = f"{REDIRECT}?code=c0de&state=st4te&iss=https%3A%2F%2Fas.example.org"


def request(**changes):
    given_fields = {
        "client_id": "me",
        "redirect_uri": REDIRECT,
        "scopes": ["openid", "read"],
        "state": "st4te",
        "code_challenge": "chal",
        "nonce": "n0nce",
    }
    return AuthorizationRequest(**(given_fields | changes))


def query(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def fails(text, expected=EXPECTED):
    with pytest.raises(EnrolmentFailed) as caught:
        read_callback(text, expected=expected)
    assert caught.value.hint
    return caught.value.message


def test_url_asks_for_a_code_with_pkce():
    """RFC 6749 section 4.1.1 with S256, always."""
    assert query(authorization_url("https://as.example.org/authorize", request())) == {
        "response_type": "code",
        "client_id": "me",
        "redirect_uri": REDIRECT,
        "scope": "openid read",
        "state": "st4te",
        "code_challenge": "chal",
        "code_challenge_method": "S256",
        "nonce": "n0nce",
    }


def test_url_writes_blanks_so_that_every_server_reads_them():
    """%20 is read everywhere, + is not."""
    assert "scope=openid%20read" in authorization_url("https://as.example.org/authorize", request())


def test_url_leaves_out_what_is_not_asked_for():
    """No scope, no nonce: no empty parameters."""
    url = authorization_url("https://as.example.org/authorize", request(scopes=[], nonce=None))
    assert not {"scope", "nonce"} & set(query(url))


def test_url_keeps_the_endpoints_own_query():
    """RFC 6749 section 3.1; a parameter of ours that is there already is not doubled."""
    url = authorization_url("https://as.example.org/authorize?tenant=7&response_type=token#x", request())
    assert (query(url)["tenant"], parse_qs(urlsplit(url).query)["response_type"]) == ("7", ["code"])


def test_url_carries_the_scopes_in_the_parameter_that_is_set():
    """Where one address asks for two kinds of token."""
    found = query(authorization_url("https://as.example.org/authorize", request(scope_parameter="user_scope")))
    assert (found["user_scope"], "scope" in found) == ("openid read", False)


def test_url_refuses_a_setting_that_replaces_the_scopes():
    """By whatever name they go."""
    asked = request(scope_parameter="user_scope", extra={"user_scope": "admin"})
    with pytest.raises(Misconfigured, match="user_scope"):
        authorization_url("https://as.example.org/authorize", asked)


def test_url_carries_the_settings_parameters():
    """E.g. what makes a provider give a refresh token."""
    url = authorization_url("https://as.example.org/authorize", request(extra={"prompt": "consent"}))
    assert query(url)["prompt"] == "consent"


@pytest.mark.parametrize("name", ["state", "code_challenge_method", "response_type", "nonce", "redirect_uri"])
def test_url_refuses_settings_that_replace_the_protocols_own(name):
    """A setting must not switch protection off."""
    with pytest.raises(Misconfigured, match=name):
        authorization_url("https://as.example.org/authorize", request(extra={name: "x"}, nonce=None))


def test_request_hides_its_state():
    """Neither state nor nonce shows in a repr."""
    assert not {"st4te", "n0nce"} & set(repr(request()).replace("'", " ").split())


@pytest.mark.parametrize(
    "text",
    [
        SOUND,
        f"  {SOUND}\n",
        f'"{SOUND}"',
        f"<{SOUND}>",
        f"{SOUND}#",
        f"{SOUND}#_=_",
        SOUND.removeprefix("http://"),
        SOUND.partition("?")[2],
        "?" + SOUND.partition("?")[2],
        SOUND.replace("http://127", "HTTP://127"),
    ],
)
def test_callback_gives_the_code(text):
    """However it was pasted: whole, quoted, without scheme, or its query alone."""
    assert read_callback(text, expected=EXPECTED) == "c0de"


def test_callback_without_issuer_passes_where_none_is_promised():
    """RFC 9207 is asked of providers that advertise it."""
    assert read_callback(f"{REDIRECT}?code=c0de&state=st4te", expected=LAX) == "c0de"


def test_callback_decodes_the_code():
    """Codes hold slashes and plus signs."""
    assert read_callback(f"{REDIRECT}?code=4%2F0A%2Bb&state=st4te", expected=LAX) == "4/0A+b"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not the address"),
        ("hello", "not the address"),
        ("http://[", "not a valid address"),
        ("http://127.0.0.1:x/callback?code=c&state=st4te", "not a valid address"),
        (SOUND.replace("http:", "https:"), "not to the redirect URI"),
        (SOUND.replace("127.0.0.1", "localhost"), "not to the redirect URI"),
        (SOUND.replace("8765", "8766"), "not to the redirect URI"),
        (SOUND.replace(":8765", ""), "not to the redirect URI"),
        (SOUND.replace("/callback", "/callback/"), "not to the redirect URI"),
        (SOUND.replace("/callback", "/Callback"), "not to the redirect URI"),
        (SOUND.replace("127.0.0.1", "x@127.0.0.1"), "not to the redirect URI"),
        (f"{REDIRECT}#code=c0de&state=st4te", "fragment"),
        (f"{REDIRECT}#access_token=x&state=st4te", "fragment"),
        (f"{REDIRECT}?code=c0de", "no state"),
        (f"{REDIRECT}?code=c0de&state=", "no state"),
        (SOUND.replace("st4te", "st5te"), "another attempt"),
        (SOUND.replace("st4te", "st4te%20"), "another attempt"),
        (f"{SOUND}&state=st4te", "state more than once"),
        (f"{SOUND}&code=other", "code more than once"),
        (f"{SOUND}&iss=https%3A%2F%2Fas.example.org", "iss more than once"),
        (SOUND.replace("as.example", "evil.example"), "comes from issuer"),
        (f"{SOUND}%2F", "comes from issuer"),
        (f"{REDIRECT}?code=c0de&state=st4te", "does not name its issuer"),
        (f"{REDIRECT}?state=st4te&iss=https%3A%2F%2Fas.example.org", "no authorization code"),
        (SOUND.replace("c0de", ""), "no authorization code"),
        (f"{REDIRECT}?" + "&".join(f"a{number}=b" for number in range(200)), "more parameters"),
    ],
)
def test_callback_that_is_not_ours_is_refused(text, says):
    """Each with what was found and what to do."""
    assert says in fails(text)


def test_callback_with_a_wrong_place_does_not_show_its_code():
    """Messages end in logs."""
    assert "c0de" not in fails(SOUND.replace("8765", "1"))


def test_callback_refused_by_the_person_says_so():
    """access_denied is an answer, not a fault."""
    message = fails(f"{REDIRECT}?error=access_denied&state=st4te&error_description=No+thanks")
    assert message == "consent was refused: access_denied, No thanks"


def test_callback_with_another_error_names_it():
    """Code and description, without the issuer that some servers leave out of errors."""
    message = fails(f"{REDIRECT}?error=invalid_scope&state=st4te&error_description=roles%0Aunknown")
    assert message == "the provider refused: invalid_scope, roles unknown"


def test_callback_with_an_error_and_a_foreign_issuer_is_not_believed():
    """An error answer from somebody else says nothing about our provider."""
    assert "comes from issuer" in fails(f"{REDIRECT}?error=server_error&state=st4te&iss=https%3A%2F%2Fevil.example")


def test_callback_with_an_error_and_no_state_is_not_believed_but_shown():
    """It helps to see it; it settles nothing."""
    assert "it says: access_denied" in fails(f"{REDIRECT}?error=access_denied")


def test_callback_keeps_the_redirect_uris_own_query():
    """A registered redirect URI may have one, and it must come back."""
    expected = ExpectedCallback(f"{REDIRECT}?tenant=7", "st4te")
    assert read_callback(f"{REDIRECT}?tenant=7&code=c0de&state=st4te", expected=expected) == "c0de"
    assert "own query" in fails(f"{REDIRECT}?tenant=8&code=c0de&state=st4te", expected)


@given(st.text() | st.text().map(lambda text: f"{REDIRECT}?{text}") | st.text().map(lambda text: f"{REDIRECT}{text}"))
def test_callback_of_any_text_fails_in_words(text):
    """Nothing but EnrolmentFailed comes out of nonsense."""
    with pytest.raises(EnrolmentFailed):
        read_callback(text, expected=EXPECTED)
