"""What an API's answer says about the token."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.oauth.rejection import Rejection, RejectionRule, RejectionRules, read_rejection

PAGE = b"<html><head><title>403 Forbidden</title></head><body>invalid_token</body></html>"


def read(status, challenges=(), body=b"", content_type="application/json", rules=()):
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_rejection(status, challenges, content_type, sent, rules=RejectionRules(tuple(rules)))


def kind(*arguments, **named):
    rejection = read(*arguments, **named)
    return rejection and rejection.kind


@pytest.mark.parametrize(
    "challenges",
    [
        [],
        [""],
        ["Bearer"],
        ['Bearer realm="api"'],
        ["Negotiate"],
        ['Bearer realm="api", error=""'],
        ['Bearer error="invalid_token"'],
        ['Bearer error="expired_token"'],
        ['bearer ERROR="Invalid_Token"'],
        ['DPoP algs="ES256", error="invalid_token"'],
        ['Basic realm="demo", error="expired_token", error_message="The access token has expired"'],
        ['Basic realm="demo", \r\n   error_message="The access token is invalid"'],
        ['Basic realm="x"', 'Bearer error="invalid_token"'],
        ['Basic realm="x", Bearer error="invalid_token"'],
        ['Bearer error="broken'],
    ],
)
def test_401_rejects_the_token(challenges):
    """With a reason that says so, with a challenge without a reason, or without a readable challenge."""
    assert kind(401, challenges) == "token_rejected"


@pytest.mark.parametrize("reason", ["invalid_request", "use_dpop_nonce", "invalid_dpop_proof", "something_else"])
def test_401_with_another_reason_is_not_about_the_token(reason):
    """A refresh would not mend it."""
    assert read(401, [f'Bearer error="{reason}"']) is None


def test_401_with_another_reason_beside_a_bare_challenge_is_not_about_the_token():
    """The one challenge that gives a reason speaks for all."""
    assert read(401, ['Basic realm="x"', 'Bearer error="invalid_request"']) is None


def test_401_keeps_reason_and_description():
    """For the timeline: what the API said."""
    rejection = read(401, ['Basic realm="demo", error="invalid_token", error_message="It is revoked"'])
    assert rejection == Rejection("token_rejected", "invalid_token", "It is revoked")


def test_401_with_a_message_alone_keeps_the_message():
    """A challenge without a reason still describes."""
    rejection = read(401, ['Basic realm="demo", error_message="The access token is invalid"'])
    assert rejection == Rejection("token_rejected", "", "The access token is invalid")


def test_description_is_redacted():
    """APIs quote the token back."""
    rejection = read(401, ['Bearer error="invalid_token", error_description="token tGzv3JOkF0XG5Qx2TlKWIA revoked"'])
    assert "tGzv3JOkF0XG5Qx2TlKWIA" not in rejection.description


@pytest.mark.parametrize(
    "body",
    [
        b"",
        PAGE,
        {"message": "Forbidden"},
        {"error": "forbidden"},
        {"message": "invalid token supplied"},
        {"error": {"code": 403, "message": "invalid_token is what some say"}},
        {"error": "access_denied", "error_description": "invalid_token"},
        b'{"error":"invalid_token"',
        b"[" * 50_000,
    ],
)
@pytest.mark.parametrize("challenges", [[], ["Bearer"], ['Bearer error="invalid_request"']])
def test_plain_403_is_the_apis_own_no(challenges, body):
    """It never spends a refresh."""
    assert read(403, challenges, body) is None


@pytest.mark.parametrize("scheme", ["Bearer", "Basic", "DPoP", "Whatever"])
@pytest.mark.parametrize("reason", ["invalid_token", "expired_token"])
def test_403_with_a_reason_in_any_scheme_rejects_the_token(scheme, reason):
    """Some providers answer 403 for a dead token, and not always in the Bearer scheme."""
    assert kind(403, [f'{scheme} realm="demo", error="{reason}"']) == "token_rejected"


@pytest.mark.parametrize(
    "body",
    [
        {"error": "invalid_token"},
        {"error": "expired_token"},
        {"error": {"code": "invalid_token"}},
        {"error": {"type": "expired_token", "message": "m"}},
        {"error": {"code": 403, "status": "INVALID_TOKEN"}},
        {"code": "InvalidToken"},
        {"errorCode": "invalid-token"},
        {"errors": [{"code": "other"}, {"code": "invalid_token"}]},
        {"error": {"errors": [{"reason": "invalid_token"}]}},
        {"type": "https://example.org/problems/invalid-token", "title": "Nope", "status": 403},
        {"type": "https://example.org/problems#expired_token"},
        {"Message": "invalid_token"},
    ],
)
def test_403_with_the_code_in_a_json_body_rejects_the_token(body):
    """The same codes in the places where JSON errors stand, RFC 9457 among them."""
    assert kind(403, [], body) == "token_rejected"


def test_403_with_json_that_is_labelled_otherwise_is_read():
    """Content types lie."""
    assert kind(403, [], {"error": "invalid_token"}, content_type="text/plain") == "token_rejected"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("challenge", "scopes"),
    [
        ('Bearer error="insufficient_scope", scope="read write"', ("read", "write")),
        ('Basic realm="demo", error="insufficient_scope", scopes="read,write"', ("read", "write")),
        ('Bearer error="insufficient_scope"', ()),
    ],
)
def test_missing_scope_in_a_challenge_names_the_scopes(status, challenge, scopes):
    """A refresh cannot widen a grant, so it is told apart on both statuses."""
    assert read(status, [challenge]) == Rejection("insufficient_scope", "insufficient_scope", scopes=scopes)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    "body",
    [
        {"error": "insufficient_scope", "scope": "read write"},
        {"error": {"code": "insufficient_scope", "scopes": ["read", "write"]}},
        {
            "error": {
                "status": "PERMISSION_DENIED",
                "details": [{"reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "scope": "read write"}],
            }
        },
    ],
)
def test_missing_scope_in_a_body_names_the_scopes(status, body):
    """Likewise where the body says it."""
    rejection = read(status, [], body)
    assert (rejection.kind, rejection.scopes) == ("insufficient_scope", ("read", "write"))


def test_missing_scope_outweighs_everything_else():
    """Where both are said, no refresh is spent."""
    challenges = ['Bearer error="invalid_token"', 'Bearer error="insufficient_scope"']
    rule = RejectionRule(403)
    assert kind(403, challenges, rules=[rule]) == "insufficient_scope"


@pytest.mark.parametrize("status", [200, 400, 404, 407, 429, 500, 503])
def test_other_statuses_are_not_about_the_token(status):
    """Whatever they say beside it."""
    assert read(status, ['Bearer error="invalid_token"'], {"error": "invalid_token"}) is None


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        (RejectionRule(403), True),
        (RejectionRule(400), False),
        (RejectionRule(403, header="SESSION"), True),
        (RejectionRule(403, header="absent"), False),
        (RejectionRule(403, body="invalid session"), True),
        (RejectionRule(403, body="absent"), False),
        (RejectionRule(403, header="session", body="Invalid Session"), True),
        (RejectionRule(403, header="session", body="absent"), False),
    ],
)
def test_rule_matches_when_all_its_parts_do(rule, matches):
    """An operator's rule, for APIs that say it in their own way."""
    rejection = read(403, ['Custom realm="Session"'], b"<e>INVALID SESSION</e>", rules=[rule])
    assert bool(rejection) is matches


def test_rule_counts_on_any_status():
    """Some APIs have statuses of their own for it."""
    assert kind(419, rules=[RejectionRule(419)]) == "token_rejected"


@given(st.integers(), st.lists(st.text(), max_size=3), st.text(max_size=20), st.binary(max_size=200))
def test_any_answer_is_read_without_raising(status, challenges, content_type, body):
    """Neither fields nor bytes raise anything."""
    read_rejection(status, challenges, content_type, body)
    read_rejection(403, challenges, content_type, body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["invalid_token", "x"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "errors", "code", "details", "scope", "x"]), inner, max_size=3)
        ),
    )
)
def test_any_json_is_read_without_raising(value):
    """Codes of any type in any place raise nothing."""
    read(403, [], value)
