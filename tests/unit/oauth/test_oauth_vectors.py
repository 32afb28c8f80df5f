"""The shared vectors, each as a test: what servers in the wild send, read by somebody who had not seen our code."""

from __future__ import annotations

import json
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from worker.oauth.challenge import parse_challenges
from worker.oauth.dialect import Dialect
from worker.oauth.verdict import Postponed, TokenGranted, read_token_answer

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "vectors"
NOW = datetime.fromisoformat("2026-01-01T09:00:00Z").timestamp()
KINDS = {
    "token": "token",
    "reconsent": "needs_consent",
    "transient": "try_again_later",
    "config_error": "misconfigured",
}
#: What an operator would write for providers whose answers cannot be read from themselves.
SETTINGS = {
    "fiserv-expires-ms": Dialect(expires_in_unit="milliseconds"),
    "tiktok-ads-envelope": Dialect(token_path="data"),
    "tiktok-accounts-envelope": Dialect(token_path="data"),
    "shopline-envelope": Dialect(token_path="data"),
    "coros-refresh-no-token": Dialect(extending_codes=("0000",)),
    "coros-5002": Dialect(client_errors=("5002",)),
}


def _vectors(name, wanted=lambda _: True):
    path = FOLDER / name
    if not path.is_file():
        return [pytest.param({}, id="absent", marks=pytest.mark.skip(reason=f"{name} is not beside this checkout"))]
    return [pytest.param(vector, id=vector["id"]) for vector in json.loads(path.read_text()) if wanted(vector)]


def _shape(challenges):
    return [{"scheme": c.scheme, "params": c.parameters, "token68": c.token68} for c in challenges]


def _read(vector):
    headers = {"content-type": vector["content_type"], **vector["headers"]}
    return read_token_answer(
        vector["status"], headers, vector["body"].encode(), now=NOW, dialect=SETTINGS.get(vector["id"])
    )


@pytest.mark.parametrize("vector", _vectors("www_authenticate.json", lambda vector: vector["expect"] != "error"))
def test_challenge_vector_is_read_strictly(vector):
    """Valid and ambiguous fields give the RFC 9110 reading."""
    assert _shape(parse_challenges(vector["headers"])) == vector["expect"]


@pytest.mark.parametrize("vector", _vectors("www_authenticate.json"))
def test_challenge_vector_keeps_a_neighbouring_field(vector):
    """Whatever one field value holds, challenges of the values around it are kept."""
    before, after = (
        {"scheme": "x", "params": {}, "token68": None},
        {"scheme": "y", "params": {"b": "c"}, "token68": None},
    )
    read = _shape(parse_challenges(["X", *vector["headers"], 'Y b="c"']))
    assert (read[0], read[-1]) == (before, after)


@pytest.mark.parametrize("vector", _vectors("www_authenticate.json", lambda vector: vector["expect"] == "error"))
def test_invalid_challenge_vector_gives_nothing_from_the_faulty_challenge(vector):
    """What is kept of an invalid field is what the bytes before the fault say by themselves."""
    kept = parse_challenges(vector["headers"])
    text = vector["headers"][0]
    prefixes = [_shape(parse_challenges([text[:end]])) for end in range(len(text)) if text[end : end + 1] == ","]
    assert not kept or _shape(kept) in prefixes


@pytest.mark.parametrize("vector", _vectors("token_responses.json"))
def test_token_vector_leads_to_the_right_next_step(vector):
    """The kind of outcome is the one a careful reader gave it."""
    assert _read(vector).kind == KINDS[vector["expect"]["kind"]]


@pytest.mark.parametrize("vector", _vectors("token_responses.json", lambda vector: vector["expect"]["kind"] == "token"))
def test_token_vector_gives_its_tokens(vector):
    """All members of a granted token are read, and an omitted refresh token keeps the old one."""
    outcome, expect = _read(vector), vector["expect"]
    assert isinstance(outcome, TokenGranted)
    tokens = outcome.tokens
    if "expires_at" in expect:
        expires_at = datetime.fromisoformat(expect["expires_at"]).timestamp()
        assert NOW + tokens.expires_in == expires_at
    else:
        assert tokens.expires_in == expect["expires_in"]
    assert (tokens.access_token or "OLD_AT") == expect["access_token"]
    assert tokens.token_type == expect["token_type"]
    assert (tokens.refresh_token or vector.get("old_refresh_token")) == expect["refresh_token"]
    assert (None if tokens.scopes is None else list(tokens.scopes)) == expect["scope"]


@pytest.mark.parametrize("vector", _vectors("token_responses.json", lambda vector: vector["expect"].get("error")))
def test_token_vector_shows_the_code_as_evidence(vector):
    """The evidence names the provider's own code."""
    assert _read(vector).evidence["error"] == vector["expect"]["error"]


@pytest.mark.parametrize("vector", _vectors("token_responses.json", lambda vector: "retry_after" in vector["expect"]))
def test_token_vector_waits_as_long_as_it_is_told(vector):
    """Retry-After is honoured whole, in both its forms."""
    told, outcome = vector["expect"]["retry_after"], _read(vector)
    if isinstance(told, str):
        told = parsedate_to_datetime(told).timestamp() - NOW
    assert isinstance(outcome, Postponed)
    assert outcome.after == told
