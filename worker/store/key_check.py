"""The key check: a known value sealed with every key that was used here.

A wrong keyring is refused when the store is opened. What must never happen is the quiet alternative: a fresh key
generated beside a database it cannot open, and new grants sealed with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlmodel import col

from worker.crypto.sealing import Binding
from worker.errors import KeyUnusable, TamperedSecret
from worker.redact import Secret
from worker.store.database import alone
from worker.store.tables import ClientSecretRow, GrantRow, KeyCheckRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.orm import Session

    from worker.crypto.sealing import Sealer
    from worker.store.database import Database

_CHECK = Secret("this key opens this database")
_HINT = "restore the keyring this database was made with; a new key cannot open it"


def verify_key(database: Database, sealer: Sealer, now: float) -> None:
    """Compare the keyring with the database, and register a new newest key.

    Raises KeyUnusable when no key of the keyring was ever used here, or when one bears a known id but is another key.
    A key that was used here and is not on the keyring is no fault: a rotation leaves such keys behind.
    """
    newest = sealer.keyring.newest.id
    with database.read() as session:
        known = known_keys(session)
        _compare(known, sealer, database.name)
    if newest in known:
        return
    with database.write() as session:
        alone(session, "key check")
        # Again: two processes may have found an empty database at the same time, each with a keyring of its own.
        known = known_keys(session)
        _compare(known, sealer, database.name)
        if not known and _holds_secrets(session):
            raise KeyUnusable(f"{database.name} holds sealed values, but not what tells their key", hint=_HINT)
        if newest not in known:
            if sealer.origin is not None:
                sealer.origin.sync()
            sealed = sealer.seal(_CHECK, _binding(newest))
            session.add(KeyCheckRow(key_id=newest, sealed_check=sealed, created_at=now))


def check_key(known: bytes, key_id: str, sealer: Sealer) -> bool:
    """Whether the key of this id on the keyring is the one that the database knows."""
    try:
        sealer.open(known, _binding(key_id))
    except TamperedSecret:
        return False
    return True


def not_marked_unused(session: Session) -> set[str]:
    """The keys of which no rotation has written down yet that they seal nothing any more."""
    return {row.key_id for row in session.scalars(select(KeyCheckRow)) if row.unused_since is None}


def mark_unused(session: Session, unused: Iterable[str], now: float) -> None:
    """Write down since when keys seal nothing any more; the others, and what a key seals again, are in use."""
    for row in session.scalars(select(KeyCheckRow)):
        row.unused_since = (row.unused_since or now) if row.key_id in unused else None


def _compare(known: Mapping[str, bytes], sealer: Sealer, name: str) -> None:
    keys = [key.id for key in sealer.keyring.keys]
    shared = [key_id for key_id in keys if key_id in known]
    if known and not shared:
        raise KeyUnusable(
            f"the keyring ({', '.join(keys)}) holds none of the keys that {name} was sealed with"
            f" ({', '.join(sorted(known))})",
            hint=_HINT,
        )
    for key_id in shared:
        if not check_key(known[key_id], key_id, sealer):
            raise KeyUnusable(
                f'key "{key_id}" of the keyring is not the key of that name which {name} was sealed with',
                hint=_HINT,
            )


def known_keys(session: Session) -> dict[str, bytes]:
    """The check value of every key that was ever used here, by key id."""
    return {row.key_id: row.sealed_check for row in session.scalars(select(KeyCheckRow))}


def _holds_secrets(session: Session) -> bool:
    columns = (col(GrantRow.account_id), col(ClientSecretRow.name))
    return any(session.execute(select(column).limit(1)).first() is not None for column in columns)


def _binding(key_id: str) -> Binding:
    return Binding("key check", key_id, "check")
