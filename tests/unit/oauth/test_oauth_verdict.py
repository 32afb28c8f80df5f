"""Token answers, rule by rule. The bodies are those of real providers, or their forms with other values."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from worker.oauth.dialect import Dialect
from worker.oauth.verdict import GrantDead, Postponed, read_retry_after, read_token_answer

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
TOKEN = {"access_token": "a", "token_type": "Bearer"}


def read(body, status=200, *, content_type="application/json", dialect=None, **headers):
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    return read_token_answer(status, fields, sent, now=NOW, dialect=dialect)


def described(code, description, **more):
    return {"error": code, "error_description": description, **more}


DEAD = [
    (400, {"error": "invalid_grant"}),
    (400, {"error": ["invalid_grant"]}),
    (400, {"error": {"code": "invalid_grant"}}),
    (400, described("invalid_grant: Token is expired or invalid.", "Token is expired or invalid.")),
    (400, described("invalid_grant", "Incorrect token type or client id")),
    (400, described("invalid_grant", "Code verifier does not match")),
    (400, described("invalid_grant", "Session not active")),
    (200, described("bad_verification_code", "The code passed is incorrect or expired.")),
    (401, described("login_required", "The refresh_token is invalid. Please generate a new one.")),
    (400, {"error": "consent_required"}),
    (400, {"error": "interaction_required"}),
    (403, {"error": "mfa_required"}),
    (403, described("access_denied", "user is blocked")),
    (400, {"error": "access_denied"}),
    (401, described("access_denied", "The refresh token was revoked")),
    (401, described("invalid_token", "Invalid refresh token (expired): 5d2fb3a0-aaaa-bbbb-cccc-1234567890ab")),
    (400, {"error": "expired_token"}),
    (401, {"error": "token_inactive"}),
    (400, {"error": "authorization_revoked"}),
    (400, {"error": "user_not_found"}),
    (400, described("inactive_user", "user is inactive")),
    (200, {"ok": False, "error": "token_revoked"}),
    (200, {"ok": False, "error": "code_already_used"}),
    (400, {"error": "InvalidRefreshToken"}),
    (400, {"err": "invalid_refresh_token"}),
    (400, {"Message": "invalid_token"}),
    (400, "invalid_grant"),
    # the code elsewhere
    (400, {"status": "BAD_AUTH_CODE", "message": "missing or unknown auth code"}),
    (400, {"code": 400, "error_code": "refresh_token_already_used", "msg": "Invalid Refresh Token: Already Used"}),
    (400, {"errorCode": "invalid_grant", "errorSummary": "The refresh token is invalid.", "errorCauses": []}),
    (400, {"fault": {"faultstring": "x", "detail": {"errorcode": "keymanagement.service.invalid_refresh_token"}}}),
    (400, {"__type": "InvalidGrantException", "message": "x"}),
    (401, {"error": {"message": "x", "type": "invalid_request_error", "code": "token_expired"}}),
    (400, {"message": "Bad Request", "errors": [{"resource": "RefreshToken", "field": "x", "code": "invalid"}]}),
    (400, {"message": "Bad Request", "errors": [{"resource": "AuthorizationCode", "field": "", "code": "expired"}]}),
    (400, {"errors": {"refresh_token": ["is invalid"]}}),
    (400, {"title": "Refresh token expired", "status": 400, "type": "about:blank"}),
    # a weak code that the description outweighs
    (403, described("unauthorized_client", "refresh_token is invalid")),
    (400, described("invalid_request", "The refresh_token is invalid.", status="error")),
    (401, described("invalid_request", "The refresh token is invalid.", hint="Token has been revoked")),
    (400, described("invalid_request", "Value passed for the token was invalid.")),
    (400, described("invalid_request", "session not found")),
    (401, {"reason": "Invalid Token!", "error": "invalid_request"}),
    (400, described("server_error", "AuthorizationRecordRevoked")),
    (401, {"ErrorCode": "invalid_request", "Error": "Refresh Token expired"}),
    (400, {"error": {"type": "invalid_request_error", "message": "Refresh token not found or invalid"}}),
    (400, described("bad_request", "The refresh token was already consumed")),
    # no code that says anything
    (200, {"status": 503, "body": {}, "error": "Invalid Params: invalid refresh_token"}),
    (200, {"status": 401, "body": {}, "error": "invalid_token: The access token provided is invalid"}),
    (200, {"errcode": 40030, "errmsg": "invalid refresh_token"}),
    (200, {"errcode": 40029, "errmsg": "invalid code, hints: [ req_id: 5aFZAa0483ns81 ]"}),
    (200, {"errcode": 61023, "errmsg": "refresh_token is invalid hint: [Oto2JA02774731]"}),
    (400, {"code": 20026, "msg": "refresh token is invalid"}),
    (200, {"code": 40105, "message": "Access token is incorrect or has been revoked."}),
    (200, {"data": {"description": "Refresh token is invalid", "error_code": 10010}, "message": "error"}),
    (400, {"__type": "NotAuthorizedException", "message": "Refresh Token has been revoked"}),
    (400, {"error": {"message": "Session has expired on Friday, 2 Jan", "type": "OAuthException", "code": 190}}),
    (400, {"error": {"message": "This authorization code has been used.", "type": "OAuthException", "code": 100}}),
    (400, {"error_type": "x", "code": 400, "error_message": "Matching code was not found or was already used."}),
    (401, {"errors": [{"code": "UNAUTHORIZED", "detail": "This refresh token has been revoked"}]}),
    (400, {"error": "The user has revoked access to the application"}),
    (
        401,
        {"error": {"message": "Could not validate it. Please try signing in again.", "type": "invalid_request_error"}},
    ),
    # an error in the place of the token, and beside it
    (200, {"access_token": "error: token is expired by 23m58s", "token_type": "", "expires_in": 0}),
    (200, {"access_token": "abc", "error": "invalid_grant"}),
]

CLIENT = [
    (401, {"error": "invalid_client"}),
    (
        400,
        described("invalid_client", "Client authentication failed (e.g., unknown client, no authentication included)"),
    ),
    (401, described("invalid_client", "The client secret keys for the app are expired.")),
    (400, {"error": "unauthorized_client"}),
    (403, {"error": "unauthorized_client"}),
    (401, described("unauthorized_client", "Missing valid authorization header")),
    (400, {"error": "unsupported_grant_type"}),
    (400, {"error": "invalid_scope"}),
    (400, {"error": "invalid_request"}),
    (400, described("invalid_request", "Missing parameter: refresh_token")),
    (400, described("invalid_request", "code_verifier is required")),
    (
        400,
        described(
            "invalid_request",
            "The request is missing a required parameter, includes an invalid parameter value, or is malformed.",
            hint="Check the `refresh_token` parameter",
        ),
    ),
    (401, {"error": "deleted_client"}),
    (403, {"error": "org_internal"}),
    (200, {"error": "redirect_uri_mismatch"}),
    (200, {"error": "incorrect_client_credentials"}),
    (200, {"error": "application_suspended"}),
    (200, {"ok": False, "error": "bad_client_secret"}),
    (401, {"__type": "InvalidClientException"}),
    (400, {"__type": "NotAuthorizedException", "message": "Unable to verify secret hash for client abc"}),
    (400, described("invalid_grant", "Incorrect redirect_uri")),
    (400, described("invalid_grant", "The redirect_uri does not match the one from the authorization request")),
    # the code elsewhere, or none
    (400, {"status": "BAD_CLIENT_ID", "message": "missing or unknown client id"}),
    (400, {"status": "BAD_REDIRECT_URI", "message": "redirect_uri does not match"}),
    (401, {"errors": [{"resource": "Application", "field": "client_id", "code": "invalid"}]}),
    (200, {"errcode": 40125, "errmsg": "invalid appsecret"}),
    (200, {"result": "5002", "message": "Unauthorized client ID"}),
    (400, {"error": {"message": "Error validating client secret.", "type": "OAuthException", "code": 1}}),
    (400, {"error_type": "x", "code": 400, "error_message": "Invalid platform app"}),
    (422, {"detail": [{"loc": ["body", "refresh_token"], "msg": "field required", "type": "value_error.missing"}]}),
    # RFC 6749 section 5.2: 401 is for the client's authentication
    (401, {"message": "Unauthorized", "error": 401}),
    (401, described("access_denied", "Unauthorized")),
    (400, {"error": "application_cannot_be_found"}),
    (400, {"error": "missing_refresh_token"}),
    # nothing at this address answers token requests
    (404, {"error": "Not Found"}),
    (405, {"message": "Method Not Allowed"}),
    # a success that holds no token
    (200, {}),
    (200, []),
    (200, None),
    (200, "x"),
    (200, 5),
    (200, {"scope": "user", "token_type": "bearer"}),
    (200, {"access_token": None}),
    (200, {"access_token": ""}),
    (200, {"access_token": 123}),
    (200, {"access_token": "a\r\nX-Injected: b"}),
]

TRANSIENT = [
    *[(status, {"error": "invalid_grant"}) for status in (408, 425, 429, 500, 502, 503, 504, 529, 599)],
    *[(status, TOKEN) for status in (100, 302, 400, 401 + 2, 500)],
    (400, {"error": "temporarily_unavailable"}),
    (400, {"error": "server_error"}),
    (400, {"error": "internal_failure"}),
    (400, {"error": "slow_down"}),
    (400, {"error": "authorization_pending"}),
    (200, {"ok": False, "error": "ratelimited"}),
    (200, {"ok": False, "error": "fatal_error"}),
    (200, {"status": 601, "body": {}, "error": "Too Many Requests"}),
    (200, {"status": 503, "error": "Invalid Params"}),
    (200, {"code": 429}),
    (200, {"errcode": -1, "errmsg": "system error"}),
    (200, {"errcode": 45011, "errmsg": "api minute-quota reach limit"}),
    (200, {"result": "1001", "message": "Service exceptions"}),
    (400, {"error": {"message": "An unexpected error has occurred. Please retry your request later.", "code": 2}}),
    # a busy server, whatever code it chose
    (400, described("invalid_grant", "login rate exceeded")),
    (400, described("invalid_grant", "rate limit exceeded, please try again later")),
    (400, described("invalid_request", "token request is already being processed")),
    # what nobody knows stops nobody
    (400, {"error": "something_else"}),
    (200, {"error": "something_else"}),
    (400, {"message": "Bad Request", "error": 400}),
    (403, {"message": "Forbidden"}),
    (403, {"error": "Access Denied"}),
    (400, {"error": "Access Denied", "error_description": "You have made too many requests continuously."}),
    (409, {"error": "conflict"}),
    (418, {}),
]

GRANTED = [
    TOKEN,
    {"access_token": "a"},
    {**TOKEN, "error": None},
    {**TOKEN, "error": "", "error_description": ""},
    {**TOKEN, "ok": True, "error": "something_else"},
    {**TOKEN, "errcode": 0, "errmsg": "ok"},
    {**TOKEN, "code": 200, "status": "success", "message": "Invalid tokens are refused"},
    {"status": 0, "body": TOKEN},
    {"ok": True, "authed_user": {"id": "U1", **TOKEN}},
    {"accessToken": "a", "tokenType": "Bearer"},
    {"token": "a", "refreshToken": "r"},
    {**TOKEN, "nested": {"deep": [[[[[[[]]]]]]]}},
]


@pytest.mark.parametrize(("status", "body"), DEAD)
def test_dead_grant_needs_consent(status, body):
    """A structured signal, in whatever dialect, asks for the human."""
    assert read(body, status).kind == "needs_consent"


@pytest.mark.parametrize(("status", "body"), CLIENT)
def test_client_at_fault_is_misconfigured(status, body):
    """What an operator must mend is no account's fault."""
    assert read(body, status).kind == "misconfigured"


