"""What an API's answer says about the token that was sent: rejected, too narrow, or nothing at all.

A refresh spends a one-time refresh token, so it needs a reason. 401 is reason enough unless the answer gives another
one. 403 is the API's own "no", and means the token only where it says so in a form that a program can read. Missing
scope is never mended by a refresh (RFC 6749 section 6 forbids widening), so it is told apart before all else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from worker.oauth.body import plain, read_body
from worker.oauth.challenge import parse_challenges
from worker.oauth.evidence import LONGEST_CODE, safe_text
from worker.oauth.scopes import read_scopes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

RejectionKind = Literal["token_rejected", "insufficient_scope"]

_UNAUTHORIZED, _FORBIDDEN = 401, 403
#: RFC 6750 section 3.1, and `expired_token` as some say instead.
_REJECTED = {"invalidtoken", "expiredtoken"}
_TOO_NARROW = {"insufficientscope", "insufficientscopes", "missingscope", "accesstokenscopeinsufficient"}
#: Members of a JSON body that hold a code, by their `plain` names; `type` may be a URI that ends in one (RFC 9457).
_CODES = ("error", "errorcode", "code", "type", "reason", "status", "title", "errortype", "message")
_DESCRIPTIONS = ("errordescription", "errormessage", "message", "detail", "description")
_SCOPES = ("scope", "scopes", "requiredscope", "requiredscopes")
#: Where errors nest: `{"error": {…}}`, `{"errors": [{…}]}`, `{"error": {"details": [{…}]}}`.
_NESTS = ("error", "errors", "details", "fault", "detail")
_DEEPEST = 4
_MOST_RECORDS = 50


@dataclass(frozen=True, slots=True)
class RejectionRule:
    """One way in which an API rejects a token without saying so in a standard form. All parts given must match."""

    status: int
    #: Text within a header line (`name: value`), in any case; "" matches always.
    header: str = ""
    #: Text within the body, in any case; "" matches always.
    body: str = ""


@dataclass(frozen=True, slots=True)
class RejectionRules:
    """The rules of one integration's settings."""

    rejected_when: tuple[RejectionRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """What an answer says about the token."""

    kind: RejectionKind
    #: The code as sent, e.g. `invalid_token`; "" where a bare 401 speaks for itself.
    reason: str = ""
    #: The description, redacted.
    description: str = ""
    #: The scopes that the answer asks for; empty when it names none.
    scopes: tuple[str, ...] = ()


_NO_RULES = RejectionRules()


@dataclass(frozen=True, slots=True)
class _Reason:
    """A code with what stands beside it."""

    code: str
    description: str
    scopes: tuple[str, ...]
    in_header: bool

    @property
    def kind(self) -> RejectionKind | None:
        if len(self.code.split()) != 1:
            return None  # a sentence, not a code
        code = plain(self.code.rstrip("/").rpartition("/")[2].rpartition("#")[2])
        if code in _TOO_NARROW:
            return "insufficient_scope"
        return "token_rejected" if code in _REJECTED else None


def read_rejection(
    status: int,
    www_authenticate: Iterable[str],
    content_type: str,
    body: bytes,
    *,
    rules: RejectionRules = _NO_RULES,
    headers: Iterable[str] = (),
) -> Rejection | None:
    """What an API's answer says about the token; None when it is not about the token.

    `www_authenticate` are the field values of the answer. Challenges of every scheme count: some providers answer a
    bearer request with a Basic challenge that carries the reason. `headers` are the answer's lines (`name: value`),
    for the rules alone. Never raises.
    """
    values = [www_authenticate] if isinstance(www_authenticate, str) else list(www_authenticate)
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        reasons = [*_header_reasons(values), *_body_reasons(content_type, body)]
        for kind in ("insufficient_scope", "token_rejected"):
            said = next((reason for reason in reasons if reason.kind == kind), None)
            if said:
                return Rejection(kind, safe_text(said.code, LONGEST_CODE), safe_text(said.description), said.scopes)
        if status == _UNAUTHORIZED and not any(reason.in_header and reason.code for reason in reasons):
            description = next((reason.description for reason in reasons if reason.description), "")
            return Rejection("token_rejected", description=safe_text(description))
    lines = [*values, *headers]
    rule = next((rule for rule in rules.rejected_when if _matches(rule, status, lines, body)), None)
    return Rejection("token_rejected", "rule", safe_text(rule.header or rule.body)) if rule else None


def _header_reasons(values: list[str]) -> Iterator[_Reason]:
    for challenge in parse_challenges(values):
        given = challenge.parameters
        scopes = given.get("scope") or given.get("scopes") or ""
        description = given.get("error_description") or given.get("error_message") or ""
        yield _Reason(given.get("error", "").strip(), description, read_scopes(scopes) or (), in_header=True)


def _body_reasons(content_type: str, body: bytes) -> Iterator[_Reason]:
    content = read_body(body, content_type)
    if content.form != "json":
        return
    for record in _records(content.value):
        description = next((text for name in _DESCRIPTIONS if isinstance(text := record.get(name), str)), "")
        scopes = next((found for name in _SCOPES if (found := read_scopes(record.get(name)))), ())
        for name in _CODES:
            code = record.get(name)
            if isinstance(code, str) and code.strip():
                beside = description if description != code else ""
                yield _Reason(code.strip(), beside, scopes, in_header=False)


def _records(value: object) -> Iterator[Mapping[str, object]]:
    """The objects in which an error may stand, names without case and separators."""
    level = [value]
    left = _MOST_RECORDS
    for _ in range(_DEEPEST):
        below: list[object] = []
        for item in level[:left]:
            if isinstance(item, list):
                below += item[:left]
            elif isinstance(item, dict):
                record = {plain(name): inner for name, inner in item.items()}
                yield record
                below += [record[name] for name in _NESTS if name in record]
        left -= len(level)
        level = below
        if left <= 0:
            return


def _matches(rule: RejectionRule, status: int, values: list[str], body: bytes) -> bool:
    if rule.status != status:
        return False
    header = rule.header.lower()
    if header and not any(header in value.lower() for value in values):
        return False
    return not rule.body or rule.body.lower() in read_body(body).text.lower()
