"""How each key stands: on the keyring or not, the right one or not, and how much it still seals."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlmodel import col

from worker.clock import rfc3339
from worker.store.key_check import check_key
from worker.store.sealed_values import count_by_key
from worker.store.tables import KeyCheckRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.crypto.sealing import Sealer
    from worker.store.database import Database

#: Stands for the key of values that are no sealed values at all.
NOT_SEALED = "?"


@dataclass(frozen=True)
class KeyStanding:
    """One key, of the keyring, of the database, or of both."""

    id: str
    #: It is the newest of the keyring.
    seals: bool
    on_keyring: bool
    #: Whether the key of this name on the keyring is the one that the database knows; None: one of them lacks it.
    genuine: bool | None
    #: Kind -> how many values it seals.
    counts: Mapping[str, int]
    registered_at: float | None
    unused_since: float | None

    @property
    def values(self) -> int:
        """How many values it seals."""
        return sum(self.counts.values())

    @property
    def note(self) -> str:
        """What follows from it for the operator; empty when nothing does."""
        if self.id == NOT_SEALED:
            return "no sealed values: worker store check"
        if self.genuine is False:
            return "another key of that name sealed this database"
        if not self.on_keyring:
            return "missing: put it back" if self.values else f"retired{self._older_backups}"
        if self.seals or self.values:
            return "" if self.seals else "needed: worker keys rotate"
        if self.registered_at is None:
            return "never used here"
        return f"may be retired{self._older_backups}"

    @property
    def _older_backups(self) -> str:
        since = "the last rotation" if self.unused_since is None else rfc3339(self.unused_since)
        return f"; backups from before {since} need it"


def key_standings(database: Database, sealer: Sealer | None) -> Sequence[KeyStanding]:
    """Every key of keyring and database: first those that the keyring lacks, then the keyring's, oldest first.

    Without a sealer there is no keyring, and every key is missing.
    """
    ring = () if sealer is None else sealer.keyring.keys
    with database.read() as session:
        counts = count_by_key(session)
        known = {row.key_id: row for row in session.scalars(select(KeyCheckRow).order_by(col(KeyCheckRow.created_at)))}
    ids = dict.fromkeys([*known, *(key_id or NOT_SEALED for key_id in counts), *(key.id for key in ring)])
    on_ring = [key.id for key in ring]
    ordered = [key_id for key_id in ids if key_id not in on_ring] + on_ring
    return [
        KeyStanding(
            id=key_id,
            seals=key_id == on_ring[-1] if on_ring else False,
            on_keyring=key_id in on_ring,
            genuine=_genuine(known.get(key_id), on_ring, sealer),
            counts=counts.get(None if key_id == NOT_SEALED else key_id, Counter()),
            registered_at=known[key_id].created_at if key_id in known else None,
            unused_since=known[key_id].unused_since if key_id in known else None,
        )
        for key_id in ordered
    ]


def _genuine(row: KeyCheckRow | None, ring: Sequence[str], sealer: Sealer | None) -> bool | None:
    if row is None or sealer is None or row.key_id not in ring:
        return None
    return check_key(row.sealed_check, row.key_id, sealer)
