"""The three servers that the story is played on, each in a process of its own, each behind the same few handles."""

from __future__ import annotations

import json
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from form_walk import walk
from workplace import REDIRECT_URI, REPOSITORY

from worker.sandbox import SandboxControl, give_consent

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

HERE = Path(__file__).parent
#: Seconds an access token lives.
ACCESS_TTL = 2
#: A client id and secret that HTTP Basic carries only when both are form-encoded (RFC 6749 section 2.3.1).
ODD_ID, ODD_SECRET = "odd:id", "p@ss+w%o rd:/"

#: The job for the two servers that have /api/items.
ITEMS_JOB = '''\
from worker import Context, job


@job(scopes=["items:read"])
def items(ctx: Context) -> None:
    """Copy items changed since the last run."""
    for page in ctx.pages("items", params={"after": ctx.cursor.get("after", 0)}):
        ctx.emit("items", page.rows, key="id")
        ctx.checkpoint(after=page.last("changed"))
'''


@dataclass(frozen=True)
class ClientOf:
    """A client of a server."""

    id: str
    secret: str
    auth: str = "basic"


class Server(ABC):
    """A provider and its API, in a process of its own; use as a context manager."""

    #: The client that the story uses.
    client: ClientOf
    #: A job file and the function in it.
    job_file: tuple[str, str]
    uses: str
    #: Table and key of the rows it copies.
    table: str
    key: str
    #: Rows that are there from the beginning.
    rows: int

    def __init__(self, command: list[str]) -> None:
        self._command = command

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("READY "):
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"{self._command} is not ready: {line}")
        self._started(line.removeprefix("READY ").strip())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @abstractmethod
    def _started(self, ready: str) -> None: ...

    @abstractmethod
    def integration(self, client: ClientOf | None = None, name: str = "api") -> str:
        """The integration's part of a config file."""

    @abstractmethod
    def consent(self, url: str, user: str) -> str:
        """Where the browser ends when this user consents."""

    @abstractmethod
    def revoke(self, user: str) -> None:
        """End every grant of a user."""

    @abstractmethod
    def add(self, count: int) -> None:
        """New rows."""

    @abstractmethod
    def refreshes(self, user: str) -> int:
        """Refreshes that have succeeded."""

    @abstractmethod
    def token_calls(self) -> dict[str, dict[str, int]]:
        """Calls of the token endpoint: grant type to outcome to count."""


class Sandbox(Server):
    """Our own, with the behaviour of Arlo."""

    client = ClientOf("sandbox-client", "sandbox-secret")
    uses, table, key, rows = "arlo.events", "events", "EventID", 300

    def __init__(self, **settings: object) -> None:
        given = {"access_ttl": ACCESS_TTL, "claimed_ttl": None, "rate_limit": 0} | settings
        pairs = [f"--set={name}={json.dumps(value)}" for name, value in given.items()]
        super().__init__([sys.executable, "-m", "worker.sandbox", *pairs])
        self.job_file = ("arlo.py", (REPOSITORY / "jobs" / "arlo.py").read_text())

    def _started(self, ready: str) -> None:
        self.addresses: dict[str, str] = json.loads(ready)
        self.control = SandboxControl(self.addresses["base_url"], self.addresses["control_token"])

    def integration(self, client: ClientOf | None = None, name: str = "api") -> str:
        at = self.addresses
        client = client or self.client
        return (
            f'[integrations.{name}]\nclient_id = "{client.id}"\nclient_auth = "{client.auth}"\n'
            f'authorize_url = "{at["authorize_url"]}"\ntoken_url = "{at["token_url"]}"\n'
            f'revoke_url = "{at["revoke_url"]}"\napi_base = "{at["api_base"]}"\n'
            'scopes = ["openid", "profile", "offline_access", "read", "all_claims"]\n'
            f'redirect_uri = "{REDIRECT_URI}"\nheaders = {{ Accept = "application/xml" }}'
        )

    def consent(self, url: str, user: str) -> str:
        return give_consent(url, user)

    def revoke(self, user: str) -> None:
        assert self.control.revoke(user) == 1

    def add(self, count: int) -> None:
        self.control.insert("events", count)

    def refreshes(self, user: str) -> int:
        return int(self.control.stats()["refreshes"].get(user, 0))

    def token_calls(self) -> dict[str, dict[str, int]]:
        return dict(self.control.stats()["token_calls"])


