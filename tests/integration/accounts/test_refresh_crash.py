"""A process killed in the middle of a refresh: what the next one finds, says and does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.config.load import load
from worker.crypto.keyring import create_keyring_file, new_key
from worker.errors import NeedsConsent
from worker.redact import Secret
from worker.sandbox import Sandbox, SandboxConfig
from worker.store.locks import account_lock
from worker.store.records import Consent, NewTokens
from worker.wiring import Wiring

SCOPES = ("offline_access", "read", "all_claims")


@pytest.fixture
def provider():
    """A slow token endpoint: there is time to be killed while it works."""
    with Sandbox(SandboxConfig(rows=1, rate_limit=0)) as sandbox:
        yield sandbox


@pytest.fixture
def wiring(provider, tmp_path):
    """A real folder."""
    create_keyring_file(tmp_path / "worker.key", [new_key("k1")])
    (tmp_path / "client.secret").touch(mode=0o600)
    (tmp_path / "client.secret").write_text(provider.client_secret)
    (tmp_path / "config.toml").write_text(
        f"""
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


@pytest.fixture
def account(wiring, provider):
    """An enrolled account."""
    issued = provider.grant("acme", SCOPES)
    tokens = NewTokens(
        Secret(issued["access_token"]), Secret(issued["refresh_token"]), "Bearer", 3600.0, time.time(), SCOPES
    )
    return wiring.store.grants.store_consent(Consent("arlo", "acme", tokens, SCOPES), time.time()).account


def start(wiring, account) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("refresh_process.py")
    command = [sys.executable, str(script), str(wiring.config.path), str(account.id), "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_while(wiring, account, condition) -> None:
    with start(wiring, account) as process:
        while not condition():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()


def test_process_killed_before_the_provider_acted_loses_nothing(wiring, provider, account):
    """The next process finds the intent, sends the same refresh token, and goes on."""
    provider.fault("token", "timeout")
    kill_while(wiring, account, lambda: provider.stats()["faults"])
    assert wiring.store.grants.read(account.id).intent_started_at is not None
    assert wiring.refresher.refresh(account.id, 1).generation == 2
    assert wiring.store.accounts.by_id(account.id).state == "active"


def test_process_killed_after_the_provider_acted_is_told_truthfully(wiring, provider, account):
    """The rotation was carried out and its answer died with the process: lost in rotation, not revoked."""
    provider.fault("token", "timeout_after")
    kill_while(wiring, account, lambda: provider.stats()["refreshes_total"])
    with pytest.raises(NeedsConsent, match="lost in rotation"):
        wiring.refresher.refresh(account.id, 1)
    flagged = wiring.store.accounts.by_id(account.id)
    assert (flagged.state, flagged.cause) == ("needs_consent", "lost in rotation")


def test_process_killed_with_a_grace_period_at_the_provider_loses_nothing(wiring, provider, account):
    """The spent token brings the very answer that was lost."""
    provider.set(grace=60.0)
    provider.fault("token", "timeout_after")
    kill_while(wiring, account, lambda: provider.stats()["refreshes_total"])
    assert wiring.refresher.refresh(account.id, 1).generation == 2


def test_lock_of_a_killed_process_is_free(wiring, provider, account):
    """It dies with its holder: nobody waits for a time-to-live."""
    provider.fault("token", "timeout")
    kill_while(wiring, account, lambda: provider.stats()["faults"])
    with wiring.store.locks.hold(account_lock(account.id), patience=5):
        pass


def test_lock_of_a_paused_process_is_not_taken_over(wiring, provider, account):
    """A holder that stands still for a while keeps its lock: one refresh, whoever waits."""
    import signal

    provider.set(token_delay=0.3)
    with start(wiring, account) as first:
        while not provider.stats()["peak_concurrent_token_calls"]:
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)
        with start(wiring, account) as second:
            time.sleep(1.5)
            first.send_signal(signal.SIGCONT)
            assert (first.stdout.readline(), second.stdout.readline()) == ("2\n", "2\n")
    stats = provider.stats()
    assert (stats["refreshes_total"], stats["reuse_detected"]) == (1, 0)
