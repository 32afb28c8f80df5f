"""Fixtures of the store's tests: one enrolled account, and other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_helpers import Process, enrol, start_process

from worker.crypto.keyring import Keyring, new_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from worker.store.records import Grant
    from worker.store.store import Store


@pytest.fixture
def grant(store: Store) -> Grant:
    """The grant of arlo/acme, just enrolled: generation 1."""
    return enrol(store)


@pytest.fixture
def spawn(tmp_path: Path, keyring: Keyring) -> Iterator[Callable[..., Process]]:
    """Starts processes on a store, and leaves none behind: `spawn(command, store or url, *words)`."""
    processes: list[Process] = []

    def start(command: str, where: Store | str, *words: str, ring: Keyring | None = None) -> Process:
        url = where if isinstance(where, str) else where.database.url.render_as_string(hide_password=False)
        processes.append(start_process(command, url, tmp_path / "state", ring or keyring, *words))
        return processes[-1]

    yield start
    for process in processes:
        process.process.kill()
        process.process.communicate()


@pytest.fixture
def other_keyring() -> Keyring:
    """Another key of the same name."""
    return Keyring((new_key("k1"),))