class ItemServer(Server):
    """What the other two have in common: discovery from the issuer, /api/items and the handles under /test."""

    job_file, uses, table, key, rows = ("catalogue.py", ITEMS_JOB), "catalogue.items", "items", "id", 10
    scopes: tuple[str, ...] = ()
    more = ""

    def _started(self, ready: str) -> None:
        self.issuer = ready
        self._base = ready.removesuffix("/o")

    def integration(self, client: ClientOf | None = None, name: str = "api") -> str:
        client = client or self.client
        return (
            f'[integrations.{name}]\nclient_id = "{client.id}"\nclient_auth = "{client.auth}"\n'
            f'issuer = "{self.issuer}"\nscopes = {json.dumps(self.scopes)}\nredirect_uri = "{REDIRECT_URI}"\n'
            f'api_base = "{self._base}/api/"\n{self.more}'
        )

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, f"{self._base}/test/{path}", timeout=30)
        assert answer.ok, answer.text
        return dict(answer.json())

    def facts(self) -> dict[str, Any]:
        """What has happened."""
        return self._ask("GET", "facts")

    def revoke(self, user: str) -> None:
        self._ask("POST", f"revoke?account={user}")

    def add(self, count: int) -> None:
        self._ask("POST", f"add?count={count}")

    def refreshes(self, user: str) -> int:
        return int(self.facts()["refreshes"].get(user, 0))

    def token_calls(self) -> dict[str, dict[str, int]]:
        return dict(self.facts()["tokenCalls"])


class OidcProvider(ItemServer):
    """oidc-provider from npm: certified, and the strictest of the three."""

    client = ClientOf("confidential", "a secret of the confidential client")
    clients = (
        client,
        ClientOf("posting", "a secret of the posting client", "post"),
        ClientOf("public", "", "none"),
        ClientOf(ODD_ID, ODD_SECRET),
    )
    scopes = ("openid", "offline_access", "items:read")
    more = 'authorize_params = { prompt = "consent" }'

    def __init__(self, packages: Path, **settings: object) -> None:
        methods = {"basic": "client_secret_basic", "post": "client_secret_post", "none": "none"}
        clients = [
            {
                "client_id": client.id,
                **({"client_secret": client.secret} if client.secret else {"application_type": "native"}),
                "token_endpoint_auth_method": methods[client.auth],
                "redirect_uris": [REDIRECT_URI],
                "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"],
            }
            for client in self.clients
        ]
        asked = {"clients": clients, "modules": str(packages), "accessTtl": ACCESS_TTL, **settings}
        super().__init__(["node", str(HERE / "oidc-provider" / "start.mjs"), json.dumps(asked)])

    def consent(self, url: str, user: str) -> str:
        return walk(url, REDIRECT_URI, {"login": user, "password": "anything"})


class DjangoToolkit(ItemServer):
    """django-oauth-toolkit: what many in-house providers are made of."""

    client = ClientOf("toolkit:client", "p@ss+w%o rd:/ of the toolkit")
    scopes = ("openid", "items:read")

    def __init__(self, folder: Path) -> None:
        asked = {
            "folder": str(folder),
            "access_ttl": ACCESS_TTL,
            "clients": {self.client.id: self.client.secret},
            "redirect_uri": REDIRECT_URI,
        }
        super().__init__([sys.executable, str(HERE / "django_server.py"), json.dumps(asked)])

    def consent(self, url: str, user: str) -> str:
        return walk(url, REDIRECT_URI, {"login": user}, press="allow")
