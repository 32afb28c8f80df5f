"""Sixteen threads in each of four processes meet a dead token, on a provider that kills the grant on reuse."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from worker.config.load import load
from worker.crypto.keyring import create_keyring_file, new_key
from worker.redact import Secret
from worker.sandbox import Sandbox, SandboxConfig
from worker.store.records import Consent, NewTokens
from worker.wiring import Wiring

PROCESSES, THREADS = 4, 16
SCOPES = ("openid", "offline_access", "read", "all_claims")


@pytest.fixture
def provider():
    """Rotation, reuse detection, and a token endpoint slow enough for everybody to arrive meanwhile."""
    config = SandboxConfig(rows=1, rate_limit=0, token_delay=0.1, api_delay=0.005, kill_on_reuse=True)
    with Sandbox(config) as sandbox:
        yield sandbox


@pytest.fixture
def wiring(provider, tmp_path, migrated_url):
    """A folder with config, key and secret, on either database, wired as the commands wire it."""
    create_keyring_file(tmp_path / "worker.key", [new_key("k1")])
    (tmp_path / "client.secret").touch(mode=0o600)
    (tmp_path / "client.secret").write_text(provider.client_secret)
    (tmp_path / "config.toml").write_text(
        f"""
        [store]
        url = "{migrated_url}"
        [keyring]
        file = "worker.key"
        [integrations.arlo]
        client_id = "{provider.client_id}"
        client_secret_file = "client.secret"
        scopes = {json.dumps(SCOPES)}
        authorize_url = "{provider.authorize_url}"
        token_url = "{provider.token_url}"
        api_base = "{provider.api_base}"
        """
    )
    wiring = Wiring(load(tmp_path / "config.toml", {}), {})
    yield wiring
    wiring.store.close()


def enrol(wiring: Wiring, provider: Sandbox, lifetime: float) -> int:
    """A grant by the provider, stored as one with this lifetime; the account's number."""
    issued = provider.grant("acme", SCOPES)
    tokens = NewTokens(
        Secret(issued["access_token"]), Secret(issued["refresh_token"]), "Bearer", lifetime, time.time(), SCOPES
    )
    return wiring.store.grants.store_consent(Consent("arlo", "acme", tokens, SCOPES), time.time()).account.id


def stampede(wiring: Wiring, account: int, url: str, manner: str, spoil) -> list[str]:
    """The outcomes of all requests; `spoil` makes the token bad when everybody has it."""
    script = Path(__file__).with_name("stampede_process.py")
    command = [sys.executable, str(script), str(wiring.config.path), str(account), url, manner]
    with ExitStack() as stack:
        crew = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(PROCESSES)
        ]
        assert [process.stdout.readline() for process in crew] == ["armed\n"] * PROCESSES
        spoil()
        for process in crew:
            process.stdin.write("go\n")
            process.stdin.flush()
        return [outcome for process in crew for outcome in json.loads(process.stdout.readline())]


@pytest.mark.parametrize("manner", ["shared", "each"])
def test_stampede_on_a_dead_token_costs_one_refresh(wiring, provider, manner):
    """One session for each process, or for each thread: 64 requests served, one refresh, the grant alive."""
    account = enrol(wiring, provider, 3600.0)
    outcomes = stampede(wiring, account, f"{provider.api_base}events/", manner, provider.expire)
    stats = provider.stats()
    assert outcomes == ["200"] * (PROCESSES * THREADS)
    assert stats["token_calls"] == {"refresh_token": {"granted": 1}}
    assert (stats["grants"], stats["reuse_detected"], wiring.store.grants.read(account).generation) == (
        {"acme": 1},
        0,
        2,
    )


def test_stampede_on_a_revoked_grant_costs_one_call(wiring, provider):
    """Nobody is served, the provider is asked once, and the account is flagged."""
    account = enrol(wiring, provider, 3600.0)
    outcomes = stampede(wiring, account, f"{provider.api_base}events/", "each", lambda: provider.revoke("acme"))
    assert all("NeedsConsent" in outcome for outcome in outcomes)
    assert provider.stats()["token_calls"] == {"refresh_token": {"invalid_grant": 1}}
    assert wiring.store.accounts.by_id(account).state == "needs_consent"
