"""The keyring: that it can be read, and where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.doctor import storage
from worker.doctor.diagnosis import Diagnosis, Level
from worker.store.key_standing import key_standings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.doctor.examination import Parts


def examine(parts: Parts) -> Iterator[Diagnosis]:
    """The keys, oldest first, and whether a copy of the database's folder would hold them as well."""
    names = [key.id for key in parts.sealer.keyring.keys]
    yield Diagnosis("key", Level.OK, f"keyring with {', '.join(names)}; {names[-1]} seals")
    path, database = parts.config.keyring.path, parts.config.store.sqlite_path
    if path is not None and database is not None and path.parent.resolve() == database.parent.resolve():
        yield Diagnosis(
            "key",
            Level.NOTE,
            f"keyring and database lie in the same folder, {path.parent}: a copy of it gives every grant away",
            "move the keyring elsewhere and set keyring.file",
        )


def examine_use(parts: Parts) -> Iterator[Diagnosis]:
    """Which keys the store still needs."""
    if not storage.exists(parts):
        return
    for key in key_standings(parts.store.database, parts.sealer):
        if key.values and not key.on_keyring:
            message = f"{key.values} values are sealed with key {key.id}, which is not on the keyring"
            yield Diagnosis("key", Level.FAULT, message, "put its line back into the keyring; worker keys list")
        elif key.values and not key.seals:
            message = f"key {key.id} still seals {key.values} values"
            yield Diagnosis("key", Level.NOTE, message, "worker keys rotate goes on with it")
