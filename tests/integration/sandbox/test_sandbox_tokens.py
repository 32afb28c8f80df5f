"""The token endpoint: codes, rotation, reuse, grace, client authentication, revocation."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote_plus

import pytest


def claims_of(id_token):
    part = id_token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_code_brings_the_documented_fields(client):
    """id_token, access_token, expires_in, token_type and refresh_token, and no cache keeps them."""
    answer = client.redeem(client.callback()["code"])
    assert set(answer.json()) == {"id_token", "access_token", "expires_in", "token_type", "refresh_token"}
    assert answer.headers["Cache-Control"] == "no-store"


def test_id_token_names_who_consented(client):
    """iss, aud, sub, nonce and name are those of the flow."""
    claims = claims_of(client.enrol("ana-rua")["id_token"])
    expected = (client.sandbox.issuer, client.sandbox.client_id, "ana-rua", "n-1", "Ana Rua")
    assert (claims["iss"], claims["aud"], claims["sub"], claims["nonce"], claims["name"]) == expected
    assert claims["exp"] > claims["iat"]


def test_no_refresh_token_without_offline_access(client):
    """offline_access is what brings a refresh token."""
    assert "refresh_token" not in client.enrol(scope="openid read all_claims")


def test_code_used_twice_ends_its_grant(client):
    """RFC 6749 section 4.1.2: the tokens of the first use die with the second."""
    code = client.callback()["code"]
    tokens = client.redeem(code).json()
    assert client.redeem(code).json()["error"] == "invalid_grant"
    assert client.get("events/", tokens["access_token"]).status_code == 401
    assert client.refresh(tokens["refresh_token"]).json() == {"error": "invalid_grant"}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"redirect_uri": "http://127.0.0.1:8765/other"}, "unauthorized_client"),
        ({"code_verifier": "x" * 50}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"code": "nonsense"}, "invalid_grant"),
    ],
)
def test_code_with_something_wrong_is_refused(client, change, error):
    """A code needs its redirect URI and its verifier; the answer is 400."""
    answer = client.redeem(**({"code": client.callback()["code"]} | change))
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_code_expires(client):
    """A code is good for five minutes."""
    code = client.callback()["code"]
    client.sandbox.advance(301)
    assert client.redeem(code).json()["error"] == "invalid_grant"


def test_refresh_rotates(client):
    """Each refresh brings a new refresh token and a new access token, and the old access token lives on."""
    first = client.enrol()
    second = client.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert client.get("events/", second["access_token"]).status_code == 200
    assert client.get("events/", first["access_token"]).status_code == 200


def test_spent_refresh_token_kills_the_family(client):
    """Reuse ends the successor and every access token."""
    first = client.enrol()
    second = client.refresh(first["refresh_token"]).json()
    assert client.refresh(first["refresh_token"]).json() == {"error": "invalid_grant"}
    assert client.refresh(second["refresh_token"]).status_code == 400
    assert client.get("events/", second["access_token"]).status_code == 401
    assert client.sandbox.stats()["reuse_detected"] == 1


def test_reuse_can_be_harmless(make):
    """With kill_on_reuse off, only the spent token is refused."""
    client = make(kill_on_reuse=False)
    first = client.enrol()
    second = client.refresh(first["refresh_token"]).json()
    assert client.refresh(first["refresh_token"]).status_code == 400
    assert client.refresh(second["refresh_token"]).status_code == 200


def test_grace_repeats_the_answer(make):
    """Within the grace period a spent token gets the very tokens that replaced it."""
    client = make(grace=30)
    first = client.enrol()
    answers = [client.refresh(first["refresh_token"]).json() for _ in range(2)]
    assert answers[0] == answers[1]
    client.sandbox.advance(31)
    assert client.refresh(first["refresh_token"]).status_code == 400


def test_rotation_can_be_off(make):
    """Without rotation, the same refresh token goes on and is repeated in each answer."""
    client = make(refresh_rotation=False)
    token = client.enrol()["refresh_token"]
    assert [client.refresh(token).json()["refresh_token"] for _ in range(2)] == [token, token]


def test_grant_ends_after_its_absolute_lifetime(client):
    """Thirty days after consent no refresh helps."""
    token = client.enrol()["refresh_token"]
    client.sandbox.advance(30 * 86400 + 1)
    assert client.refresh(token).json() == {"error": "invalid_grant"}


def test_claimed_lifetime_may_differ_from_the_real_one(make):
    """A token can die before the client knows."""
    client = make(access_ttl=5, claimed_ttl=3600)
    tokens = client.enrol()
    client.sandbox.advance(6)
    assert tokens["expires_in"] == 3600
    assert client.get("events/", tokens["access_token"]).status_code == 401


@pytest.mark.parametrize("auth", [("sandbox-client", "wrong"), ("somebody", "sandbox-secret"), None])
def test_wrong_client_credentials_are_invalid_client(client, auth):
    """The provider answers 400, not 401."""
    answer = client.token(auth=auth, grant_type="refresh_token", refresh_token="x")
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_client"})


def test_credentials_in_the_body_are_accepted(client):
    """client_secret_post works beside Basic."""
    token = client.enrol()["refresh_token"]
    form = {"client_id": client.sandbox.client_id, "client_secret": client.sandbox.client_secret}
    answer = client.token(auth=None, grant_type="refresh_token", refresh_token=token, **form)
    assert answer.status_code == 200


def test_basic_credentials_are_form_encoded(make):
    """RFC 6749 section 2.3.1: reserved characters are encoded inside Basic, and only then accepted."""
    client = make(client_id="odd:id", client_secret="p@ss+w%o rd:/ü")
    form = {"grant_type": "refresh_token", "refresh_token": client.sandbox.grant("bo")["refresh_token"]}
    raw = (client.sandbox.client_id.encode(), client.sandbox.client_secret.encode())
    assert client.token(auth=raw, **form).json()["error"] == "invalid_client"
    encoded = (quote_plus(client.sandbox.client_id), quote_plus(client.sandbox.client_secret))
    assert client.token(auth=encoded, **form).status_code == 200


def test_client_secret_can_change(client):
    """An expired secret is what `set` makes of it."""
    token = client.enrol()["refresh_token"]
    old = (client.sandbox.client_id, client.sandbox.client_secret)
    client.sandbox.set(client_secret="new one")
    answer = client.token(auth=old, grant_type="refresh_token", refresh_token=token)
    assert answer.json() == {"error": "invalid_client"}


def test_revoking_a_refresh_token_takes_the_users_tokens_along(client):
    """RFC 7009 and IdentityServer3: everything of that user and client ends; other users go on."""
    tokens, other = client.enrol("alice"), client.enrol("bob")
    auth = (client.sandbox.client_id, client.sandbox.client_secret)
    answer = client.http.post(client.sandbox.revoke_url, {"token": tokens["refresh_token"]}, auth=auth)
    assert (answer.status_code, answer.content) == (200, b"")
    assert client.refresh(tokens["refresh_token"]).status_code == 400
    assert client.get("events/", tokens["access_token"]).status_code == 401
    assert client.refresh(other["refresh_token"]).status_code == 200


def test_revoking_an_unknown_token_succeeds(client):
    """RFC 7009 section 2.2: 200 for a token that is not known."""
    auth = (client.sandbox.client_id, client.sandbox.client_secret)
    assert client.http.post(client.sandbox.revoke_url, {"token": "unknown"}, auth=auth).status_code == 200


def test_userinfo_says_who_it_is(client):
    """Sub and name of the token's user."""
    headers = {"Authorization": f"Bearer {client.enrol('ana')['access_token']}"}
    answer = client.http.get(client.sandbox.identity_url, headers=headers).json()
    assert answer == {"sub": "ana", "name": "Ana", "preferred_username": "ana"}


def test_userinfo_needs_a_token(client):
    """Without a token the answer is 401 with a Bearer challenge."""
    answer = client.http.get(client.sandbox.identity_url)
    assert (answer.status_code, answer.headers["WWW-Authenticate"].split()[0]) == (401, "Bearer")


def test_unknown_grant_type_is_refused(client):
    """RFC 6749 section 5.2."""
    assert client.token(grant_type="password").json() == {"error": "unsupported_grant_type"}


def test_repeated_field_is_refused(client):
    """RFC 6749 section 3.2: fields must not be repeated."""
    auth = (client.sandbox.client_id, client.sandbox.client_secret)
    pairs = [("grant_type", "refresh_token"), ("refresh_token", "a"), ("refresh_token", "b")]
    assert client.http.post(client.sandbox.token_url, pairs, auth=auth).json()["error"] == "invalid_request"
