"""Fixtures of the store's tests: one enrolled account, and other processes."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest
from restore_story import Story
from store_helpers import Process, enrol, start_process

from worker.crypto.keyring import Keyring, new_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from worker.crypto.sealing import Sealer
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
def story(migrated_url: str, tmp_path: Path, sealer: Sealer) -> Iterator[Story]:
    """A store without accounts, to be backed up and restored."""
    story = Story(migrated_url, tmp_path, sealer)
    yield story
    story.store.close()


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """No file may grow beyond so many bytes, as on a full disk; SIGXFSZ is ignored by Python."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def other_keyring() -> Keyring:
    """Another key of the same name."""
    return Keyring((new_key("k1"),))
