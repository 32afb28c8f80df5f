"""What must hold of the three parsers whatever bytes come: fuzzers and hypothesis look for bytes of which it does not.

Each function takes one input and raises AssertionError when a property is broken. None knows how a parser works.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from urllib.parse import parse_qsl, unquote_plus

from worker.errors import EnrolmentFailed
from worker.oauth.authorization import ExpectedCallback, is_answer_to, read_callback
from worker.oauth.challenge import parse_challenges
from worker.oauth.verdict import read_token_answer

NOW = 1_767_258_000.0
REDIRECT = "http://127.0.0.1:8765/callback"
STATE = "st4te-of-this-very-attempt"
ISSUER = "https://as.example.org"
EXPECTED = ExpectedCallback(REDIRECT, STATE, ISSUER)

STATUSES = (200, 201, 204, 302, 307, 400, 401, 403, 404, 408, 429, 500, 502, 503, 103, 0)
TYPES = ("application/json", "application/x-www-form-urlencoded", "text/html", "text/plain; charset=utf-16", "")
WAITS = ("", "120", "Fri, 31 Dec 9999 23:59:59 GMT", "9" * 400, "-1")

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")
_SECRET = re.compile(r"(?=.*\d)(?=.*[a-z])[a-z0-9]{16,64}")
_LONGEST_WAIT = 10_000_000_000
_SECRET_NAMES = ("access_token", "refresh_token", "id_token", "client_secret")


def check_challenges(data: bytes) -> None:
    """Sound challenges, no more text than came in, and the same again when they are written and read once more."""
    text = data.decode("latin-1")
    found = parse_challenges([text])
    for one in found:
        assert _TOKEN.fullmatch(one.scheme), one
        assert all(_TOKEN.fullmatch(name) for name in one.parameters), one
        assert not (one.parameters and one.token68), one
    size = sum(len(one.scheme) + len(one.token68 or "") + len("".join(one.parameters.values())) for one in found)
    assert size <= len(text)
    written = [render(one) for one in found]
    assert parse_challenges([", ".join(written)]) == found
    assert parse_challenges(written) == found
    assert parse_challenges(["X", text, 'Y a="b"']) == [
        *parse_challenges(["X"]),
        *found,
        *parse_challenges(['Y a="b"']),
    ]


def render(challenge) -> str:
    """A challenge as RFC 9110 section 11 writes it."""
    if challenge.token68:
        return f"{challenge.scheme} {challenge.token68}"
    values = {name: re.sub(r'(["\\])', r"\\\1", value) for name, value in challenge.parameters.items()}
    written = ", ".join(f'{name}="{value}"' for name, value in values.items())
    return f"{challenge.scheme} {written}".strip(" ")


def check_token_answer(data: bytes) -> None:
    """One of four kinds; tokens that can be sent and stored; evidence without secrets that a log and JSON can hold."""
    head, body = data[:3].ljust(3, b"\0"), data[3:]
    status = STATUSES[head[0] % len(STATUSES)]
    headers = {"Content-Type": TYPES[head[1] % len(TYPES)], "Retry-After": WAITS[head[2] % len(WAITS)]}
    outcome = read_token_answer(status, headers, body, now=NOW)
    assert outcome == read_token_answer(status, headers, body, now=NOW)
    assert outcome.kind in {"token", "needs_consent", "try_again_later", "misconfigured"}
    if outcome.kind == "token":
        assert 200 <= status <= 299
        _check_tokens(outcome.tokens)
        return
    if status in {408, 429, 500, 502, 503}:
        assert outcome.kind == "try_again_later"
    after = getattr(outcome, "after", None)
    assert after is None or (isfinite(after) and 0 <= after <= _LONGEST_WAIT), after
    _check_evidence(outcome.evidence, body)


def _check_tokens(tokens) -> None:
    assert tokens.access_token
    assert tokens.access_token.isascii()
    assert tokens.access_token.isprintable()
    assert tokens.refresh_token is None or (tokens.refresh_token.isprintable() and tokens.refresh_token.strip())
    assert tokens.expires_in is None or 1 <= tokens.expires_in <= _LONGEST_WAIT
    assert tokens.scopes is None or all(isinstance(scope, str) and scope for scope in tokens.scopes)
    assert len(tokens.token_type.split()) == 1


def _check_evidence(evidence, body: bytes) -> None:
    shown = json.dumps(evidence, allow_nan=False, ensure_ascii=False)
    for fact in evidence.values():
        if isinstance(fact, str):
            assert len(fact) <= 300
            assert not _CONTROLS.search(fact), fact
    for secret in _secrets(body):
        assert secret not in shown


def _secrets(body: bytes) -> list[str]:
    """The values of secret names in a JSON object, as far as they look like secrets: letters and digits, long."""
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        return []
    values = [record.get(name) for name in _SECRET_NAMES] if isinstance(record, dict) else []
    return [value for value in values if isinstance(value, str) and _SECRET.fullmatch(value)]


#: Tab, line feed, carriage return.
_BREAKS = {9: None, 10: None, 13: None}


def check_callback(data: bytes) -> None:
    """A code only from an answer to this very attempt; for all else one error, in one line, without what is secret."""
    text = data.decode("utf-8", "replace")
    belongs = is_answer_to(text, EXPECTED)
    try:
        code = read_callback(text, expected=EXPECTED)
    except EnrolmentFailed as refusal:
        _check_refusal(refusal, text)
        return
    assert belongs
    # Where a terminal has wrapped the pasted address, urlsplit takes the breaks out (WHATWG URL, "basic URL parser").
    assert STATE in unquote_plus(text.translate(_BREAKS))
    assert re.fullmatch(r"[\x20-\x7e]+", code)


def _check_refusal(refusal: EnrolmentFailed, text: str) -> None:
    told = f"{refusal.message} {refusal.hint} {refusal.evidence}"
    assert refusal.message
    members = parse_qsl(text.partition("?")[2] or text, keep_blank_values=True)
    # Within another member, one that is told, it is what whoever made the address wanted told.
    assert any(STATE in value for name, value in members if name != "state") or f"={STATE}" not in told
    assert not _CONTROLS.search(refusal.message), refusal.message
    assert len(refusal.message) < 1200


CHECKS = {"challenge": check_challenges, "token_answer": check_token_answer, "callback": check_callback}
