"""Tokens of a successful answer."""

from __future__ import annotations

import pytest

from worker.oauth.dialect import Dialect
from worker.oauth.tokens import Tokens, find_tokens, read_tokens

NOW = 1_767_225_600.0


def tokens(record, **settings):
    dialect = Dialect(**settings)
    return read_tokens(find_tokens(record, dialect), dialect, now=NOW)


def test_tokens_hide_themselves():
    """A repr in a log or a traceback shows no token."""
    shown = repr(Tokens("sesame-1", refresh_token="sesame-2", id_token="sesame-3"))
    assert "sesame" not in shown


@pytest.mark.parametrize("absent", [None, "", "  ", {}, [], False, True, 1.5])
def test_refresh_token_that_is_none_keeps_the_old_one(absent):
    """Missing, null, empty or unreadable: None, which means keep."""
    assert tokens({"access_token": "a", "refresh_token": absent}).refresh_token is None


def test_refresh_token_as_a_number_is_kept():
    """It comes back to its issuer as the same digits; to drop it would cost the grant."""
    assert tokens({"access_token": "a", "refresh_token": 123}).refresh_token == "123"


@pytest.mark.parametrize(
    ("told", "token_type"),
    [
        (None, "Bearer"),
        ("", "Bearer"),
        ("bearer", "Bearer"),
        ("BEARER", "Bearer"),
        ("BearerToken", "Bearer"),
        ("bot", "Bearer"),
        ("user", "Bearer"),
        ("Application Access Token", "Bearer"),
        (17, "Bearer"),
        ("DPoP", "DPoP"),
        ("mac", "mac"),
        ("example", "example"),
    ],
)
def test_token_type_says_how_the_token_is_sent(told, token_type):
    """Types that say whose the token is are bearer tokens; real other types are kept."""
    assert tokens({"access_token": "a", "token_type": told}).token_type == token_type


@pytest.mark.parametrize(
    "record",
    [
        {"accessToken": "a", "refreshToken": "r", "expiresIn": 60, "tokenType": "bearer", "scope": "s"},
        {"access-token": "a", "Refresh_Token": "r", "EXPIRES_IN": "60", "scopes": ["s"]},
        {"token": "a", "refreshToken": "r", "expiresAt": "2026-01-01T00:01:00Z", "grantedScopes": "s"},
        {"data": {"access_token": "a", "refresh_token": "r", "expires_in": 60, "scope": "s"}, "code": 0},
    ],
)
def test_tokens_are_found_under_any_spelling_and_in_an_envelope(record):
    """Case, separators and one envelope do not matter."""
    assert tokens(record) == Tokens("a", "Bearer", "r", 60, ("s",))


def test_tokens_of_two_children_are_ambiguous():
    """Which of two tokens is ours is for the settings to say."""
    record = {"bot": {"access_token": "b"}, "user": {"access_token": "u"}}
    assert not find_tokens(record, Dialect())
    assert tokens(record, token_path="user").access_token == "u"


def test_standard_name_wins_over_its_spellings():
    """Where a provider sends both, the standard one counts."""
    assert tokens({"accessToken": "old", "access_token": "new"}).access_token == "new"
    assert tokens({"access_token": "new", "accessToken": "old"}).access_token == "new"


def test_settings_name_members_of_their_own():
    """What no rule can know is a setting."""
    record = {"body": {"key": "a", "secret": "r"}}
    found = tokens(record, token_path="body", names={"access_token": "key", "refresh_token": "secret"})
    assert (found.access_token, found.refresh_token) == ("a", "r")


@pytest.mark.parametrize(
    ("told", "scopes"),
    [("read", ("read", "offline")), ("read offline", ("read", "offline")), ("", ()), (None, None)],
)
def test_settings_name_scopes_that_the_answer_leaves_out(told, scopes):
    """They join a list; no list, and one that grants nothing, stay what they are."""
    assert tokens({"access_token": "a", "scope": told}, unlisted_scopes=("offline",)).scopes == scopes


def test_settings_give_a_lifetime_where_none_is_told():
    """A default stands in for a missing lifetime only."""
    assert tokens({"access_token": "a"}, default_expires_in=3600).expires_in == 3600
    assert tokens({"access_token": "a", "expires_in": 5}, default_expires_in=3600).expires_in == 5


@pytest.mark.parametrize("access", [None, "", " ", 123, True, [], {}, "a\nb", "a\x00", "caf\xe9", "\ud800"])
def test_access_token_that_cannot_be_sent_is_none(access):
    """A token travels in a header field: text, printable, on one line."""
    assert find_tokens({"access_token": access, "scope": "s"}, Dialect()) == {}


def test_lone_token_member_is_no_access_token():
    """`token` means many things; it counts beside a refresh token only."""
    assert find_tokens({"token": "a"}, Dialect()) == {}