@pytest.mark.parametrize(("status", "body"), TRANSIENT)
def test_anything_unclear_is_tried_again_later(status, body):
    """Busy servers and unknown answers change nothing."""
    assert read(body, status).kind == "try_again_later"


@pytest.mark.parametrize("body", GRANTED)
@pytest.mark.parametrize("status", [200, 201])
def test_token_is_granted(status, body):
    """A 2xx answer with a token and without a known error."""
    outcome = read(body, status)
    assert (outcome.kind, outcome.tokens.access_token) == ("token", "a")


@pytest.mark.parametrize(
    ("status", "content_type", "body", "kind"),
    [
        (200, "application/x-www-form-urlencoded", b"access_token=a&scope=&token_type=bearer", "token"),
        (200, "text/plain", b"access_token=a&expires=5183999\n", "token"),
        (200, "text/html; charset=UTF-8", b"access_token=a", "token"),
        (200, "text/html", b'{"access_token":"a"}', "token"),
        (200, "", b'{"access_token":"a"}', "token"),
        (200, "application/json", b'\xef\xbb\xbf{"access_token":"a"}', "token"),
        (200, "application/json", '{"access_token":"a"}'.encode("utf-16"), "token"),
        (200, "application/json", b'{"access_token":"a","team":"caf\xe9"}', "token"),
        (200, "application/json", b'{"access_token":"a","expires_in":NaN}', "token"),
        (200, "application/json", b'{"access_token":"a","expires_in":1e999}', "token"),
        (200, "application/json", b'{"access_token":"a","expires_in":' + b"9" * 6000 + b"}", "token"),
        (200, "application/x-www-form-urlencoded", b"error=bad_verification_code&error_uri=x", "needs_consent"),
        (200, "application/x-www-form-urlencoded", b"error=incorrect_client_credentials", "misconfigured"),
        (200, "text/html", b'callback( {"error":"invalid_grant"} );', "needs_consent"),
        (400, "text/plain", b"invalid_grant", "needs_consent"),
        (400, "text/plain", b"Invalid refresh token", "needs_consent"),
        (400, "text/plain", b"invalid client secret", "misconfigured"),
        (200, "text/plain", b"Invalid refresh token", "try_again_later"),
        (400, "text/plain", b"Bad Request", "try_again_later"),
        (400, "text/plain", b"Sorry. " * 40 + b"Invalid refresh token", "try_again_later"),
        (401, "text/plain", b"Unauthorized", "try_again_later"),
        (403, "text/html", b"<html><title>Attention!</title>invalid_grant</html>", "try_again_later"),
        (400, "text/xml", b"<error>invalid_grant</error>", "try_again_later"),
        (404, "text/html", b"<html></html>", "try_again_later"),
        (200, "text/html", b"<!DOCTYPE html><p>Sign in to the hotel's network", "try_again_later"),
        (200, "application/json", b"", "try_again_later"),
        (204, "", b"", "try_again_later"),
        (200, "application/json", b'{"access_token":"a"', "try_again_later"),
        (200, "application/json", b"[" * 200_000, "try_again_later"),
        (200, "application/json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "try_again_later"),
        (200, "application/octet-stream", bytes(range(256)), "try_again_later"),
        (301, "text/html", b"", "misconfigured"),
        (308, "", b"", "misconfigured"),
        (302, "text/html", b"<html>maintenance</html>", "try_again_later"),
    ],
)
def test_body_is_read_by_its_bytes(status, content_type, body, kind):
    """Content types lie; pages, scraps and nothing at all are nobody's verdict."""
    assert read(body, status, content_type=content_type).kind == kind


def test_401_with_a_challenge_is_for_the_client():
    """RFC 6749 section 5.2: the challenge asks for the client's credentials, with or without a body."""
    assert read(b"", 401, WWW_Authenticate='Basic realm="oauth"').kind == "misconfigured"


@pytest.mark.parametrize(
    "headers", [{"RETRY-AFTER": "30"}, {"retry-after": "30"}, CaseInsensitiveDict({"Retry-After": "30"})]
)
def test_header_names_count_without_case(headers):
    """Whatever mapping comes."""
    assert read_token_answer(429, headers, b"", now=NOW).after == 30


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("86400000", 86_400_000),
        ("Thu, 01 Jan 2026 00:05:00 GMT", 300),
        ("Thursday, 01-Jan-26 00:05:00 GMT", 300),
        ("Thu Jan  1 00:05:00 2026", 300),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("0", 0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, None),
    ],
)
def test_retry_after_is_honoured_whole(value, seconds):
    """Both forms of RFC 9110 section 10.2.3; a date in the past is now."""
    assert read_retry_after(value, now=NOW) == seconds
    assert read(b"", 503, Retry_After=value).after == seconds


