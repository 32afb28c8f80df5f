"""Discovery."""

from __future__ import annotations

import pytest

from worker.errors import Misconfigured
from worker.oauth.metadata import is_protected, merge_metadata, metadata_urls

ISSUER = "https://as.example.org"


def document(**members):
    return {"issuer": ISSUER, **members}


@pytest.mark.parametrize(
    ("issuer", "first", "second", "count"),
    [
        (ISSUER, f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/.well-known/oauth-authorization-server", 2),
        (
            f"{ISSUER}/t/1",
            f"{ISSUER}/t/1/.well-known/openid-configuration",
            f"{ISSUER}/.well-known/oauth-authorization-server/t/1",
            4,
        ),
        (
            f"{ISSUER}/t/",
            f"{ISSUER}/t/.well-known/openid-configuration",
            f"{ISSUER}/.well-known/oauth-authorization-server/t",
            4,
        ),
    ],
)
def test_urls_follow_both_standards(issuer, first, second, count):
    """OpenID Connect appends to the path, RFC 8414 inserts before it."""
    urls = metadata_urls(issuer)
    assert (urls[0], urls[1], len(urls)) == (first, second, count)


def test_documents_are_merged():
    """One document lacks what the other has; the first one wins where both speak."""
    merged = merge_metadata(
        ISSUER,
        [
            document(token_endpoint=f"{ISSUER}/token", userinfo_endpoint=f"{ISSUER}/me", scopes_supported=["a"]),
            document(
                token_endpoint=f"{ISSUER}/other",
                revocation_endpoint=f"{ISSUER}/revoke",
                scopes_supported=["b", 3],
                authorization_response_iss_parameter_supported=True,
            ),
        ],
    )
    assert (merged.token_url, merged.revoke_url, merged.identity_url) == (
        f"{ISSUER}/token",
        f"{ISSUER}/revoke",
        f"{ISSUER}/me",
    )
    assert (merged.scopes_supported, merged.iss_advertised, merged.device_url) == (("a", "b"), True, None)


@pytest.mark.parametrize("told", ["https://as.example.org/", "https://evil.example", None, 7])
def test_document_of_another_issuer_is_refused(told):
    """RFC 8414 section 3.3: identical, to the last slash."""
    with pytest.raises(Misconfigured, match="issuer"):
        merge_metadata(ISSUER, [document(issuer=told)])


@pytest.mark.parametrize("documents", [[], [[], "x", None]])
def test_no_document_is_said(documents):
    """With what to do instead."""
    with pytest.raises(Misconfigured, match="no metadata"):
        merge_metadata(ISSUER, documents)


def test_endpoint_without_tls_is_refused():
    """Secrets would travel in the clear."""
    with pytest.raises(Misconfigured, match="not https"):
        merge_metadata(ISSUER, [document(token_endpoint="http://as.example.org/token")])


@pytest.mark.parametrize(
    ("url", "protected"),
    [
        ("https://as.example.org/token", True),
        ("http://127.0.0.1:8000/token", True),
        ("http://[::1]:8000/token", True),
        ("http://localhost/token", True),
        ("http://localhost.evil.example/token", False),
        ("http://as.example.org/token", False),
        ("ftp://127.0.0.1/", False),
        ("https:///token", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_protection_is_tls_or_this_machine(url, protected):
    """Loopback needs no TLS (RFC 8252 section 8.3)."""
    assert is_protected(url) is protected
