"""The two ends of an authorization: the address that the person opens, and the address that comes back.

What comes back was carried by a browser and may have been made by anybody. It is checked in the order in which trust
grows: the place (exact redirect URI), the attempt (`state`), the sender (`iss`, RFC 9207), and only then its content.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from worker.errors import EnrolmentFailed, Misconfigured
from worker.oauth.evidence import LONGEST_CODE, safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RETRY = "start the enrolment again; each attempt has an address of its own"
_PASTE = "paste the whole address that the browser ended on, from http to the end"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
_HOST = re.compile(r"[a-z][a-z0-9+.\-]*://[A-Za-z0-9.\-:\[\]]{1,255}")
_PORTS = {"http": 80, "https": 443}
#: Parameters that must not come twice (RFC 6749 section 3.1); two of them are two answers, one of them forged.
_SINGLE = {"code", "state", "iss", "error", "error_description"}
#: More parameters than any provider sends back.
_MOST_PARAMETERS = 100
#: Characters of an answer: more than any server lets stand in a request line.
_LONGEST = 1 << 16
#: VSCHAR and space (RFC 6749 appendix A.11).
_CODE = re.compile(r"[\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What one attempt asks for (RFC 6749 section 4.1.1, RFC 7636 section 4.3)."""

    client_id: str
    redirect_uri: str
    scopes: Sequence[str]
    #: One-time value that binds the answer to this attempt.
    state: str = field(repr=False)
    #: S256 of the verifier.
    code_challenge: str
    #: The parameter that the scopes go into (RFC 6749 section 3.3 calls it `scope`).
    scope_parameter: str = "scope"
    #: For the ID token; None where no `openid` scope is asked for.
    nonce: str | None = field(default=None, repr=False)
    #: The settings' own parameters, e.g. `prompt=consent`.
    extra: Mapping[str, str] = field(default_factory=dict)


def authorization_url(endpoint: str, request: AuthorizationRequest) -> str:
    """The address to open. A query that `endpoint` has already is kept (RFC 6749 section 3.1).

    Raises Misconfigured when the extra parameters would replace the protocol's own.
    """
    own = {
        "response_type": "code",
        "client_id": request.client_id,
        "redirect_uri": request.redirect_uri,
        "state": request.state,
        "code_challenge": request.code_challenge,
        "code_challenge_method": "S256",
    }
    if request.scopes:
        own[request.scope_parameter] = " ".join(request.scopes)
    if request.nonce:
        own["nonce"] = request.nonce
    taken = sorted(set(request.extra) & {*own, request.scope_parameter, "nonce"})
    if taken:
        raise Misconfigured(
            f"authorize_params sets {', '.join(taken)}, which the protocol itself sets",
            hint="remove it from authorize_params",
        )
    parts = urlsplit(endpoint)
    ours = {**own, **request.extra}
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in ours]
    query = urlencode([*kept, *ours.items()], quote_via=quote)
    return urlunsplit(parts._replace(query=query, fragment=""))


@dataclass(frozen=True, slots=True)
class ExpectedCallback:
    """What the answer to one attempt must look like."""

    redirect_uri: str
    state: str = field(repr=False)
    #: The issuer as recorded when the attempt began; None when none is known.
    issuer: str | None = None
    #: The provider says that it sends `iss` (RFC 9207 section 3).
    iss_required: bool = False


def read_callback(url_or_query: str, *, expected: ExpectedCallback) -> str:
    """The authorization code of an answer, given as the whole address or as its query alone.

    Raises EnrolmentFailed, with what was found and what to do, for everything that is not the sound and happy answer
    to this very attempt.
    """
    found = _found(url_or_query, expected)
    _check_issuer(found, expected)
    if "error" in found:
        raise _refusal(found)
    if not found.get("code"):
        raise EnrolmentFailed("the address holds no authorization code", hint=_PASTE)
    if not _CODE.fullmatch(found["code"]):
        raise EnrolmentFailed("the authorization code holds characters that no code can have", hint=_PASTE)
    return found["code"]


def is_answer_to(url_or_query: str, expected: ExpectedCallback) -> bool:
    """Whether this is an answer to this very attempt, by its place and its `state`. It may still be a bad one."""
    try:
        return bool({"code", "error"} & _found(url_or_query, expected).keys())
    except EnrolmentFailed:
        return False


def _found(url_or_query: str, expected: ExpectedCallback) -> dict[str, str]:
    """The parameters of an answer that has come to the right place and belongs to the attempt."""
    if len(url_or_query) > _LONGEST:
        raise EnrolmentFailed(f"that is longer than the address of an answer can be ({_LONGEST})", hint=_PASTE)
    text = url_or_query.strip().strip("<>\"'")
    query = _query_of(text, urlsplit(expected.redirect_uri))
    found = _parameters(query, urlsplit(expected.redirect_uri).query)
    _check_state(found, expected)
    return found


