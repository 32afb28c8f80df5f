"""Evidence is short, on one line and without secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.oauth.evidence import LONGEST_TEXT, page_title, safe_text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Invalid refresh token: 8b7c5d2fb3a0", "8b7c5d2fb3a0"),
        ("Invalid refresh token (expired): 5d2fb3a0-aaaa-bbbb-cccc-1234567890ab", "5d2fb3a0"),
        ("token tGzv3JOkF0XG5Qx2TlKWIA was revoked", "tGzv3JOkF0XG5Qx2TlKWIA"),
        ("see https://example.org/cb?code=abc123", "abc123"),
        ('{"refresh_token": "hunter2hunter2"}', "hunter2"),
        ("sent Authorization: Basic YWJjOmRlZmdo", "YWJjOmRlZmdo"),
        ("client_secret=sesame123", "sesame123"),
    ],
)
def test_evidence_holds_no_secret(text, secret):
    """Descriptions quote secrets back at us."""
    assert secret not in safe_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "AADSTS700081: The refresh token has expired. Trace ID: 57a50e0a-2446-4543-8760-aff1583b2b00",
        "https://support.example.org/a/answer/9368756",
        "The user must sign in again, 2026-01-09 10:32:25Z.",
        "keymanagement.service.invalid_refresh_token",
    ],
)
def test_evidence_keeps_what_helps(text):
    """Trace ids, addresses and times are for the provider's support."""
    assert safe_text(text) == text


def test_evidence_is_cut():
    """A description is not a page."""
    assert len(safe_text("word " * 1000)) == LONGEST_TEXT


@given(st.text())
def test_evidence_of_any_text_is_one_storable_line(text):
    """No control characters, nothing that UTF-8 cannot hold."""
    clean = safe_text(text)
    assert len(clean.splitlines()) <= 1
    clean.encode()


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<html><head><title>502 Bad Gateway</title>", "502 Bad Gateway"),
        ("<TITLE lang=en>Oops\n</TITLE>", "Oops"),
        ("", ""),
    ],
)
def test_page_title_names_the_trouble(page, title):
    """What a proxy says about itself."""
    assert page_title(page) == title
