"""Rotating the key while everything goes on: a new key, then every value sealed anew with it.

    lock "key rotation"            one at a time
    append the key to its file     durable before anything is sealed with it (`worker.crypto.keyring_file`)
    register it in the key check   from now on the store refuses another key of that name
    wait for the daemon            until it says that it has the key; it could not open the new values
    seal anew, batch by batch      `worker.store.resealing`
    mark the old keys unused       backups from before this moment still need them

Killed anywhere, the next call goes on: as long as an older key of the keyring seals anything, no further key is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.crypto.keyring import new_key, next_key_id
from worker.crypto.keyring_file import append_key
from worker.errors import KeyUnusable
from worker.store.daemon_keys import wait_for_daemon
from worker.store.key_check import known_keys, mark_unused, not_marked_unused, verify_key
from worker.store.locks import process_note
from worker.store.resealing import BATCH, Resealing
from worker.store.sealed_values import count_by_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.crypto.sealing import Sealer
    from worker.store.sealed_values import Unopened
    from worker.store.store import Store


def _no_step(_name: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Rotation:
    """What a rotation works on."""

    store: Store
    sealer: Sealer
    #: The keyring file that we may change; None when the keyring comes from elsewhere.
    keyring_file: Path | None
    #: Where the keyring comes from, for messages.
    keyring_place: str
    state_folder: Path
    #: Tells the daemon to look now; answers whether one listens.
    ring: Callable[[], bool]
    #: Told the name of each step when it is done, for tests that stop there.
    step: Callable[[str], None] = _no_step
    #: Rows a transaction.
    batch: int = BATCH

    def run(self, now: float, *, key_id: str = "", more: bool = False) -> Rotated:
        """Rotate, or finish a rotation that was stopped; with `more`, add a key in any case.

        Raises Busy (another one is under way), KeyUnusable (the keyring cannot be changed), TryAgainLater (a daemon
        does not know the new key, or somebody goes on sealing with an old one).
        """
        with self.store.locks.hold("key rotation", patience=1.0, note=f"worker keys rotate, {process_note()}"):
            self.step("lock held")
            self.sealer.reread()
            added = None
            if self._wants_key(key_id, more=more):
                added = key_id or next_key_id(self._ids_ever_used())
                self._add(added)
            verify_key(self.store.database, self.sealer, now)
            self.step("key registered")
            wait_for_daemon(self.store.locks, self.state_folder, self.sealer.keyring.newest.id, self.ring)
            self.step("daemon knows")
            done = Resealing(self.store.database, self.sealer, self.step, self.batch).run()
            unused = self._mark(now)
            self.step("old keys marked")
        return Rotated(added, self.sealer.keyring.newest.id, done.values, tuple(done.unopened.values()), unused)

    def _wants_key(self, key_id: str, *, more: bool) -> bool:
        ring = self.sealer.keyring
        if key_id:
            if ring.newest.id != key_id and ring.find(key_id) is not None:
                raise KeyUnusable(f'key "{key_id}" is on the keyring, but is not its newest', hint="worker keys list")
            return ring.newest.id != key_id
        with self.store.database.read() as session:
            # Marked is what a rotation does last: without the mark, one was stopped on its way from that key.
            unfinished = {*count_by_key(session), *not_marked_unused(session)}
        return more or not any(key.id in unfinished for key in ring.keys[:-1])

    def _add(self, key_id: str) -> None:
        if self.keyring_file is None:
            raise KeyUnusable(
                f"the keyring comes from {self.keyring_place}, which is not ours to write; no older key seals anything",
                hint=f"worker keys new FILE --id {key_id}; add its line at the end of the keyring; start the daemon"
                " again; then: worker keys rotate",
            )
        append_key(self.keyring_file, new_key(key_id), self.step)
        self.sealer.look()
        if self.sealer.keyring.newest.id != key_id:
            raise KeyUnusable(f'key "{key_id}" was added to {self.keyring_file}, but is not the newest there')

    def _ids_ever_used(self) -> set[str]:
        with self.store.database.read() as session:
            found = {*known_keys(session), *count_by_key(session), *(key.id for key in self.sealer.keyring.keys)}
            return {key_id for key_id in found if key_id is not None}

    def _mark(self, now: float) -> tuple[str, ...]:
        with self.store.database.write() as session:
            sealing = {key_id for key_id, count in count_by_key(session).items() if count.total()}
            newest = self.sealer.keyring.newest.id
            unused = [key_id for key_id in known_keys(session) if key_id not in sealing and key_id != newest]
            mark_unused(session, unused, now)
        return tuple(key.id for key in self.sealer.keyring.keys if key.id in unused)


@dataclass(frozen=True)
class Rotated:
    """What a rotation did."""

    #: The key that was added; None when one that was there already was rotated to.
    added: str | None
    newest: str
    #: How many values were sealed anew.
    values: int
    #: What does not open, and stays as it is.
    unopened: tuple[Unopened, ...]
    #: Keys of the keyring that seal nothing any more.
    unused: tuple[str, ...]
