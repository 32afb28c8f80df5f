"""The store: that it opens, is sound, and who uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.clock import rfc3339
from worker.doctor.diagnosis import Diagnosis, Level
from worker.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.doctor.examination import Parts


def exists(parts: Parts) -> bool:
    """Whether there is a store to look at; one on a server is asked, a file is never made."""
    path = parts.config.store.sqlite_path
    return path is None or path.exists()


def examine(parts: Parts) -> Iterator[Diagnosis]:
    """Opens it (which checks schema and key), reads every page, and looks who holds the daemon's lock."""
    if not exists(parts):
        yield Diagnosis(
            "store",
            Level.NOTE,
            f"there is no database at {parts.config.store.sqlite_path} yet",
            "worker enroll INTEGRATION ACCOUNT makes it",
        )
        return
    store = parts.store
    faults = store.database.integrity_faults()
    for fault in faults:
        yield Diagnosis("store", Level.FAULT, f"{store.database.name}: {fault}", "worker store restore FILE")
    if not faults:
        yield Diagnosis("store", Level.OK, f"{store.database.name} opens and is sound")
    witness = store.witness.file.path
    if parts.config.store.sqlite_path is not None and _same_disk(witness, parts.config.store.sqlite_path):
        yield Diagnosis(
            "store",
            Level.NOTE,
            f"the witness {witness} lies on the database's own disk: who rolls that back rolls back both",
            "set store.witness to a path on another disk",
        )
    intents = store.grants.open_intents()
    if intents:
        yield Diagnosis(
            "store",
            Level.NOTE,
            f"{len(intents)} refreshes are under way or were cut off",
            "the daemon settles them; worker accounts list",
        )
    yield _daemon(parts)


def _same_disk(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.stat().st_dev == other.stat().st_dev


def _daemon(parts: Parts) -> Diagnosis:
    try:
        with parts.store.locks.hold("daemon", patience=0, note=f"worker doctor, {rfc3339(parts.clock.now())}"):
            return Diagnosis("daemon", Level.NOTE, "no daemon uses this store now", "systemctl start worker")
    except Busy as error:
        return Diagnosis("daemon", Level.OK, f"runs: {error.evidence.get('holder', 'another process')}")
