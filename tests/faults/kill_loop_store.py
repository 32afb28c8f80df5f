"""What the kill loop and its victims agree upon: the store, the accounts, and tokens that say which they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.crypto.keyring import parse_keyring
from worker.crypto.sealing import Sealer
from worker.jobs.sinks import Stream
from worker.redact import Secret
from worker.store.records import NewTokens

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_767_225_600.0
URL = "sqlite:///{folder}/worker.db"
STREAM = Stream("sync", "arlo", "all")


INTEGRATION, SCOPES = "arlo", ("read", "offline_access")


def read_sealer(folder: Path) -> Sealer:
    """The keyring beside the store."""
    return Sealer(parse_keyring((folder / "key").read_text(), "key"))


def new_tokens(name: str, generation: int) -> NewTokens:
    """Tokens from which account and generation can be read."""
    return NewTokens(
        access_token=Secret(f"access-{name}-{generation}"),
        refresh_token=Secret(f"refresh-{name}-{generation}"),
        token_type="Bearer",
        lifetime=3600.0,
        issued_at=NOW,
        scopes=SCOPES,
    )
