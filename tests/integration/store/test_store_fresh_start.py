"""A database that is gone while its witness is there: no new one is begun in its place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from store_helpers import NOW, enrol

from worker.errors import StoreUnusable
from worker.store.fresh_start import refuse_blank
from worker.store.reconciliation import is_blank
from worker.store.store import open_database, open_store
from worker.store.witness_file import Witnessed, WitnessFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.crypto.sealing import Sealer
    from worker.store.store import Store
    from worker.store.witness_file import Testimony

LIVING = Witnessed("a", "arlo/acme", 3, 3, "kept")


def _url(store: Store) -> str:
    return store.database.url.render_as_string(hide_password=False)


def _emptied(store: Store, leave: str) -> None:
    """The file is gone, or empty."""
    store.close()
    store.database.path.unlink()
    if leave == "empty":
        store.database.path.touch(0o600)


@pytest.mark.parametrize("leave", ["nothing", "empty"])
def test_no_database_is_made_where_the_witness_knows_one(
    sqlite_store: Store, sealer: Sealer, tmp_path: Path, leave: str
) -> None:
    """Nothing is written: a restore, or the file put back, finds what it would have found."""
    enrol(sqlite_store)
    enrol(sqlite_store, "zenith")
    _emptied(sqlite_store, leave)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreUnusable, match="knows 2 accounts, but") as refused:
        open_store(_url(sqlite_store), tmp_path / "state", sealer, NOW)
    assert "worker store restore FILE" in refused.value.hint
    assert sorted(tmp_path.rglob("*")) == before


def test_commands_without_a_key_make_no_database_either(sqlite_store: Store, tmp_path: Path) -> None:
    """`worker keys list` and the like."""
    enrol(sqlite_store)
    _emptied(sqlite_store, "nothing")
    with pytest.raises(StoreUnusable, match="knows 1 account, but there is no database"):
        open_database(_url(sqlite_store), tmp_path / "state")


def test_new_database_beside_a_witness_without_living_accounts_is_made(
    database_url: str, tmp_path: Path, sealer: Sealer
) -> None:
    """People took them away, or were told, or they never came to be."""
    (tmp_path / "state").mkdir()
    WitnessFile(tmp_path / "state" / "witness").append(
        [
            Witnessed("a", "arlo/a", 3, 3, "kept", "revoked"),
            Witnessed("b", "arlo/b", 3, 3, "kept", "removed"),
            Witnessed("c", "arlo/c", 3, 3, "kept", "lost"),
            Witnessed("d", "arlo/d", 1, 1, "consenting"),
        ],
        "a-mark",
    )
    store = open_store(database_url, tmp_path / "state", sealer, NOW)
    assert store.accounts.list() == []
    store.close()


def test_empty_server_is_refused_where_the_witness_knows_accounts(
    database_url: str, tmp_path: Path, sealer: Sealer
) -> None:
    """Another server than yesterday's, or a new one under its name."""
    (tmp_path / "state").mkdir()
    WitnessFile(tmp_path / "state" / "witness").append([LIVING], "a-mark")
    with pytest.raises(StoreUnusable, match="knows 1 account, but"):
        open_store(database_url, tmp_path / "state", sealer, NOW)


def test_database_with_tables_that_never_had_an_account_is_refused(
    database_url: str, tmp_path: Path, sealer: Sealer
) -> None:
    """As an earlier start may have left it; its witness lay somewhere else."""
    open_store(database_url, tmp_path / "state", sealer, NOW, tmp_path / "witness-1").close()
    WitnessFile(tmp_path / "witness-2").append([LIVING], "a-mark")
    with pytest.raises(StoreUnusable, match="knows 1 account, but there is no account in the database"):
        open_store(database_url, tmp_path / "state", sealer, NOW, tmp_path / "witness-2")


def test_database_with_accounts_of_its_own_ignores_a_strange_witness(store: Store, sealer: Sealer) -> None:
    """One that two configurations share by mistake: nothing of the other's is missed here."""
    enrol(store)
    store.close()
    store.witness.file.path.unlink()
    store.witness.file.append([LIVING], "a-mark")
    again = open_store(_url(store), store.witness.file.path.parent, sealer, NOW)
    assert [account.name for account in again.accounts.list()] == ["acme"]
    again.close()


class ReadLate(WitnessFile):
    """Read just after something has happened elsewhere."""

    def __init__(self, path: Path, happen: Callable[[], object]) -> None:
        super().__init__(path)
        self._happen = happen

    def read(self) -> Testimony:
        self._happen()
        return super().read()


def test_first_enrolment_beside_another_opening_refuses_nothing(store: Store) -> None:
    """It came between the look at the database and the look at the witness."""
    witness = ReadLate(store.witness.file.path, lambda: enrol(store))
    assert is_blank(store.database)
    refuse_blank(witness, "nothing was there", lambda: is_blank(store.database))
    assert not is_blank(store.database)


def test_newest_of_several_saved_copies_is_the_one_to_put_back(sqlite_store: Store, tmp_path: Path) -> None:
    """Their names end in numbers that say nothing of their age."""
    database = sqlite_store.database.path
    _emptied(sqlite_store, "nothing")
    for number, saved_at in ((9, NOW), (100, NOW + 2), (20, NOW + 1)):
        saved = database.with_name(f"worker.db.rescued-{number}")
        saved.touch(0o600)
        os.utime(saved, (saved_at, saved_at))
    with pytest.raises(StoreUnusable, match=r"worker\.db\.rescued-100: ") as refused:
        open_database(_url(sqlite_store), tmp_path / "state")
    assert "rescued-100 " in refused.value.hint
