"""A real process is killed during a probe, or during the decision about held refusals: the next look goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.config.load import load
from worker.crypto.keyring import create_keyring_file, new_key
from worker.errors import WorkerError
from worker.redact import Secret
from worker.sandbox import Sandbox, SandboxConfig
from worker.store.holds import GRANTS_REFUSED
from worker.store.notifications import Addressee
from worker.store.records import Consent, NewTokens
from worker.wiring import Wiring

SCOPES = ("offline_access", "read", "all_claims")
NAMES = [f"a{number}" for number in range(7)]
ROUTE = Addressee("mail", ("needs_consent", "incident", "recovered"))


@pytest.fixture
def provider():
    """Lives by the real clock."""
    with Sandbox(SandboxConfig(rows=1, rate_limit=0)) as sandbox:
        yield sandbox


@pytest.fixture
def wiring(provider, tmp_path):
    """Seven accounts in a real folder; the first four are flagged, the others held. The canary may be probed now."""
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
    for name in NAMES:
        enrol(wiring, provider, name)
    provider.fault("token", "invalid_grant", times=-1)
    attempts(wiring)
    provider.clear_faults()
    make_due(wiring)
    yield wiring
    wiring.store.close()


def enrol(wiring, provider, name):
    issued = provider.grant(name, SCOPES)
    tokens = NewTokens(
        Secret(issued["access_token"]), Secret(issued["refresh_token"]), "Bearer", 3600.0, time.time(), SCOPES
    )
    wiring.store.grants.store_consent(Consent("arlo", name, tokens, SCOPES), time.time())


def attempts(wiring):
    """What a refresh of each account comes to."""
    return [attempt(wiring, account) for account in wiring.store.accounts.list()]


def attempt(wiring, account):
    try:
        wiring.refresher.refresh(account.id, wiring.store.grants.read(account.id).generation)
    except WorkerError as error:
        return type(error).__name__
    return "ok"


def make_due(wiring):
    """The next probe need not wait, whoever has taken it."""
    wiring.store.holds.put_off("arlo", 0.0)


def start(wiring, what, moment):
    script = Path(__file__).with_name("fleet_process.py")
    return subprocess.Popen([sys.executable, str(script), str(wiring.config.path), what, moment])


def kill_itself(wiring, what, moment):
    with start(wiring, what, moment) as process:
        assert process.wait(60) == -signal.SIGKILL


def states(wiring):
    return [str(account.state) for account in wiring.store.accounts.list()]


def news(wiring, event):
    """How many notifications of this kind there are."""
    return sum(item.event == event for item in wiring.store.notifications.waiting(ROUTE, time.time()))


HELD = ["needs_consent"] * 4 + ["in_doubt"] * 3


def test_process_killed_during_a_probe_passes_the_task_on(wiring, provider):
    """Its claim runs out, another account is probed, and everybody goes on; the canary's own doubt stays with it."""
    provider.fault("token", "timeout_after", delay=60)
    with start(wiring, "tend", "NEVER") as process:
        while not provider.stats()["refreshes_total"]:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert (states(wiring), wiring.store.grants.open_intents()) == (HELD, [1])
    wiring.refresher.tend()
    assert states(wiring) == HELD, "the probe is still somebody's"
    make_due(wiring)
    wiring.refresher.tend()
    assert (states(wiring), wiring.store.incidents.list()) == (["active"] * 7, [])
    assert attempts(wiring) == ["NeedsConsent"] + ["ok"] * 6
    assert wiring.store.accounts.get("arlo", "a0").cause == "lost in rotation"


def test_process_killed_between_the_canary_s_success_and_the_release_holds_nobody_for_ever(wiring):
    """The canary is well; the next one tells about the others."""
    kill_itself(wiring, "tend", "REFRESHED")
    assert states(wiring) == ["active", *HELD[1:]]
    make_due(wiring)
    wiring.refresher.tend()
    assert (states(wiring), wiring.store.incidents.list()) == (["active"] * 7, [])


@pytest.mark.parametrize(("decision", "after"), [("release", "active"), ("confirm", "needs_consent")])
class TestDecision:
    """All or nothing, and told once."""

    def test_killed_before_its_commit_has_not_been_made(self, wiring, decision, after):
        """It can be made again."""
        kill_itself(wiring, decision, "COMMITTING")
        assert states(wiring) == HELD
        assert wiring.store.incidents.find_open("arlo", GRANTS_REFUSED) is not None
        assert len(getattr(wiring.refresher.fleet, decision)("arlo", "again")) == 7
        assert states(wiring) == [after] * 7

    def test_killed_after_its_commit_has_been_made_whole(self, wiring, decision, after):
        """Everybody, the incident, and what people are told; a second one finds nothing to do."""
        kill_itself(wiring, decision, "COMMITTED")
        assert (states(wiring), wiring.store.incidents.list()) == ([after] * 7, [])
        told = [news(wiring, kind) for kind in ("needs_consent", "recovered")]
        assert told == ([4, 5] if decision == "release" else [7, 0])
        assert getattr(wiring.refresher.fleet, decision)("arlo", "again") == []
        assert [news(wiring, kind) for kind in ("needs_consent", "recovered")] == told
