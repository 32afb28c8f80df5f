"""The same request with the parts that a user would pick instead, each written as its documentation shows it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import requests

#: Both libraries refuse plain http, loopback or not, unless told.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"


@dataclass(frozen=True)
class Grant:
    """What a peer is started with."""

    access_token: str
    refresh_token: str
    token_url: str
    client_id: str
    client_secret: str
    lifetime: float = 3600.0

    def token(self) -> dict[str, object]:
        return {
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "token_type": "Bearer",
            "expires_in": self.lifetime,
            "expires_at": datetime.now(UTC).timestamp() + self.lifetime,
        }


def plain(grant: Grant) -> requests.Session:
    made = requests.Session()
    made.headers["Authorization"] = f"Bearer {grant.access_token}"
    return made


def with_callable(grant: Grant) -> requests.Session:
    made = requests.Session()

    def attach(request):
        request.headers["Authorization"] = f"Bearer {grant.access_token}"
        return request

    made.auth = attach
    return made


def without_environment(grant: Grant) -> requests.Session:
    """The floor: no proxy, no CA bundle, no netrc from the environment. Fast, and deaf to what the operator set."""
    made = plain(grant)
    made.trust_env = False
    return made


def requests_oauthlib(grant: Grant):
    from requests_oauthlib import OAuth2Session

    return OAuth2Session(grant.client_id, token=grant.token())


def authlib(grant: Grant):
    from authlib.integrations.requests_client import OAuth2Session

    return OAuth2Session(grant.client_id, grant.client_secret, token=grant.token(), token_endpoint=grant.token_url)


def google_auth(grant: Grant):
    from google.auth.transport.requests import AuthorizedSession
    from google.oauth2.credentials import Credentials

    expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=grant.lifetime)
    return AuthorizedSession(
        Credentials(
            grant.access_token,
            refresh_token=grant.refresh_token,
            token_uri=grant.token_url,
            client_id=grant.client_id,
            client_secret=grant.client_secret,
            expiry=expiry,
        )
    )
