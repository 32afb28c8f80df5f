"""The tokens of a successful answer (RFC 6749 section 5.1), read so that none is lost over an oddity beside it.

A refresh token that is missing, null or empty means "keep the one you have" (section 6) and is None here. So is a
token type that says who the token belongs to (`bot`, `user`, `Application Access Token`) instead of how it is sent:
those are bearer tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.oauth.body import plain
from worker.oauth.lifetime import access_lifetime, refresh_lifetime
from worker.oauth.scopes import read_scopes

if TYPE_CHECKING:
    from worker.oauth.dialect import Dialect

#: Types that are no way of sending a token, by their `plain` name. Types of several words are none either.
_BEARER = {
    "", "accesstoken", "api", "app", "application", "bearer", "bearertoken", "bot", "jwt", "null", "none", "oauth",
    "oauth2", "oauthtoken", "user", "useraccesstoken",
}  # fmt: skip
_ACCESS = "accesstoken"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an answer grants."""

    #: "" only where a dialect's `extending_codes` say that the old access token lives on.
    access_token: str = field(repr=False)
    token_type: str = "Bearer"  # noqa: S105 - a type, not a token
    #: None: keep the refresh token that was used.
    refresh_token: str | None = field(default=None, repr=False)
    #: Seconds, at least 1; None when the answer does not say, or says that it does not expire.
    expires_in: int | None = None
    #: None: as requested. Empty: none at all.
    scopes: tuple[str, ...] | None = None
    id_token: str | None = field(default=None, repr=False)
    refresh_token_expires_in: int | None = None


def find_tokens(record: dict[str, object], dialect: Dialect) -> dict[str, object]:
    """The members around the access token, by their `plain` names; empty when the answer holds none.

    They stand at the top (RFC 6749), at the dialect's `token_path`, or in the one child that holds an access token.
    """
    if dialect.token_path:
        place: object = record
        for name in dialect.token_path.split("."):
            place = place.get(name) if isinstance(place, dict) else None
        return _with_token(place, dialect)
    top = _with_token(record, dialect)
    if top:
        return top
    children = [members for child in record.values() if (members := _with_token(child, dialect))]
    return children[0] if len(children) == 1 else {}


def read_tokens(members: dict[str, object], dialect: Dialect, *, now: float) -> Tokens:
    """The tokens of what `find_tokens` found."""
    scope = members["scope"] if members.get("scope") is not None else members.get("scopes")
    lifetime = access_lifetime(members, now=now, unit=dialect.expires_in_unit)
    return Tokens(
        access_token=str(members[_ACCESS]),
        token_type=_token_type(members.get("tokentype")),
        refresh_token=_opaque(members.get("refreshtoken")),
        expires_in=dialect.default_expires_in if lifetime is None else lifetime,
        scopes=_scopes(scope if scope is not None else members.get("grantedscopes"), dialect),
        id_token=_opaque(members.get("idtoken")),
        refresh_token_expires_in=refresh_lifetime(members, now=now),
    )


def extended(dialect: Dialect) -> Tokens:
    """The tokens of an answer that brings none and extends the old ones."""
    return Tokens(access_token="", expires_in=dialect.default_expires_in)


def _scopes(value: object, dialect: Dialect) -> tuple[str, ...] | None:
    scopes = read_scopes(value, dialect.scope_separator)
    return scopes and tuple(dict.fromkeys((*scopes, *dialect.unlisted_scopes)))


def _with_token(place: object, dialect: Dialect) -> dict[str, object]:
    if not isinstance(place, dict):
        return {}
    members = {plain(name): value for name, value in place.items()}
    members |= {plain(name): value for name, value in place.items() if plain(name) != name and "_" in name}
    members |= {plain(name): place[theirs] for name, theirs in dialect.names.items() if theirs in place}
    if _ACCESS not in members and isinstance(members.get("token"), str) and "refreshtoken" in members:
        members[_ACCESS] = members["token"]
    access = members.get(_ACCESS)
    return members | {_ACCESS: access.strip()} if isinstance(access, str) and _sendable(access.strip()) else {}


def _sendable(token: str) -> bool:
    """Whether a token can stand in a header field: printable, one line (RFC 6750 section 2.1 is stricter)."""
    return bool(token) and token.isascii() and token.isprintable()


def _opaque(value: object) -> str | None:
    """A token that only its issuer reads. A number is one too: it comes back to the issuer as the same digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        return None
    token = value.strip()
    return token if token.isprintable() else None


def _token_type(value: object) -> str:
    if not isinstance(value, str) or len(value.split()) > 1 or plain(value) in _BEARER:
        return "Bearer"
    return value.strip()
