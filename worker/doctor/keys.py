"""The keyring: that it can be read, and where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.doctor.diagnosis import Diagnosis, Level

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