def _query_of(text: str, expected: SplitResult) -> str:
    """The query of the pasted text, once its place is known to be ours."""
    if not _ADDRESS.match(text):
        place, mark, query = text.partition("?")
        if not place or not mark:
            if "=" not in text:
                raise EnrolmentFailed("that is not the address of an answer", hint=_PASTE)
            return query or place
        text = f"{expected.scheme}://{text}"  # address bars hide the scheme
    try:
        given = urlsplit(text)
        same = _place(given) == _place(expected)
    except ValueError:
        raise EnrolmentFailed("that is not a valid address", hint=_PASTE) from None
    if not same:
        raise EnrolmentFailed(
            f"the answer came to {_host(given, expected)}, not to the redirect URI {_without_query(expected)}",
            hint="paste the address after the consent page; redirect_uri must be registered exactly so",
        )
    if (
        not given.query
        and "=" in given.fragment
        and set(dict(parse_qsl(given.fragment))) & (_SINGLE | {"access_token"})
    ):
        raise EnrolmentFailed(
            "the answer came in the fragment (after #), where only a browser can read it",
            hint="remove response_mode and response_type from authorize_params: the answer must come in the query",
        )
    return given.query


def _host(given: SplitResult, expected: SplitResult) -> str:
    """Where an answer went astray. Not its path: a mistyped address has its code and its state in there."""
    named = f"{given.scheme}://{given.netloc.rpartition('@')[2]}"
    if given.netloc == expected.netloc and given.scheme == expected.scheme:
        return f"another path of {named}"
    return safe_text(named) if _HOST.fullmatch(named) else "somewhere else"


def _without_query(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _place(parts: SplitResult) -> tuple[str, str, int | None, str, bool]:
    """Scheme, host, port and path, compared exactly but for what is the same by definition."""
    userinfo = "@" in parts.netloc
    port = _PORTS.get(parts.scheme) if parts.port is None else parts.port
    return (parts.scheme, parts.hostname or "", port, parts.path or "/", userinfo)


def _parameters(query: str, expected_query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
        own = parse_qsl(expected_query, keep_blank_values=True)
    except ValueError:
        raise EnrolmentFailed("the address has more parameters than an answer can have", hint=_PASTE) from None
    if any(pair not in pairs for pair in own):
        raise EnrolmentFailed("the answer lacks the redirect URI's own query", hint=_PASTE)
    names = [name for name, _ in pairs]
    twice = sorted({name for name in _SINGLE if names.count(name) > 1})
    if twice:
        raise EnrolmentFailed(f"the answer has {', '.join(twice)} more than once and is not trusted", hint=_RETRY)
    return dict(pairs)


def _check_state(found: dict[str, str], expected: ExpectedCallback) -> None:
    if not found.get("state"):
        told = f" (it says: {_told(found)})" if "error" in found else ""
        raise EnrolmentFailed(f"the answer has no state, so it cannot be tied to this attempt{told}", hint=_PASTE)
    if not hmac.compare_digest(found["state"].encode(errors="replace"), expected.state.encode()):
        raise EnrolmentFailed("the answer belongs to another attempt: its state is not ours", hint=_RETRY)


def _check_issuer(found: dict[str, str], expected: ExpectedCallback) -> None:
    """RFC 9207 section 2.4. Error answers without `iss` pass: servers that advertise it leave it out of those."""
    iss = found.get("iss")
    if iss is not None and expected.issuer is not None and iss != expected.issuer:
        raise EnrolmentFailed(
            f'the answer comes from issuer "{safe_text(iss)}", not from "{expected.issuer}"',
            hint="check issuer in the configuration; if it is right, somebody mixes up providers on purpose",
        )
    if iss is None and expected.iss_required and "error" not in found:
        raise EnrolmentFailed(
            "the answer does not name its issuer (iss), though the provider says that it always does",
            hint=_RETRY,
        )


def _refusal(found: dict[str, str]) -> EnrolmentFailed:
    evidence = {"error": safe_text(found["error"], LONGEST_CODE)}
    if found["error"] == "access_denied":
        return EnrolmentFailed(
            f"consent was refused: {_told(found)}",
            hint="start again when the owner of the account agrees",
            evidence=evidence,
        )
    hints = {
        "invalid_scope": "check scopes in the configuration against what the provider knows",
        "unauthorized_client": "check at the provider that the client may use the authorization code flow",
        "temporarily_unavailable": "try again in a while",
        "server_error": "try again in a while",
    }
    return EnrolmentFailed(
        f"the provider refused: {_told(found)}", hint=hints.get(found["error"], _RETRY), evidence=evidence
    )


def _told(found: dict[str, str]) -> str:
    code, description = safe_text(found["error"], LONGEST_CODE), safe_text(found.get("error_description", ""))
    return f"{code}, {description}" if description else code
