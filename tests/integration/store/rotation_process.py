"""A process beside a rotation, or the rotation itself: `rotation_process.py COMMAND URL STATE_FOLDER KEYRING …`.

    rotate BATCH STOP    rotate; with STOP ("batch stored 2": the second time that step is done) SIGKILL itself there
    refresh NAME …       refresh these accounts in turn for ever; say every stored "NAME GENERATION"

The refresh token of a generation is `rt-NAME-GENERATION`, so that a lost update shows.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from worker.crypto.keyring import Keyring, parse_keyring
from worker.crypto.origin import KeyringOrigin
from worker.crypto.sealing import Sealer
from worker.redact import Secret
from worker.store.locks import account_lock
from worker.store.records import NewTokens
from worker.store.rotation import Rotation
from worker.store.store import Store, open_store

_NOW = 1_767_225_600.0


def make_sealer(file: Path) -> Sealer:
    """As the wiring makes one for a keyring file."""

    def read() -> Keyring:
        return parse_keyring(file.read_text(), str(file))

    origin = KeyringOrigin(read, file)
    return Sealer(read(), origin=origin)


def next_tokens(name: str, generation: int) -> NewTokens:
    """The tokens that belong to this generation."""
    return NewTokens(Secret(f"at-{name}-{generation}"), Secret(f"rt-{name}-{generation}"), "Bearer", 3600.0, _NOW, None)


def main() -> None:
    """Do what the command line says."""
    command, url, folder, keyring, *words = sys.argv[1:]
    sealer = make_sealer(Path(keyring))
    store = open_store(url, Path(folder), sealer, _NOW)
    if command == "rotate":
        batch, stop = words
        killer = _Killer(stop)
        rotation = Rotation(
            store, sealer, Path(keyring), "the file", Path(folder), lambda: None, killer.step, int(batch)
        )
        rotated = rotation.run(_NOW)
        sys.stdout.write(f"{rotated.added} {rotated.newest} {len(rotated.unopened)}\n")
    else:
        _refresh_for_ever(store, words)


class _Killer:
    """Ends the process in the middle."""

    def __init__(self, stop: str) -> None:
        self._name, _, count = stop.rpartition(" ")
        self._count = int(count) if self._name else 0
        self._seen: Counter[str] = Counter()

    def step(self, name: str) -> None:
        """Told by the rotation."""
        self._seen[name] += 1
        if name == self._name and self._seen[name] == self._count:
            os.kill(os.getpid(), signal.SIGKILL)


def _refresh_for_ever(store: Store, names: list[str]) -> None:
    for name in itertools.cycle(names):
        account = store.accounts.get("arlo", name)
        with store.locks.hold(account_lock(account.id)):
            grant = store.grants.read(account.id)
            expected = f"rt-{name}-{grant.generation}"
            if store.grants.read_refresh_token(grant).reveal() != expected:
                raise SystemExit(f"{name}: not the token of generation {grant.generation}")
            store.grants.begin_refresh(grant, "rotation_process", _NOW)
            stored = store.grants.complete_refresh(grant, next_tokens(name, grant.generation + 1), _NOW)
        sys.stdout.write(f"{name} {stored.generation}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
