"""Which keys the daemon has in hand: a note in the state folder, so that a rotation need not guess.

A daemon whose keyring is fixed at its start (environment variable, systemd credential) cannot open what is sealed with
a newer key. So a rotation reads this note before it seals anything anew: a daemon that follows its keyring is waited
for, one that does not has to be started again first.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NAME = "keys-in-use"


@dataclass(frozen=True)
class KeysInUse:
    """What a daemon wrote about itself."""

    process: int
    keys: tuple[str, ...]
    #: Whether it takes up a changed keyring by itself.
    follows: bool


def write_keys_in_use(state_folder: Path, keys: Sequence[str], *, follows: bool) -> None:
    """Leave the note, in one piece. One that cannot be left makes a rotation more careful, nothing worse."""
    path = state_folder / _NAME
    temporary = path.with_name(f"{_NAME}.{os.getpid()}")
    with suppress(OSError):
        text = json.dumps({"process": os.getpid(), "keys": list(keys), "follows": follows})
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        temporary.rename(path)


def read_keys_in_use(state_folder: Path) -> KeysInUse | None:
    """The note that was left last, by whatever daemon; None when there is none that can be read."""
    try:
        found = json.loads((state_folder / _NAME).read_text(encoding="ascii"))
        return KeysInUse(int(found["process"]), tuple(map(str, found["keys"])), bool(found["follows"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
