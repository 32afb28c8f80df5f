"""What one error code means for what happens next.

RFC 6749 section 5.2 defines six codes; providers invent hundreds. They invent them from the same words, though, so a
code is split into words (`RefreshTokenExpired`, `refresh_token_expired` and `REFRESH-TOKEN-EXPIRED` are one) and read
by them. What no rule knows means nothing: only a clear signal stops an account.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Meaning = Literal["dead", "transient", "client"]


@dataclass(frozen=True, slots=True)
class CodeReading:
    """What a code says."""

    meaning: Meaning
    #: A weak code is used for everything by somebody (`invalid_request` for a dead refresh token); text outweighs it.
    weak: bool = False


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

#: Codes that mean what they mean as a whole. OIDC Core 3.1.2.6 for those that ask for the person.
_WHOLE: dict[str, CodeReading] = {
    "access denied": CodeReading("dead", weak=True),  # RFC 8628 section 3.5: the person said no
    "account inactive": CodeReading("dead"),
    "account selection required": CodeReading("dead"),
    "admin policy enforced": CodeReading("dead"),
    "authorization pending": CodeReading("transient"),  # RFC 8628 section 3.5
    "invalid rapt": CodeReading("dead"),
    "invalid request": CodeReading("client", weak=True),
    "invalid request error": CodeReading("client", weak=True),
    "invalid dpop proof": CodeReading("client"),
    "invalid scope": CodeReading("client"),
    "invalid target": CodeReading("client"),  # RFC 8707 section 2
    "not authorized exception": CodeReading("client", weak=True),
    "org internal": CodeReading("client"),
    "org login required": CodeReading("transient"),  # a whole workspace is being migrated; no person can log in
    "rapt required": CodeReading("dead"),
    "server error": CodeReading("transient", weak=True),
    "slow down": CodeReading("transient"),
    "unauthorized client": CodeReading("client", weak=True),
    "unauthorized client exception": CodeReading("client", weak=True),
    "unsupported response type": CodeReading("client"),
    "unverified user email": CodeReading("dead"),
    "use dpop nonce": CodeReading("client"),
}

#: What a dead grant is called …
_GRANT = {"token", "tokens", "refreshtoken", "grant", "code", "session", "authcode"}
#: … and what it is said to be. Two-word states (`not found`) are joined before the comparison.
_BROKEN = {
    "bad", "broken", "consumed", "expired", "illegal", "inactive", "incorrect", "invalid", "invalidated", "malformed",
    "notactive", "notfound", "notvalid", "rejected", "reused", "revoked", "terminated", "unknown", "used", "wrong",
}  # fmt: skip
#: An `authorization` that is only invalid is a header; one that ended is a grant.
_ENDED = {"expired", "revoked", "terminated", "withdrawn"}
_PERSON_MUST = {"consent", "interaction", "login", "mfa", "reauth", "reauthentication", "reauthorization", "signin"}
_PERSON = {"account", "user"}
_SHUT_OUT = {"blocked", "deactivated", "deleted", "disabled", "inactive", "locked", "notfound", "revoked", "suspended"}
#: What belongs to the client rather than to the grant; their presence takes a code out of the dead ones.
_CLIENT = {
    "apikey", "app", "appid", "application", "appsecret", "assertion", "challenge", "client", "clientid",
    "clientsecret", "consumer", "credential", "credentials", "csrf", "key", "parameter", "redirect", "scope", "secret",
    "signature", "type", "verifier",
}  # fmt: skip
_CLIENT_BROKEN = _BROKEN | {
    "cannot", "deleted", "denied", "disabled", "failed", "mismatch", "missing", "notallowed", "required", "suspended",
    "unauthorized", "unsupported",
}  # fmt: skip
_PASSING = {
    "busy", "maintenance", "overloaded", "quota", "ratelimit", "ratelimited", "retry", "temporarily", "temporary",
    "throttled", "throttling", "timeout", "toomany", "transient", "unavailable",
}  # fmt: skip
_FAILING = {"backend", "internal", "server", "service", "system"}
_FAILURE = {"error", "exception", "exceptions", "failure"}
_JOINS = {
    ("not", "found"): "notfound", ("not", "valid"): "notvalid", ("not", "active"): "notactive",
    ("not", "allowed"): "notallowed", ("rate", "limit"): "ratelimit", ("rate", "limited"): "ratelimited",
    ("too", "many"): "toomany", ("timed", "out"): "timeout", ("sign", "in"): "signin",
}  # fmt: skip
#: More words than this are a sentence, which `texts` reads; blanks make one sooner.
_MOST_WORDS, _MOST_WORDS_WITH_BLANKS = 8, 5


def words_of(code: str) -> list[str]:
    """The words of a code in lower case; two-word states come joined."""
    words = [word.lower() for word in _WORD.findall(code[:200])]
    joined: list[str] = []
    for word in words:
        pair = _JOINS.get((joined[-1], word)) if joined else None
        if pair:
            joined[-1] = pair
        else:
            joined.append(word)
    return joined


def read_code(code: str) -> CodeReading | None:
    """What a code means; None when it says nothing that we know. A part after a colon is a description."""
    name = code.partition(":")[0].strip()
    words = words_of(name)
    if not words or len(words) > (_MOST_WORDS_WITH_BLANKS if " " in name else _MOST_WORDS):
        return None
    if " " in name and words == ["access", "denied"]:
        return None  # a firewall's phrase; the code of the standard is written access_denied
    return _WHOLE.get(" ".join(words)) or _by_words(set(words))


def _by_words(words: set[str]) -> CodeReading | None:
    about_client = words & _CLIENT
    if about_client and words & _CLIENT_BROKEN:
        return CodeReading("client")
    if _is_dead(words) and not about_client:
        return CodeReading("dead")
    if words & _GRANT and words & {"missing", "required"}:
        return CodeReading("client")
    if words & _PASSING or (words & _FAILING and words & _FAILURE):
        return CodeReading("transient")
    return None


def _is_dead(words: set[str]) -> bool:
    return bool(
        (words & _GRANT and words & _BROKEN)
        or ("authorization" in words and words & _ENDED)
        or ("required" in words and words & _PERSON_MUST)
        or (words & _PERSON and words & _SHUT_OUT)
    )
