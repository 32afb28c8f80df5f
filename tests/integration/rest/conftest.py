"""A worker in this process, with a provider that gives its tokens and a JSON API that wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from json_api import JsonApi

from worker.config.load import load
from worker.crypto.keyring import new_key, render_keyring
from worker.redact import Secret
from worker.sandbox import Sandbox, SandboxConfig
from worker.store.records import Account, Consent, NewTokens, Run
from worker.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
[worker]
state_dir = "state"
[keyring]
file = "worker.key"
[integrations.crm]
client_id = "{client_id}"
client_secret = "{client_secret}"
token_url = "{token_url}"
api_base = "{api_base}"
scopes = ["read"]
"""


class RestPlace:
    """A folder with a config, and one account that has consented."""

    def __init__(self, folder: Path, sandbox: Sandbox, api: JsonApi) -> None:
        self.folder, self.sandbox, self.api = folder, sandbox, api
        (folder / "jobs").mkdir(mode=0o755)
        key = folder / "worker.key"
        key.touch(0o600)
        key.write_text(render_keyring([new_key("k1")]))
        self._wiring: Wiring | None = None

    def configure(self, text: str) -> None:
        """Write the config: the integration, and `text`."""
        settings = {
            "client_id": self.sandbox.client_id,
            "client_secret": self.sandbox.client_secret,
            "token_url": self.sandbox.token_url,
            "api_base": self.api.base,
        }
        path = self.folder / "config.toml"
        path.write_text(CONFIG.format(**settings) + text)
        path.chmod(0o600)
        self.close()

    @property
    def wiring(self) -> Wiring:
        """The parts, as the config has them."""
        if self._wiring is None:
            self._wiring = Wiring(load(self.folder / "config.toml", {}), {"NO_PROXY": "*"})
        return self._wiring

    def account(self) -> Account:
        """The account, enrolled when it is first asked for."""
        found = self.wiring.store.accounts.list("crm")
        if found:
            return found[0]
        granted = self.sandbox.grant("acme", ["read", "offline_access"])
        now = self.wiring.clock.now()
        tokens = NewTokens(
            Secret(granted["access_token"]), Secret(granted["refresh_token"]), "Bearer", 3600.0, now, ("read",)
        )
        return self.wiring.store.grants.store_consent(Consent("crm", "acme", tokens, ("read",)), now).account

    def run(self, job: str) -> Run:
        """Make one run, and answer its record."""
        assignment = self.wiring.assignments(job)[job]
        due = self.wiring.store.schedule.open_entry(job, self.account())
        ended = self.wiring.runner.run(assignment, due, lambda _now: None, trigger="manual")
        assert ended is not None
        return self.wiring.store.runs.get(ended.run_id)

    def close(self) -> None:
        """Let go of the store."""
        if self._wiring is not None:
            self._wiring.store.close()
            self._wiring = None


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """The provider."""
    with Sandbox(SandboxConfig(rows=1, rate_limit=0)) as running:
        yield running


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[JsonApi]:
    """The API, without any collection."""
    with JsonApi(sandbox) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, sandbox: Sandbox, api: JsonApi) -> Iterator[RestPlace]:
    """A folder without config."""
    sandbox.clear_faults()
    sandbox.reset_stats()
    made = RestPlace(tmp_path, sandbox, api)
    yield made
    made.close()
