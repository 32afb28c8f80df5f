"""The store: that it opens, is sound, and who uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.clock import rfc3339
from worker.doctor.diagnosis import Diagnosis, Level, of_error
from worker.errors import Busy, StoreUnusable, TryAgainLater, WorkerError
from worker.store.age import older
from worker.store.files import look_at
from worker.store.fresh_start import refuse_missing_file
from worker.store.service import how_to_start
from worker.store.witness_file import WITNESS, WitnessFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.doctor.examination import Parts


#: Why there is nothing about keys, clients, accounts and routes.
NOT_EXAMINED = "what needs an open store was not examined"


def exists(parts: Parts) -> bool:
    """Whether there is a store to look at; one on a server is asked, a file is never made. Raises as `look_at` does."""
    path = parts.config.store.sqlite_path
    return path is None or look_at(path) is not None


def of_age(parts: Parts) -> Diagnosis | None:
    """That the database is older than its witness, seen without opening the store, which would mark accounts.

    Raises TryAgainLater when it does not answer; of any other fault, whoever opens the store tells.
    """
    config = parts.config
    path = config.store.sqlite_path
    try:
        if not exists(parts):
            return None
        url = "" if path is not None else config.store.read_url(parts.environ, config.base_dir)
        found = older(url, path, WitnessFile(config.store.witness or parts.state_folder / WITNESS))
    except TryAgainLater:
        raise
    except WorkerError:
        return None
    if not found:
        return None
    return Diagnosis(
        "store",
        Level.FAULT,
        f"the database is older than its witness: {found}; {NOT_EXAMINED}",
        "put the newer file back, if there is one; worker store check takes this one, and marks what is stale",
    )


def examine(parts: Parts) -> Iterator[Diagnosis]:
    """Opens it (which checks schema and key), reads every page, and looks who holds the daemon's lock."""
    if not exists(parts):
        yield _of_missing(parts)
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


def _of_missing(parts: Parts) -> Diagnosis:
    """No database: never made yet, or gone."""
    path = parts.config.store.sqlite_path
    assert path is not None
    try:
        refuse_missing_file(path, WitnessFile(parts.config.store.witness or parts.state_folder / WITNESS))
    except StoreUnusable as error:
        return of_error("store", error)
    return Diagnosis(
        "store", Level.NOTE, f"there is no database at {path} yet", "worker enroll INTEGRATION ACCOUNT makes it"
    )


def _same_disk(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.stat().st_dev == other.stat().st_dev


def _daemon(parts: Parts) -> Diagnosis:
    try:
        with parts.store.locks.hold("daemon", patience=0, note=f"worker doctor, {rfc3339(parts.clock.now())}"):
            return Diagnosis("daemon", Level.NOTE, "no daemon uses this store now", how_to_start())
    except Busy as error:
        return Diagnosis("daemon", Level.OK, f"runs: {error.evidence.get('holder', 'another process')}")