def test_retry_after_in_the_body_counts_where_there_is_no_header():
    """Some say it there only; the header wins."""
    body = {"error": "rate_limit_exceeded", "retryAfter": 60}
    assert read(body, 429).after == 60
    assert read(body, 429, Retry_After="5").after == 5


@pytest.mark.parametrize(
    ("dialect", "status", "kind"),
    [
        (Dialect(dead_errors=("x17",)), 400, "needs_consent"),
        (Dialect(dead_errors=("X17",)), 500, "needs_consent"),
        (Dialect(client_errors=("x17",)), 400, "misconfigured"),
        (Dialect(transient_errors=("x17",)), 400, "try_again_later"),
        (Dialect(dead_errors=("other",)), 400, "try_again_later"),
    ],
)
def test_settings_know_codes_that_no_rule_knows(dialect, status, kind):
    """They are compared without case and outweigh the status."""
    assert read({"error": "x17"}, status, dialect=dialect).kind == kind


@pytest.mark.parametrize(
    ("setting", "kind"),
    [("transient_errors", "try_again_later"), ("client_errors", "misconfigured"), ("dead_errors", "needs_consent")],
)
@pytest.mark.parametrize("code", ["invalid_grant", "invalid_client", "temporarily_unavailable"])
def test_settings_outweigh_the_rules(setting, kind, code):
    """The operator knows the provider better than we do."""
    assert read({"error": code}, 400, dialect=Dialect(**{setting: (code,)})).kind == kind


