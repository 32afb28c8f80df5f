"""The key check: a known value sealed with every key that was used here.

A wrong keyring is refused when the store is opened. What must never happen is the quiet alternative: a fresh key
generated beside a database it cannot open, and new grants sealed with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from worker.crypto.sealing import Binding
from worker.errors import KeyUnusable, TamperedSecret
from worker.redact import Secret
from worker.store.tables import KeyCheckRow

if TYPE_CHECKING:
    from worker.crypto.sealing import Sealer
    from worker.store.database import Database

_CHECK = Secret("this key opens this database")
_HINT = "restore the keyring this database was made with; a new key cannot open it"


def verify_key(database: Database, sealer: Sealer, now: float) -> None:
    """Compare the keyring with the database, and register a new newest key.

    Raises KeyUnusable when no key of the keyring was ever used here, or when one bears a known id but is another key.
    """
    keyring = sealer.keyring
    with database.read() as session:
        rows = {row.key_id: row.sealed_check for row in session.scalars(select(KeyCheckRow))}
    shared = [key.id for key in keyring.keys if key.id in rows]
    if rows and not shared:
        raise KeyUnusable(
            f"the keyring ({', '.join(key.id for key in keyring.keys)}) holds none of the keys that {database.name} was"
            f" sealed with ({', '.join(sorted(rows))})",
            hint=_HINT,
        )
    for key_id in shared:
        try:
            sealer.open(rows[key_id], _binding(key_id))
        except TamperedSecret:
            raise KeyUnusable(
                f'key "{key_id}" of the keyring is not the key of that name which {database.name} was sealed with',
                hint=_HINT,
            ) from None
    if keyring.newest.id not in rows:
        with database.write() as session:
            if session.get(KeyCheckRow, keyring.newest.id) is None:
                sealed = sealer.seal(_CHECK, _binding(keyring.newest.id))
                session.add(KeyCheckRow(key_id=keyring.newest.id, sealed_check=sealed, created_at=now))


def _binding(key_id: str) -> Binding:
    return Binding("key check", key_id, "check")
