"""Discovery: a provider's endpoints from its issuer (OpenID Connect Discovery 1.0, RFC 8414).

One provider may publish two documents that differ, e.g. a revocation endpoint in one of them only, so both are read
and merged. A document counts only if its `issuer` equals ours to the letter (RFC 8414 section 3.3): otherwise whoever
answers at that address could name endpoints of his own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from worker.errors import Misconfigured
from worker.oauth.evidence import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OPENID, _OAUTH = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
#: What may stand in an address (RFC 3986 appendix A); it is printed on a terminal.
_ADDRESS = re.compile(r"[!#-;=?-\[\]_a-z~]{1,2048}")
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """What a provider publishes about itself. None or empty: it does not say."""

    issuer: str
    authorize_url: str | None = None
    token_url: str | None = None
    revoke_url: str | None = None
    device_url: str | None = None
    #: The userinfo endpoint, which says who consented.
    identity_url: str | None = None
    #: It sends `iss` with its answers (RFC 9207 section 3).
    iss_advertised: bool = False
    scopes_supported: tuple[str, ...] = ()
    code_challenge_methods: tuple[str, ...] = ()
    client_auth_methods: tuple[str, ...] = ()


def metadata_urls(issuer: str) -> list[str]:
    """Where an issuer's documents may lie, the likeliest first. Insertion before the path is RFC 8414's way."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    paths = [f"{path}{_OPENID}", f"{_OAUTH}{path}", f"{_OPENID}{path}", f"{path}{_OAUTH}"]
    return [urlunsplit((parts.scheme, parts.netloc, place, "", "")) for place in dict.fromkeys(paths)]


def merge_metadata(issuer: str, documents: Iterable[object]) -> ProviderMetadata:
    """One view of all documents found; where two name different endpoints, the first one wins.

    What is no JSON object counts as not found. Raises Misconfigured for an issuer that differs, an endpoint without
    TLS, or no document at all.
    """
    found: list[Mapping[str, object]] = [document for document in documents if isinstance(document, dict)]
    if not found:
        raise Misconfigured(f"no metadata found for issuer {issuer}", hint="set authorize_url and token_url by hand")
    for document in found:
        told = document.get("issuer")
        if told != issuer:
            named = safe_text(told) if isinstance(told, str) else f"a {type(told).__name__}"
            raise Misconfigured(
                f'the metadata of {issuer} names the issuer "{named}"',
                hint="issuer must be written exactly as the provider writes it, to the last slash",
            )
    return ProviderMetadata(
        issuer=issuer,
        authorize_url=_endpoint(found, "authorization_endpoint"),
        token_url=_endpoint(found, "token_endpoint"),
        revoke_url=_endpoint(found, "revocation_endpoint"),
        device_url=_endpoint(found, "device_authorization_endpoint"),
        identity_url=_endpoint(found, "userinfo_endpoint"),
        iss_advertised=any(each.get("authorization_response_iss_parameter_supported") is True for each in found),
        scopes_supported=_names(found, "scopes_supported"),
        code_challenge_methods=_names(found, "code_challenge_methods_supported"),
        client_auth_methods=_names(found, "token_endpoint_auth_methods_supported"),
    )


def is_protected(url: str) -> bool:
    """Whether secrets may travel to `url`: https, or a host that is this machine."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        )
    except ValueError:
        return False


def _endpoint(documents: list[Mapping[str, object]], name: str) -> str | None:
    for document in documents:
        url = document.get(name)
        if isinstance(url, str) and url:
            issuer = str(document["issuer"])
            if not is_protected(url) or (issuer.startswith("https:") and not url.startswith("https:")):
                raise Misconfigured(f"{name} of {issuer} is not https: {safe_text(url)}")
            if not _ADDRESS.fullmatch(url):
                raise Misconfigured(f"{name} of {issuer} is no address: {safe_text(url)}")
            return url
    return None


def _names(documents: list[Mapping[str, object]], name: str) -> tuple[str, ...]:
    lists = [given for document in documents if isinstance(given := document.get(name), list)]
    return tuple(dict.fromkeys(item for given in lists for item in given if isinstance(item, str)))
