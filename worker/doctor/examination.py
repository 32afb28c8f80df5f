"""The examination: every check in its turn. One that fails is a finding itself, and the others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from worker.doctor import accounts, clients, endpoints, ground, keys, process, storage, telling
from worker.doctor.diagnosis import Diagnosis, Level, of_error
from worker.errors import TryAgainLater, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from worker.accounts.client import Client
    from worker.clock import Clock
    from worker.config.model import Config
    from worker.crypto.sealing import Sealer
    from worker.store.store import Store

    Check = Callable[["Parts"], Iterable[Diagnosis]]


class Parts(Protocol):
    """What is examined. Each part is made when a check asks for it, and may fail then."""

    config: Config
    environ: Mapping[str, str]
    clock: Clock

    @property
    def state_folder(self) -> Path:
        """Where locks and, by default, the database lie."""

    @property
    def sealer(self) -> Sealer:
        """The keyring. Raises KeyUnusable or Misconfigured."""

    @property
    def store(self) -> Store:
        """The store, opened. Raises as `open_store` does."""

    def client(self, name: str) -> Client:
        """An integration's OAuth client."""


#: In this order: what later ones stand on comes first. These need no store.
_UNOPENED: tuple[tuple[str, Check], ...] = (
    ("process", process.examine),
    ("key", keys.examine),
    ("disk", ground.examine),
)
_OPENED: tuple[tuple[str, Check], ...] = (
    ("store", storage.examine),
    ("key", keys.examine_use),
    ("client", clients.examine),
    ("accounts", accounts.examine),
    ("notify", telling.examine),
)
_REMOTE: tuple[tuple[str, Check], ...] = (("endpoints", endpoints.examine),)


def examine(parts: Parts, *, offline: bool = False) -> Iterator[Diagnosis]:
    """All diagnoses, as they are found. `offline` leaves out what needs the network.

    What several checks stumble over (a store that does not open) is told once, by the first.
    """
    for subject, check in _UNOPENED:
        yield from _checked(parts, subject, check)
    closed = _kept_closed(parts)
    if closed is not None:
        yield closed
    told: set[str] = set()
    for subject, check in (*(_OPENED if closed is None else ()), *(() if offline else _REMOTE)):
        for diagnosis in _checked(parts, subject, check):
            if diagnosis.level in {Level.OK, Level.NOTE} or diagnosis.message not in told:
                yield diagnosis
            told.add(diagnosis.message)


def _kept_closed(parts: Parts) -> Diagnosis | None:
    """Why the store is not opened; None when it can be. One that does not answer would be waited for by each check."""
    try:
        return storage.of_age(parts)
    except TryAgainLater as error:
        return of_error("store", type(error)(f"{error.message}; {storage.NOT_EXAMINED}", hint=error.hint))


def _checked(parts: Parts, subject: str, check: Check) -> Iterator[Diagnosis]:
    try:
        yield from check(parts)
    except WorkerError as error:
        yield of_error(subject, error)
    except OSError as error:
        yield Diagnosis(subject, Level.FAULT, f"could not be examined: {error.strerror or error}")