@pytest.mark.parametrize(
    ("phrase", "description", "kind"),
    [
        ("IP restricted", "ip restricted or invalid login hours", "misconfigured"),
        ("ip restricted", "expired access/refresh token", "needs_consent"),
        ("restricted", "ip restricted", "needs_consent"),
    ],
)
def test_settings_with_a_blank_are_phrases_of_the_description(phrase, description, kind):
    """For servers that pack everything into one code; a single word stays a code."""
    body = {"error": "invalid_grant", "error_description": description}
    assert read(body, 400, dialect=Dialect(client_errors=(phrase,))).kind == kind


def test_settings_compare_numbers_as_text():
    """Codes may be numbers."""
    assert read({"code": 40105}, dialect=Dialect(dead_errors=("40105",))).kind == "needs_consent"


def test_extending_code_grants_without_a_token():
    """A refresh that extends the old token leaves both tokens as they are."""
    dialect = Dialect(extending_codes=("0000",), default_expires_in=2_592_000)
    tokens = read({"result": "0000", "message": "OK"}, dialect=dialect).tokens
    assert (tokens.access_token, tokens.refresh_token, tokens.expires_in) == ("", None, 2_592_000)


def test_evidence_tells_the_story():
    """Status, code, description, reason, and what kind of body it was."""
    assert read(described("invalid_grant", "Token has been expired or revoked."), 400).evidence == {
        "status": 400,
        "error": "invalid_grant",
        "error_description": "Token has been expired or revoked.",
        "because": "code invalid_grant",
        "content_type": "application/json",
        "body": "json",
    }


