"""Who consented: the claims of an ID token, or a provider's own answer to that question.

The signature is not checked. That is allowed for a token that came straight from the token endpoint over TLS (OpenID
Connect Core 1.0 section 3.1.3.7 item 6): the connection says who speaks. Everything else of that section is checked.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass

from worker.errors import EnrolmentFailed
from worker.oauth.evidence import one_line, safe_text
from worker.oauth.lifetime import read_number

#: Seconds by which the provider's clock and ours may differ.
_LEEWAY = 60
_JWS_PARTS = 3
_CLOCK = "compare this machine's clock with the provider's"
_CLIENT = "check client_id and issuer in the configuration"
#: Claims that people recognise an account by, the best first.
_LABELS = ("email", "preferred_username", "username", "login", "name")


#: Characters. OpenID Connect Core 1.0 section 2 allows 255; providers' own ids are as short.
_LONGEST_SUBJECT = 1000


@dataclass(frozen=True, slots=True)
class Identity:
    """Who consented."""

    #: What the provider tells people apart by; compared exactly, shown to nobody.
    subject: str
    #: What people recognise; never compared.
    label: str


def read_id_token(
    id_token: str, *, issuer: str | None, client_id: str, nonce: str | None, now: float
) -> dict[str, object]:
    """The claims of an ID token from the token endpoint (OpenID Connect Core 1.0 section 3.1.3.7).

    `issuer` None skips the comparison (none is configured); `nonce` None means that none was sent. `now` is seconds
    since the epoch. Raises EnrolmentFailed with the claim that is wrong.
    """
    claims = _payload(id_token)
    if issuer is not None and claims.get("iss") != issuer:
        raise _wrong(f'its issuer is "{_shown(claims.get("iss"))}", not "{issuer}"', _CLIENT)
    _check_audience(claims, client_id)
    expires = read_number(claims.get("exp"))
    if expires is None:
        raise _wrong("it has no expiry (exp)")
    if expires + _LEEWAY < now:
        raise _wrong(f"it expired {int(now - expires)} s ago", _CLOCK)
    given = claims.get("nonce")
    if nonce is not None and not (
        isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), nonce.encode())
    ):
        raise _wrong("it belongs to another attempt: its nonce is not ours", "start the enrolment again")
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise _wrong("it names no subject (sub)")
    return claims


def identity_of(claims: dict[str, object], *, subject_claim: str = "sub") -> Identity:
    """The identity in ID token claims or in an identity URL's answer. `subject_claim` may name a path (`user.id`).

    Raises EnrolmentFailed when the claim is missing.
    """
    place: object = claims
    for name in subject_claim.split("."):
        place = place.get(name) if isinstance(place, dict) else None
    known = isinstance(place, str | int) and not isinstance(place, bool)
    if not known or not str(place).strip() or not str(place).isprintable():
        raise EnrolmentFailed(
            f'the provider\'s answer has no "{subject_claim}" to tell accounts apart by',
            hint="set identity_claim to the member that holds the account's id",
        )
    if len(str(place)) > _LONGEST_SUBJECT:
        raise EnrolmentFailed(f'the provider\'s "{subject_claim}" is longer than {_LONGEST_SUBJECT} characters')
    label = next((text for name in _LABELS if (text := one_line(claims.get(name)))), str(place))
    return Identity(subject=str(place), label=label)


def _payload(id_token: str) -> dict[str, object]:
    parts = id_token.split(".")
    if len(parts) != _JWS_PARTS:
        raise _wrong("it is not a signed JWT (three parts joined by dots)")
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(urlsafe_b64decode(padded.encode("ascii")))
    except (ValueError, RecursionError):
        raise _wrong("its claims cannot be decoded") from None
    if not isinstance(claims, dict):
        raise _wrong("its claims are no JSON object")
    return claims


def _check_audience(claims: dict[str, object], client_id: str) -> None:
    told = claims.get("aud")
    audience = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    if client_id not in audience:
        raise _wrong(f'it is for "{_shown(told)}", not for our client "{client_id}"', _CLIENT)
    authorized = claims.get("azp")
    if authorized is not None and authorized != client_id:
        raise _wrong(f'it was issued to "{_shown(authorized)}", not to our client "{client_id}"', _CLIENT)
    if len(audience) > 1 and authorized is None:
        raise _wrong("it is for several clients and does not say which one it was issued to (azp)", _CLIENT)


def _shown(claim: object) -> str:
    # Of a list no more than that it is one: deep ones cannot be written out.
    return safe_text(str(claim)[:200] if isinstance(claim, str | int | float | None) else type(claim).__name__)


def _wrong(what: str, hint: str = "") -> EnrolmentFailed:
    return EnrolmentFailed(f"the ID token is not to be trusted: {what}", hint=hint)
