"""Nothing secret on the disk: the raw bytes of the database and its journal, searched."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from store_helpers import NOW, SILENCE, enrol, tokens

from worker.redact import Secret

if TYPE_CHECKING:
    from worker.crypto.keyring import Keyring
    from worker.redact import Scrubber
    from worker.store.store import Store

_PERSON = "subject-of-the-person"
_SECRETS = [
    "first-access-token",
    "first-refresh-token",
    "second-access-token",
    "second-refresh-token",
    _PERSON,
    "the-client-secret",
]


def _live(store: Store) -> None:
    """Enrol, refresh, doubt, set and replace: everything that writes a secret."""
    grant = enrol(store, identity={"subject": _PERSON})
    store.secrets.set("arlo", "client_secret", Secret("the-client-secret"), NOW)
    store.grants.begin_refresh(grant, "me", NOW)
    second = store.grants.complete_refresh(grant, tokens(), NOW)
    store.grants.leave_in_doubt(second, SILENCE, NOW, not_before=NOW)
    store.secrets.set("arlo", "client_secret", Secret("the-client-secret"), NOW)


def _spellings(secret: str) -> list[bytes]:
    raw = secret.encode()
    return [raw, raw[::-1], raw.hex().encode(), base64.b64encode(raw)[:-4], secret.encode("utf-16-le")]


def test_database_file_and_journal_hold_no_secret(sqlite_store: Store) -> None:
    """In the middle of a transaction, too, when the old pages lie in the journal."""
    _live(sqlite_store)
    path = sqlite_store.database.path
    with sqlite_store.database.write() as session:
        session.execute(text("UPDATE grant_ SET sealed_refresh_token = NULL, sealed_access_token = NULL"))
        session.execute(text("UPDATE client_secret SET sealed_value = x'00'"))
        raw = path.read_bytes() + Path(f"{path}-journal").read_bytes()
    raw += path.read_bytes()
    assert [secret for secret in _SECRETS for spelled in _spellings(secret) if spelled in raw] == []


def test_database_file_holds_no_key(sqlite_store: Store, keyring: Keyring) -> None:
    """Neither as text nor as bytes."""
    raw = sqlite_store.database.path.read_bytes()
    assert keyring.newest.bytes() not in raw
    assert keyring.newest.material.reveal().encode() not in raw


def test_no_column_of_any_table_holds_a_secret(store: Store) -> None:
    """On both databases, read as the server sees it."""
    _live(store)
    found = []
    with store.database.read() as session:
        tables = ("account", "grant_", "refresh_intent", "timeline", "incident", "client_secret", "key_check")
        for table in tables:
            for row in session.execute(text(f"SELECT * FROM {table}")):
                cells = b"\n".join(bytes(cell) if isinstance(cell, bytes) else str(cell).encode() for cell in row)
                found += [(table, secret) for secret in _SECRETS if secret.encode() in cells]
    assert found == []


@pytest.mark.parametrize("forget", ["refresh", "erase", "remove"])
def test_superseded_ciphertext_does_not_linger(sqlite_store: Store, forget: str) -> None:
    """secure_delete: what was replaced or deleted is overwritten, not left in a free page."""
    grant = enrol(sqlite_store)
    with sqlite_store.database.read() as session:
        sealed = bytes(session.execute(text("SELECT sealed_refresh_token FROM grant_")).scalar_one())
    assert sealed in sqlite_store.database.path.read_bytes()
    if forget == "refresh":
        sqlite_store.grants.complete_refresh(grant, tokens(), NOW)
    elif forget == "erase":
        sqlite_store.grants.erase(grant.account, NOW)
    else:
        sqlite_store.accounts.remove(grant.account)
    assert sealed not in sqlite_store.database.path.read_bytes()


def test_scrubber_knows_every_credential_that_was_sealed(store: Store, scrubber: Scrubber) -> None:
    """So none of them can reach a log line. Who consented is no credential: `accounts list` shows it."""
    _live(store)
    credentials = [secret for secret in _SECRETS if secret != _PERSON]
    assert not [secret for secret in credentials if secret in scrubber(f"saw {secret} pass")]
