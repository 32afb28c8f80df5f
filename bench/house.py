"""Our own side of every benchmark: a real folder with config, key and SQLite store, wired as the commands wire it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from worker.accounts.access import TokenSource
from worker.accounts.session import AccountSession, SessionSettings
from worker.config.load import load
from worker.crypto.keyring import create_keyring_file, new_key
from worker.jobs.addresses import origin
from worker.redact import Secret
from worker.runner.pace import RunPace, Stopping
from worker.store.records import Consent, NewTokens
from worker.wiring import Wiring

if TYPE_CHECKING:
    from pathlib import Path

INTEGRATION = "bench"
CLIENT_ID, CLIENT_SECRET = "bench-client", "bench-secret"
SCOPES = ("openid", "profile", "offline_access", "read", "all_claims")

CONFIG = """\
[worker]
state_dir = "state"
jobs_path = ["jobs"]

[store]
url = "sqlite:///state/worker.db"

[keyring]
file = "worker.key"

[integrations.{integration}]
client_id = "{client_id}"
client_secret_file = "client.secret"
scopes = [{scopes}]
authorize_url = "{authority}/oauth/connect/authorize"
token_url = "{authority}/oauth/connect/token"
api_base = "{api}"
redirect_uri = "http://127.0.0.1:8765/callback"
{more}
"""


def furnish(folder: Path, authority: str, api: str, more: str = "") -> Path:
    """Write config, key and client secret into an empty folder; answers the config's path."""
    scopes = ", ".join(f'"{scope}"' for scope in SCOPES)
    (folder / "jobs").mkdir(mode=0o700)
    secret = os.open(folder / "client.secret", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(secret, CLIENT_SECRET.encode())
    os.close(secret)
    create_keyring_file(folder / "worker.key", [new_key("k1")])
    config = folder / "config.toml"
    config.write_text(
        CONFIG.format(
            integration=INTEGRATION, client_id=CLIENT_ID, scopes=scopes, authority=authority, api=api, more=more
        )
    )
    return config


def wire(config: Path) -> Wiring:
    return Wiring(load(config, {}), {})


def enrol(wiring: Wiring, account: str, access_token: str, refresh_token: str, lifetime: float = 3600.0) -> int:
    """Store a consent; answers the account's number. A second time it is re-consent in place."""
    now = time.time()
    tokens = NewTokens(Secret(access_token), Secret(refresh_token), "Bearer", lifetime, now, SCOPES)
    return wiring.store.grants.store_consent(Consent(INTEGRATION, account, tokens, SCOPES), now).account.id


def session(wiring: Wiring, account: int) -> AccountSession:
    """The session that a job of this account gets, its deadline included."""
    client = wiring.client(INTEGRATION)
    settings = SessionSettings(
        label=f"{INTEGRATION}/{account}",
        api_base=client.integration.api_base,
        origins=frozenset(origin(place) for place in client.integration.api_origins),
        rules=client.rejection_rules,
        headers={"User-Agent": wiring.user_agent, **client.integration.headers},
    )
    tokens = TokenSource(account, wiring.refresher, wiring.store, wiring.clock)
    return AccountSession(tokens, settings, RunPace(wiring.clock, Stopping(), None, str(account), 3600.0))
