"""Codes and descriptions by themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.oauth.codes import read_code, words_of
from worker.oauth.texts import read_texts


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("refresh_token_expired", ["refresh", "token", "expired"]),
        ("RefreshTokenExpired", ["refresh", "token", "expired"]),
        ("REFRESH-TOKEN-NOT-FOUND", ["refresh", "token", "notfound"]),
        ("HTTPError", ["http", "error"]),
        ("40029", ["40029"]),
        ("", []),
        ("!?", []),
    ],
)
def test_code_is_split_into_words(code, words):
    """Whatever the provider's taste."""
    assert words_of(code) == words


@pytest.mark.parametrize(
    "code",
    ["Bad Request", "bad_request", "forbidden", "unauthorized", "OAuthException", "invalid_csrf_token", "error", "",
     "400", "invalid_authorization_header", "not_found", "about:blank", "invalid", "expired"],
)  # fmt: skip
def test_code_that_says_nothing_has_no_meaning(code):
    """Only a clear signal counts; these are everybody's and nobody's."""
    reading = read_code(code)
    assert reading is None or reading.meaning == "client"


@pytest.mark.parametrize(
    "text",
    [
        "Unsupported grant type",
        "invalid grant_type",
        "Error code: unknown",
        "Client not allowed for refresh token grant",
        "The status code was not found",
        "Invalid token type",
        "The token endpoint is unavailable",
        "Invalid CSRF token",
        "Client secret has expired",
        "Client authentication failed",
    ],
)
def test_description_that_is_not_about_the_grant_does_not_kill_it(text):
    """The words of a dead grant in another sense."""
    assert "dead" not in read_texts([text])


@pytest.mark.parametrize(
    "text",
    ["Refresh token is expired", "refresh_token: not found", "The `refresh_token` has been revoked",
     "Unknown refresh token", "The authorization code has already been used", "authorization grant is invalid",
     "Offline session not found",
     "token_expired", "Invalid code", "The user must sign in again", "Consent has been revoked",
     "User needs to log in again", "The refresh token you sent does not exist", "RefreshToken already redeemed"],
)  # fmt: skip
def test_description_of_a_dead_grant_is_understood(text):
    """In the words that providers use."""
    assert "dead" in read_texts([text])


@given(st.text())
def test_any_text_is_read_without_raising(text):
    """Codes and descriptions come from strangers."""
    read_code(text)
    read_texts([text])


def test_hostile_description_takes_linear_time():
    """A description of a megabyte is read at once."""
    for text in ("refresh token " * 80_000, "invalid " * 150_000, "redirect uri " * 90_000, " " * 1_000_000):
        read_texts([text])
        read_code(text)
