"""What is known of providers, as data. A preset fills in options that the file leaves open; it has no code of its own,
so that a provider the program has never heard of can be described in the file just as well.

`{platform}` in a value is replaced by the integration's option of that name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


#: A DNS label, since that is where it ends up.
PLATFORM = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"


@dataclass(frozen=True)
class Preset:
    """Values for an integration's options, as they would stand in the file."""

    summary: str
    values: Mapping[str, object]
    #: What `platform` is for this provider; empty when it has none.
    platform: str = ""


PRESETS: Mapping[str, Preset] = {
    # https://developer.arlo.co/doc/api/2012-02-01/auth/oauth2 and Arlo's own sample client
    # (github.com/ArloSoftware/apioauth), which also sends the redirect URI with a refresh.
    "arlo": Preset(
        "Arlo training management (XML REST API 2012-02-01)",
        {
            "authorize_url": "https://{platform}.arlo.co/oauth/connect/authorize",
            "token_url": "https://{platform}.arlo.co/oauth/connect/token",
            "revoke_url": "https://{platform}.arlo.co/oauth/connect/revocation",
            "identity_url": "https://{platform}.arlo.co/oauth/connect/userinfo",
            "client_auth": "basic",
            "refresh_sends_redirect_uri": True,
            # offline_access brings the refresh token; without all_claims or a resource's own scope nothing is readable.
            "scopes": ["openid", "profile", "offline_access", "read", "all_claims"],
            "authorize_params": {"login_hint": "tenant:{platform}"},
            "api_base": "https://{platform}.arlo.co/api/2012-02-01/auth/resources/",
            # https://developer.arlo.co/doc/api/ratelimiting: per platform, whoever asks.
            "rate_limit": "300/minute",
            # Any other Accept is answered with 406.
            "headers": {"Accept": "application/xml"},
        },
        platform='the "acme" of https://acme.arlo.co',
    ),
}


def filled(value: object, platform: str) -> object:
    """A preset's value with the platform put in."""
    if isinstance(value, str):
        return value.replace("{platform}", platform)
    if isinstance(value, dict):
        return {key: filled(item, platform) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, platform) for item in value]
    return value
