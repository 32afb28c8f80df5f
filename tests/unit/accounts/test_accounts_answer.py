"""Reading a response for what it says about the token."""

from __future__ import annotations

import io

import pytest
import requests
from urllib3 import HTTPHeaderDict, HTTPResponse

from worker.accounts.answer import read_answer
from worker.oauth.rejection import RejectionRule, RejectionRules

NONE = RejectionRules()


def answer(status: int, fields: list[tuple[str, str]], body: bytes = b"") -> requests.Response:
    """A response as requests hands it out when the caller streams."""
    headers = HTTPHeaderDict()
    for name, value in fields:
        headers.add(name, value)
    raw = HTTPResponse(io.BytesIO(body), headers=headers, status=status, preload_content=False)
    response = requests.Response()
    response.status_code, response.raw = status, raw
    response.headers.update(raw.headers)
    return response


def test_answer_reads_repeated_fields_apart():
    """Joined by a comma, a broken first one would hide the second."""
    fields = [("WWW-Authenticate", 'Digest realm="x'), ("WWW-Authenticate", 'Bearer error="invalid_token"')]
    assert read_answer(answer(403, fields), NONE).kind == "token_rejected"


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 429, 500])
def test_answer_of_another_status_is_not_read(status):
    """Not even its body."""
    response = answer(status, [("Content-Type", "application/json")], b'{"error": "invalid_token"}')
    assert read_answer(response, NONE) is None
    assert response.raw.read() == b'{"error": "invalid_token"}'


def test_answer_s_body_is_still_there_for_the_caller():
    """Having been searched."""
    body = b'{"error": "forbidden"}'
    response = answer(403, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))], body)
    assert read_answer(response, NONE) is None
    assert response.json() == {"error": "forbidden"}


@pytest.mark.parametrize(
    "fields",
    [[("Content-Length", "100000")], [("Content-Type", "text/plain")], [("Content-Type", "application/octet-stream")]],
)
def test_answer_s_body_is_left_alone_when_it_may_be_long(fields):
    """A stream of unknown length, or a known long one, is the caller's to read."""
    response = answer(403, fields, b"invalid_token" * 10)
    assert read_answer(response, NONE) is None
    assert response.raw.read() == b"invalid_token" * 10


def test_answer_s_header_lines_are_open_to_rules():
    """Any field, by name and value."""
    rules = RejectionRules((RejectionRule(400, "x-auth: gone"),))
    assert read_answer(answer(400, [("X-Auth", "GONE for good")]), rules).reason == "rule"
    assert read_answer(answer(400, [("X-Other", "x-auth")]), rules) is None


def test_answer_made_by_hand_is_read_too():
    """Test adapters bring no urllib3 response."""
    response = requests.Response()
    response.status_code, response._content = 401, b""
    response.headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope", scope="a"'
    assert read_answer(response, NONE).scopes == ("a",)