def test_evidence_of_a_page_is_its_title():
    """A page is named, never quoted."""
    evidence = read(b"<html><title>502 Bad Gateway</title><p>secret</p>", 502, content_type="text/html").evidence
    assert (evidence["body"], evidence["page_title"]) == ("html", "502 Bad Gateway")
    assert "secret" not in str(evidence)


@pytest.mark.parametrize(
    "body",
    [
        described("invalid_grant", "Invalid refresh token: tGzv3JOkF0XG5Qx2TlKWIA"),
        {"error": "invalid_grant", "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA"},
        {"error": "tGzv3JOkF0XG5Qx2TlKWIA"},
        {"access_token": "tGzv3JOkF0XG5Qx2TlKWIA", "error": "invalid_grant"},
    ],
)
def test_evidence_holds_no_token(body):
    """Not even where the provider quotes it."""
    assert "tGzv3JOkF0XG5Qx2TlKWIA" not in str(read(body, 400))


def test_granted_tokens_do_not_show():
    """An outcome may be logged."""
    assert "sesame" not in repr(read({"access_token": "sesame", "refresh_token": "sesame", "id_token": "sesame"}))


@given(st.integers(), st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=4), st.binary(max_size=300))
def test_any_answer_is_read_without_raising(status, headers, body):
    """No status, field or byte raises anything."""
    outcome = read_token_answer(status, headers, body, now=NOW)
    assert outcome.kind in {"token", "needs_consent", "try_again_later", "misconfigured"}


NAMES = st.sampled_from(
    ["access_token", "refresh_token", "expires_in", "expires_at", "scope", "token_type", "error", "error_description",
     "errors", "code", "status", "data", "message", "retryAfter", "resource", "field", "x"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("invalid_grant"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from([200, 201, 400, 401, 403, 429, 500]), VALUES)
def test_any_json_is_read_alike_every_time(status, value):
    """Members of any type raise nothing, and the same bytes have the same meaning."""
    body = json.dumps(value).encode()
    assert read(body, status) == read(body, status)


@given(VALUES)
def test_token_comes_from_an_answer_that_holds_one(value):
    """Nothing but a text in the answer itself is ever stored as a token."""
    outcome = read(json.dumps(value).encode())
    if outcome.kind == "token":
        assert json.dumps(outcome.tokens.access_token)[1:-1] in json.dumps(value)


@given(st.sampled_from([408, 425, 429, 500, 502, 503, 504, 520]), VALUES)
def test_busy_server_never_costs_a_grant(status, value):
    """Whatever a failing server says, nothing is decided."""
    assert isinstance(read(json.dumps(value).encode(), status), Postponed)


@given(st.integers(min_value=100, max_value=599), st.text(max_size=100))
def test_page_never_costs_a_grant(status, text):
    """Whatever a page says, it is not the provider's verdict."""
    page = f"<html><body>invalid_grant {text}</body></html>".encode(errors="replace")
    assert not isinstance(read(page, status, content_type="text/html"), GrantDead)
