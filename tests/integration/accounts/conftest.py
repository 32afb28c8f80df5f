"""An integration with its provider and API: the sandbox, or a server whose answers the test writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from account_house import House
from scripted_server import Answer, ScriptedServer, certificate

from worker.sandbox import Sandbox, SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from worker.store.store import Store
    from worker.testing import ManualClock


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no CA bundle of the machine's."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def sandbox(clock: ManualClock) -> Iterator[Sandbox]:
    """A running provider and API that lives by the test's clock."""
    with Sandbox(SandboxConfig(rows=5, rate_limit=0), clock=clock.now) as sandbox:
        yield sandbox


@pytest.fixture
def house(tmp_path: Path, sqlite_store: Store, clock: ManualClock, sandbox: Sandbox) -> House:
    """The sandbox's integration, without an account."""
    return House(tmp_path, sqlite_store, clock, sandbox)


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Starts servers with written answers; all end with the test."""
    servers: list[ScriptedServer] = []

    def start(*answers: Answer, tls: tuple[Path, Path] | None = None) -> ScriptedServer:
        servers.append(ScriptedServer(*answers, tls=tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def certified(tmp_path: Path) -> tuple[Path, Path]:
    """Certificate and key for 127.0.0.1."""
    return certificate(tmp_path)


@pytest.fixture
def build(tmp_path: Path, sqlite_store: Store, clock: ManualClock) -> Callable[..., House]:
    """Makes a house whose token endpoint and API are servers with written answers."""

    def make(token: ScriptedServer | None = None, api: ScriptedServer | None = None, **options: Any) -> House:
        settings = {"authorize_url": '"https://provider.example/authorize"', "allow_http": "true"}
        settings["token_url"] = f'"{token.origin}/token"' if token else '"http://127.0.0.1:9/token"'
        if api is not None:
            settings["api_base"] = f'"{api.origin}/api/"'
        return House(tmp_path, sqlite_store, clock, None, **(settings | options))

    return make
