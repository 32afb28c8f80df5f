"""Who consented."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import EnrolmentFailed
from worker.oauth.identity import Identity, identity_of, read_id_token

NOW = 1_767_225_600.0
ISSUER = "https://as.example.org"
CLAIMS = {"iss": ISSUER, "aud": "me", "sub": "u1", "exp": NOW + 300, "nonce": "n0nce"}


def token(claims):
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return f"e30.{urlsafe_b64encode(payload).rstrip(b'=').decode()}.c2ln"


def read(id_token, *, issuer=ISSUER, nonce="n0nce"):
    return read_id_token(id_token, issuer=issuer, client_id="me", nonce=nonce, now=NOW)


@pytest.mark.parametrize(
    "changes",
    [{}, {"aud": ["me"]}, {"aud": ["other", "me"], "azp": "me"}, {"azp": "me"}, {"exp": NOW - 59}, {"exp": str(NOW)}],
)
def test_sound_token_gives_its_claims(changes):
    """OpenID Connect Core 3.1.3.7, with a minute of leeway between clocks."""
    assert read(token(CLAIMS | changes))["sub"] == "u1"


def test_token_is_read_where_no_issuer_and_nonce_are_known():
    """What is not known is not compared."""
    assert read(token({"aud": "me", "sub": "u1", "exp": NOW + 1}), issuer=None, nonce=None)["sub"] == "u1"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"iss": f"{ISSUER}/"}, "its issuer is"),
        ({"iss": None}, "its issuer is"),
        ({"aud": "other"}, "not for our client"),
        ({"aud": []}, "not for our client"),
        ({"aud": None}, "not for our client"),
        ({"aud": ["me", "other"]}, "several clients"),
        ({"azp": "other"}, "issued to"),
        ({"exp": NOW - 61}, "expired 61 s ago"),
        ({"exp": None}, "no expiry"),
        ({"exp": True}, "no expiry"),
        ({"nonce": "other"}, "nonce is not ours"),
        ({"nonce": None}, "nonce is not ours"),
        ({"nonce": "\ud800"}, "nonce is not ours"),
        ({"sub": ""}, "no subject"),
        ({"sub": 7}, "no subject"),
    ],
)
def test_unsound_token_is_refused(changes, says):
    """Each claim by itself."""
    with pytest.raises(EnrolmentFailed, match=says):
        read(token(CLAIMS | changes))


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b.c.d.e", "a.!.c", "a.\xe9.c", token(b"[1]"), token(b"{"), token(b"[" * 9999)]
)
def test_text_that_is_no_token_is_refused(text):
    """An opaque or encrypted token says nothing to us."""
    with pytest.raises(EnrolmentFailed, match="not to be trusted"):
        read(text)


@given(st.text() | st.binary().map(token))
def test_any_text_is_refused_in_words(text):
    """Nothing but EnrolmentFailed comes out of nonsense."""
    with pytest.raises(EnrolmentFailed):
        read(text)


@pytest.mark.parametrize(
    ("claims", "path", "identity"),
    [
        ({"sub": "u1"}, "sub", Identity("u1", "u1")),
        ({"sub": "u1", "email": "ana@example.org", "name": "Ana"}, "sub", Identity("u1", "ana@example.org")),
        ({"id": 42, "login": "ana"}, "id", Identity("42", "ana")),
        ({"user": {"id": "7"}}, "user.id", Identity("7", "7")),
    ],
)
def test_identity_is_a_subject_and_a_label(claims, path, identity):
    """The subject is compared, the label is shown."""
    assert identity_of(claims, subject_claim=path) == identity


@pytest.mark.parametrize("claims", [{}, {"sub": None}, {"sub": ""}, {"sub": True}, {"sub": {}}, {"sub": "\ud800"}])
def test_identity_without_a_subject_is_refused(claims):
    """Without it, one account could be taken for another."""
    with pytest.raises(EnrolmentFailed, match="sub"):
        identity_of(claims)
