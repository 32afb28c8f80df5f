"""A database that may be where it should, and nobody can see it: a folder of somebody else, a disk that is gone.

Here its folder is a link that no system call can follow: that fails for every user, root too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_helpers import NOW, enrol

from worker.errors import StoreUnusable
from worker.store import snapshot
from worker.store.files import look_at
from worker.store.restore import Place, restore
from worker.store.store import open_store
from worker.store.witness_file import WitnessFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.crypto.sealing import Sealer
    from worker.store.store import Store


@pytest.fixture
def hidden(sqlite_store: Store) -> Path:
    """The database's folder, out of sight."""
    enrol(sqlite_store)
    folder = sqlite_store.database.path.parent
    folder.rename(folder.with_name("moved"))
    folder.symlink_to("x" * 300)
    return folder


def _back(folder: Path) -> None:
    folder.unlink()
    folder.with_name("moved").rename(folder)


def test_transaction_is_refused_while_the_file_is_out_of_sight(sqlite_store: Store, hidden: Path) -> None:
    """Neither deleted nor replaced, as far as anybody knows: nothing is saved, and it goes on when it is back."""
    with pytest.raises(StoreUnusable, match="cannot be reached"):
        sqlite_store.accounts.list()
    _back(hidden)
    assert [account.name for account in sqlite_store.accounts.list()] == ["acme"]
    assert list(hidden.glob("*.rescued-*")) == []


def _look(store: Store, _sealer: Sealer) -> object:
    return snapshot.take("", store.database.path, 5)


def _open(store: Store, sealer: Sealer) -> object:
    witness = store.witness.file.path
    return open_store(f"sqlite:///{store.database.path}", witness.parent, sealer, NOW, witness)


def _restore(store: Store, sealer: Sealer) -> object:
    witness = store.witness.file.path
    place = Place(f"sqlite:///{store.database.path}", witness.parent, witness, sealer)
    return restore(place, store.database.path.with_name("backup.db"), NOW)


@pytest.mark.parametrize("use", [_look, _open, _restore])
def test_command_says_that_it_cannot_see_the_database(
    sqlite_store: Store, sealer: Sealer, hidden: Path, use: Callable[[Store, Sealer], object]
) -> None:
    """An operator who is not the worker's user meets this first."""
    with pytest.raises(StoreUnusable, match="cannot be reached"):
        use(sqlite_store, sealer)
    assert hidden.is_symlink()


def test_witness_that_is_out_of_sight_is_not_taken_for_none(tmp_path: Path) -> None:
    """As before a restore, which has to tell it something."""
    (tmp_path / "disk").symlink_to("x" * 300)
    with pytest.raises(StoreUnusable, match="cannot be reached"):
        WitnessFile(tmp_path / "disk" / "witness").prove_writable()


def test_nothing_at_a_path_is_seen_as_nothing(tmp_path: Path) -> None:
    """Neither a missing folder nor a file in its place is a fault."""
    (tmp_path / "file").touch()
    assert look_at(tmp_path / "none" / "worker.db") is None
    assert look_at(tmp_path / "file" / "worker.db") is None
    assert look_at(tmp_path / "file") is not None
