"""PKCE."""

from __future__ import annotations

import re

from worker.oauth.pkce import challenge_s256, new_verifier


def test_challenge_is_that_of_the_standard():
    """The example of RFC 7636 appendix B."""
    assert (
        challenge_s256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


def test_verifier_is_long_enough_and_of_legal_characters():
    """RFC 7636 section 4.1: 43 to 128 unreserved characters."""
    assert re.fullmatch(r"[A-Za-z0-9\-._~]{43,128}", new_verifier())


def test_verifier_is_new_each_time():
    """A verifier belongs to one attempt."""
    assert new_verifier() != new_verifier()


def test_verifier_of_given_bytes_is_theirs():
    """The bytes may be the caller's."""
    assert new_verifier(bytes(32)) == "A" * 43
