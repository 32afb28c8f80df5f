"""The proof that a keyring opens a database: every key the right one, none missing, every value opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.store.key_standing import NOT_SEALED, key_standings
from worker.store.sealed_values import find_unopened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.crypto.sealing import Sealer
    from worker.store.database import Database


@dataclass(frozen=True)
class KeyProof:
    """What came of it."""

    #: How many values open.
    opened: int
    #: Keys that the keyring lacks: id -> how many values they seal.
    missing: Mapping[str, int]
    #: Keys that only bear the name of one that sealed this database.
    wrong: tuple[str, ...]
    #: What does not open although its key is there, each with its place.
    damaged: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether this keyring is all that the database needs."""
        return not (self.missing or self.wrong or self.damaged)


def prove_keys(database: Database, sealer: Sealer) -> KeyProof:
    """Try every key and every value."""
    standings = key_standings(database, sealer)
    opened, unopened = find_unopened(database, sealer)
    return KeyProof(
        opened=opened,
        missing={
            standing.id: standing.values
            for standing in standings
            if standing.values and not standing.on_keyring and standing.id != NOT_SEALED
        },
        wrong=tuple(standing.id for standing in standings if standing.genuine is False),
        damaged=tuple(fault.message for fault in unopened if not fault.key_missing),
    )
