"""A running sandbox, and a client that speaks to it over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from worker.sandbox import Sandbox, SandboxConfig, give_consent

if TYPE_CHECKING:
    from collections.abc import Iterator

REDIRECT = "http://127.0.0.1:8765/callback"
SCOPES = "openid profile offline_access read all_claims"
VERIFIER = "verifier-verifier-verifier-verifier-verifier-1234"


class Client:
    """A client of the sandbox, made of plain requests."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.http = requests.Session()
        self.http.trust_env = False

    def authorization_url(self, **changes: str | None) -> str:
        """A good authorization request with some parameters changed, or left out for None."""
        digest = hashlib.sha256(VERIFIER.encode()).digest()
        parameters: dict[str, str | None] = {
            "client_id": self.sandbox.client_id,
            "redirect_uri": REDIRECT,
            "response_type": "code",
            "scope": SCOPES,
            "state": "st-1",
            "nonce": "n-1",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        wanted = {name: value for name, value in (parameters | changes).items() if value is not None}
        return f"{self.sandbox.authorize_url}?{urlencode(wanted)}"

    def callback(self, user: str = "alice", allow: bool = True, **changes: str | None) -> dict[str, str]:
        """The parameters of the redirect that a person's decision ends in."""
        back = give_consent(self.authorization_url(**changes), user, allow)
        return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}

    def token(self, *, auth: Any = "right", **form: str) -> requests.Response:
        """One call of the token endpoint."""
        if auth == "right":
            auth = (self.sandbox.client_id, self.sandbox.client_secret)
        return self.http.post(self.sandbox.token_url, data=form, auth=auth, allow_redirects=False, timeout=10)

    def redeem(self, code: str, **changes: str) -> requests.Response:
        """Exchange a code."""
        form = {"code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER} | changes
        return self.token(grant_type="authorization_code", **form)

    def refresh(self, token: str) -> requests.Response:
        """Spend a refresh token."""
        return self.token(grant_type="refresh_token", refresh_token=token)

    def enrol(self, user: str = "alice", **changes: str | None) -> dict[str, Any]:
        """Tokens of a user who consented."""
        answer = self.redeem(self.callback(user, **changes)["code"])
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def get(self, path: str, token: str | None = None, **headers: str) -> requests.Response:
        """One API request."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.http.get(self.sandbox.api_base + path, headers=headers, allow_redirects=False, timeout=10)


def ids(page: str, key: str) -> list[int]:
    """Numbers of the resources on a page, in their order."""
    return [int(number) for number in re.findall(f"<{key}>(\\d+)</{key}>", page)]


@pytest.fixture
def make() -> Iterator[Any]:
    """Start sandboxes with given settings; all of them end with the test."""
    started: list[Client] = []

    def start(**settings: Any) -> Client:
        client = Client(Sandbox(SandboxConfig(**settings)).start())
        started.append(client)
        return client

    yield start
    for client in started:
        client.http.close()
        client.sandbox.stop()


@pytest.fixture
def client(make: Any) -> Client:
    """A sandbox with its defaults, and its client."""
    made: Client = make()
    return made


@pytest.fixture
def access(client: Client) -> str:
    """An access token with every scope."""
    return str(client.sandbox.grant("alice")["access_token"])


@pytest.fixture(name="ids")
def numbers_on_page() -> Any:
    """Reads the numbers on a page."""
    return ids
