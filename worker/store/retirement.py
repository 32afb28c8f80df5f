"""Retiring a key: its line leaves the keyring, once nothing in the database is sealed with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.crypto.keyring_file import remove_key
from worker.errors import KeyUnusable, UsageFault
from worker.store.daemon_keys import wait_for_daemon
from worker.store.key_check import known_keys, mark_unused
from worker.store.locks import process_note
from worker.store.resealing import wait_for_older_writers
from worker.store.sealed_values import count_by_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.crypto.sealing import Sealer
    from worker.store.store import Store


@dataclass(frozen=True)
class Retirement:
    """What a retirement works on; as in `Rotation`."""

    store: Store
    sealer: Sealer
    keyring_file: Path | None
    keyring_place: str
    state_folder: Path
    ring: Callable[[], bool]

    def run(self, key_id: str, now: float) -> None:
        """Take the key off the keyring. The key check keeps its name: it is never given to another key.

        Raises UsageFault (no such key, or the newest), KeyUnusable (it still seals values, or the keyring is not ours
        to change), Busy, TryAgainLater.
        """
        with self.store.locks.hold("key rotation", patience=1.0, note=f"worker keys retire, {process_note()}"):
            self.sealer.reread()
            ring = self.sealer.keyring
            if ring.find(key_id) is None:
                raise UsageFault(f'there is no key "{key_id}" on the keyring', hint="worker keys list")
            if ring.newest.id == key_id:
                raise UsageFault(f'key "{key_id}" is the one that seals', hint="worker keys rotate")
            if self.keyring_file is None:
                raise KeyUnusable(
                    f"the keyring comes from {self.keyring_place}, which is not ours to write",
                    hint="take the line out yourself; worker keys list tells when",
                )
            wait_for_daemon(self.store.locks, self.state_folder, ring.newest.id, self.ring)
            wait_for_older_writers(self.store.database)
            self._refuse_needed(key_id, now)
            remove_key(self.keyring_file, key_id, lambda _step: None)

    def _refuse_needed(self, key_id: str, now: float) -> None:
        with self.store.database.write() as session:
            counts = count_by_key(session)
            if key_id in counts:
                raise KeyUnusable(
                    f'key "{key_id}" still seals {counts[key_id].total()} values', hint="worker keys rotate"
                )
            newest = self.sealer.keyring.newest.id
            mark_unused(session, {known for known in known_keys(session) if known not in counts} - {newest}, now)
