"""Whether the daemon has the newest key in hand, before anything is done that it could not bear without."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from worker.crypto.keys_in_use import read_keys_in_use
from worker.errors import Busy, TryAgainLater

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.crypto.keys_in_use import KeysInUse
    from worker.store.locks import Locks

#: Seconds for which a daemon that was told may take to look at its keyring, and between two looks at whether it has.
_PATIENCE, _LOOK = 10.0, 0.05


def wait_for_daemon(locks: Locks, state_folder: Path, key_id: str, ring: Callable[[], bool]) -> None:
    """Return when no daemon runs here or when it knows this key; `ring` tells it to look, and whether one is here.

    A daemon on another machine cannot be asked. It reads its own keyring when it meets the key. Raises TryAgainLater
    when the daemon here does not take the key up: its keyring is fixed, is another one, or it could not say what it is.
    """
    holder = _daemon(locks)
    if holder is None:
        return
    here = ring()
    deadline = time.monotonic() + _PATIENCE
    while True:
        note = _note_of(holder, state_folder)
        if key_id in note.keys if note is not None else not here:
            return
        if (note is not None and not note.follows) or time.monotonic() >= deadline:
            break
        time.sleep(_LOOK)
    raise TryAgainLater(
        f'{holder} does not know key "{key_id}" yet, and could not open what is sealed with it; nothing was done',
        hint="start the daemon again with this keyring (for keyring.command a reload will do); then this command again",
    )


def _note_of(holder: str, state_folder: Path) -> KeysInUse | None:
    """What this daemon has said about its keys; None when it has said nothing here."""
    note = read_keys_in_use(state_folder)
    return note if note is not None and f"process {note.process} " in f"{holder} " else None


def _daemon(locks: Locks) -> str | None:
    """Who holds the daemon's lock; None when nobody does."""
    try:
        with locks.hold("daemon", patience=0.0, note="worker keys, for an instant"):
            return None
    except Busy as busy:
        return str(busy.evidence.get("holder", "the daemon"))
