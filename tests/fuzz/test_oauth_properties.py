"""The fuzzers' properties: for every seed, for whatever hypothesis makes up, and for inputs that grow."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oauth_properties import CHECKS, NOW, REDIRECT, STATE, check_callback, check_challenges, check_token_answer

from worker.errors import EnrolmentFailed
from worker.oauth.authorization import ExpectedCallback, read_callback
from worker.oauth.challenge import parse_challenges
from worker.oauth.identity import identity_of, read_id_token
from worker.oauth.rejection import read_rejection
from worker.oauth.verdict import read_retry_after, read_token_answer

SEEDS = sorted((Path(__file__).parent / "corpus").glob("*/*"))
WORDS = ("Bearer", "Basic", "A", "realm", "error", "scope", "x", "@", "/", "YII+/=", "\xe9", "\x00")
MARKS = (
    " ",
    "  ",
    "\t",
    ",",
    ", ",
    "=",
    "==",
    '"',
    "\\",
    "\r\n ",
    '="a"',
    '="a\\"b"',
    "=invalid_token",
    '="read write"',
)
PIECES = st.lists(st.sampled_from(WORDS) | st.sampled_from(MARKS), max_size=40).map("".join)
MEMBERS = (
    "access_token", "refresh_token", "token_type", "expires_in", "expires_at", "scope", "error", "data", "id_token",
    "error_description", "code", "status", "errors", "message", "success", "retry_after",
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
NAMES = st.sampled_from(MEMBERS) | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
HEADS = st.binary(min_size=3, max_size=3)
PARTS = (
    REDIRECT, "http://", "127.0.0.1:8765", "/callback", "?", "&", "#", "=", ";", "code", "c0de", "state", STATE, "iss",
    "https%3A%2F%2Fas.example.org", "error", "access_denied", "%00", "%0d%0a", "+", " ", "@", "[", "\\",
)  # fmt: skip
CALLBACKS = st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=16).map("".join)
CLAIMS = {
    "400 digits": '{"exp": 1' + "0" * 400 + "}",
    "5000 digits": '{"exp": 1' + "0" * 5000 + "}",
    "arrays": '{"iss":' + "[" * 900 + "]" * 900 + "}",
    "objects": '{"aud":' + '{"a":' * 400 + "1" + "}" * 400 + "}",
    "100 000 arrays": "[" * 100_000,
    "no number": '{"exp": NaN}',
    "infinity": '{"exp": 1e400}',
}


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"{seed.parent.name}-{seed.name}")
def test_seed_keeps_every_property(seed):
    """What fuzzers start from, and whatever they once broke."""
    CHECKS[seed.parent.name](seed.read_bytes())


@settings(max_examples=400, deadline=None)
@given(PIECES | st.text(st.characters(max_codepoint=255), max_size=80))
def test_challenges_keep_every_property(text):
    """Of delimiters and words in any order."""
    check_challenges(text.encode("latin-1"))


@settings(max_examples=400, deadline=None)
@given(HEADS, st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_token_answer_keeps_every_property(head, body):
    """Of any bytes, and of any JSON with the names that matter."""
    check_token_answer(head + body)


@settings(max_examples=400, deadline=None)
@given(CALLBACKS)
def test_callback_keeps_every_property(text):
    """Of the parts of a true answer in any order."""
    check_callback(text.encode("utf-8", "replace"))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.integers().map(str) | st.floats().map(str) | st.datetimes().map(str))
def test_retry_after_is_a_wait_that_ends(value):
    """A number of seconds within three centuries, or none."""
    wait = read_retry_after(value, now=NOW)
    assert wait is None or 0 <= wait <= 1e10


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([401, 403]), PIECES, st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode())
)
def test_rejection_is_one_of_two_or_none(status, challenge, body):
    """And 403 says nothing about the token unless it says so in a code."""
    rejection = read_rejection(status, [challenge], "application/json", body)
    assert rejection is None or rejection.kind in {"token_rejected", "insufficient_scope"}
    assert status == 401 or rejection is None or rejection.reason


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | JSON.map(lambda claims: f"e30.{_base64(json.dumps(claims))}.c2ln"))
def test_id_token_is_believed_or_refused_in_words(id_token):
    """No claim of whatever kind ends in another error."""
    try:
        claims = read_id_token(id_token, issuer="https://as.example.org", client_id="c", nonce="n", now=NOW)
    except EnrolmentFailed as refusal:
        _check_words(refusal)
    else:
        assert claims["iss"] == "https://as.example.org"


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["sub", "email", "name", "id"]), JSON | st.integers(), max_size=4))
def test_identity_is_one_line_or_refused(claims):
    """What a provider calls a person is printed on terminals."""
    try:
        identity = identity_of(claims)
    except EnrolmentFailed as refusal:
        _check_words(refusal)
    else:
        assert identity.subject.isprintable()
        assert not {"\n", "\r", "\x1b", "\u202e"} & set(identity.label)


def _check_words(refusal: EnrolmentFailed) -> None:
    assert refusal.message
    assert not {"\n", "\r", "\x1b"} & set(refusal.message)


@pytest.mark.parametrize("name", CLAIMS)
def test_id_token_with_claims_beyond_reason_is_refused_in_words(name):
    """Huge numbers and deep nests."""
    with pytest.raises(EnrolmentFailed):
        read_id_token(f"e30.{_base64(CLAIMS[name])}.c2ln", issuer=None, client_id="c", nonce=None, now=NOW)


GROWING = {
    "challenges": (parse_challenges, lambda n: ["A b=c, " * n]),
    "open quotes": (parse_challenges, lambda n: ['A b="' + "\\" * (7 * n)]),
    "blanks": (parse_challenges, lambda n: ["A" + " \t" * (4 * n)]),
    "folds": (parse_challenges, lambda n: ["\r\n " * (3 * n)]),
    "members": (read_token_answer, lambda n: (200, {}, b'{"a":1' + b',"a_b":"c d"' * n + b"}")),
    "records": (read_token_answer, lambda n: (400, {}, b'{"errors":[' + b'{"code":"x"},' * n + b"1]}")),
    "open arrays": (read_token_answer, lambda n: (200, {}, b"[" * (8 * n))),
    "script call": (read_token_answer, lambda n: (400, {}, b"a({" + b"}  " * (3 * n))),
    "name of a script call": (read_token_answer, lambda n: (400, {}, b"a." * (4 * n) + b" " * n)),
    "comments": (read_token_answer, lambda n: (400, {}, b"<!--" + b"--> " * (2 * n))),
    "form": (read_token_answer, lambda n: (200, {}, b"a=b&" * (2 * n))),
    "a word": (read_token_answer, lambda n: (400, {}, b"invalid_" * n)),
    "description": (read_token_answer, lambda n: (400, {}, b'{"error_description":"' + b"token: " * n + b'"}')),
    "callback": (read_callback, lambda n: f"{REDIRECT}?" + "a=%41&" * n),
    "pasted text": (read_callback, lambda n: "<" * (8 * n)),
}


@pytest.mark.parametrize("name", GROWING)
def test_reading_grows_no_faster_than_its_input(name):
    """Sixteen times the input takes sixteen times as long; were it quadratic, 256 times."""
    read, make = GROWING[name]
    small, large = (min(_seconds(read, make(n)) for _ in range(3)) for n in (8_000, 128_000))
    assert large < 90 * max(small, 0.0005)


def _seconds(read, given_input) -> float:
    """Of this process alone, whatever else the machine does."""
    started = time.process_time()
    if read is read_token_answer:
        read(*given_input, now=NOW)
    elif read is parse_challenges:
        read(given_input)
    else:
        with pytest.raises(EnrolmentFailed):
            read(given_input, expected=ExpectedCallback(REDIRECT, STATE))
    return time.process_time() - started


def _base64(text: str) -> str:
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
