"""The order of syncs and sends in a real refresh, as the kernel sees it: on the disk first, on the wire then."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from system_calls import TRACED, Call, read_calls, undurable

from worker.config.load import load
from worker.crypto.keyring import create_keyring_file, new_key
from worker.redact import Secret
from worker.sandbox import Sandbox, SandboxConfig
from worker.store.records import Consent, NewTokens
from worker.wiring import Wiring

SCOPES = ("offline_access", "read", "all_claims")
DATABASE = "/state/worker.db"


@pytest.fixture
def provider():
    """A provider and API over TCP, which is not traced."""
    with Sandbox(SandboxConfig(rows=1, rate_limit=0)) as sandbox:
        yield sandbox


@pytest.fixture
def wiring(provider, tmp_path):
    """A real folder, an enrolled account, and a token that the API refuses."""
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
    issued = provider.grant("acme", SCOPES)
    tokens = NewTokens(
        Secret(issued["access_token"]), Secret(issued["refresh_token"]), "Bearer", 3600.0, time.time(), SCOPES
    )
    wiring.store.grants.store_consent(Consent("arlo", "acme", tokens, SCOPES), time.time())
    provider.expire()
    yield wiring
    wiring.store.close()


def trace(wiring: Wiring, *weakened: str) -> tuple[list[Call], str, str]:
    """The calls of one use of the API, the database's path, and the new access token."""
    if shutil.which("strace") is None:
        reason = "strace is not installed"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    folder = wiring.config.path.parent
    account = wiring.store.accounts.get("arlo", "acme")
    script = Path(__file__).with_name("traced_process.py")
    strace = ["strace", "-f", "-y", "-s", "4096", "-o", str(folder / "trace"), "-e", f"trace={TRACED}"]
    done = subprocess.run(
        [*strace, sys.executable, str(script), str(wiring.config.path), str(account.id), *weakened],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if "Operation not permitted" in done.stderr and "trace" in done.stderr:
        pytest.skip("this machine lets us trace no process")
    assert done.stdout == "200\n", done.stderr
    token = wiring.store.grants.read(account.id).access_token
    assert token is not None
    return read_calls((folder / "trace").read_text()), str(wiring.store.database.path), token.reveal()


def test_refresh_is_on_the_disk_before_it_is_on_the_wire(wiring: Wiring) -> None:
    """The intent is synced before the token request is sent; the new tokens before the new access token is."""
    calls, database, token = trace(wiring)
    assert undurable(calls, database, "POST ", f"Bearer {token}") == []


@pytest.mark.parametrize("value", ["NORMAL", "FULL", "OFF"])
def test_weaker_setting_of_the_database_is_noticed(wiring: Wiring, value: str) -> None:
    """With less than synchronous=EXTRA the journal's end may not be on the disk: this test would see it."""
    calls, database, token = trace(wiring, value)
    assert len(undurable(calls, database, "POST ", f"Bearer {token}")) == 2


def test_call_in_two_lines_counts_where_it_should() -> None:
    """A sync from its end, a send from its beginning."""
    text = (
        f"7 fdatasync(3<{DATABASE}> <unfinished ...>\n"
        '8 sendto(4<socket:[1]>, "POST /", 6, 0, NULL, 0 <unfinished ...>\n'
        "7 <... fdatasync resumed>)          = 0\n8 <... sendto resumed>)             = 6\n"
    )
    assert [call.name for call in read_calls(text)] == ["sendto", "fdatasync"]


def test_failed_sync_does_not_count() -> None:
    """EIO from fsync means that nobody knows what is on the disk."""
    assert read_calls(f"7 fdatasync(3<{DATABASE}>)         = -1 EIO (Input/output error)\n") == []


@pytest.mark.parametrize(
    ("calls", "fault"),
    [
        (["write", "send", "sync", "unlink", "folder"], "'POST /' was sent before what was written was synced"),
        (["write", "sync", "unlink", "send", "folder"], "'POST /' was sent before the end of the journal was synced"),
        (["send"], "'POST /' was sent without a transaction before it"),
        (["write", "sync", "unlink", "folder"], "'POST /' was never sent"),
        (["write", "sync", "unlink", "folder", "send"], None),
    ],
)
def test_wrong_order_is_named(calls: list[str], fault: str | None) -> None:
    """Each way in which the order can be wrong."""
    known = {
        "write": Call("pwrite64", DATABASE, ""),
        "sync": Call("fdatasync", DATABASE, ""),
        "unlink": Call("unlink", f"{DATABASE}-journal", ""),
        "folder": Call("fsync", "/state", ""),
        "send": Call("sendto", "", '"POST /"'),
    }
    assert (undurable([known[call] for call in calls], DATABASE, "POST /") or [None])[0] == fault
