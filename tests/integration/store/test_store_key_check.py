"""The key check: the wrong key is refused at the start, and never a second one begun beside existing data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from store_helpers import NOW, consent, enrol, race

from worker.crypto.keyring import Keyring, new_key
from worker.crypto.sealing import Sealer
from worker.errors import KeyUnusable, StoreUnusable
from worker.redact import Secret
from worker.store.key_check import verify_key
from worker.store.store import open_store

if TYPE_CHECKING:
    from worker.store.store import Store


def _ids(store: Store) -> list[str]:
    with store.database.read() as session:
        return sorted(session.execute(text("SELECT key_id FROM key_check")).scalars())


def test_first_open_registers_the_key(store: Store) -> None:
    """From then on it is the key of this database."""
    assert _ids(store) == ["k1"]


def test_same_key_opens_again(store: Store, keyring: Keyring) -> None:
    """And registers nothing more."""
    verify_key(store.database, Sealer(keyring), NOW)
    assert _ids(store) == ["k1"]


def test_key_of_another_name_is_refused(store: Store) -> None:
    """Both sides are named, so that the right file can be found."""
    with pytest.raises(KeyUnusable, match=r"\(k7\) holds none of the keys that .* was sealed with \(k1\)") as caught:
        verify_key(store.database, Sealer(Keyring((new_key("k7"),))), NOW)
    assert (caught.value.exit_code, "restore the keyring" in caught.value.hint) == (78, True)


def test_other_key_of_the_same_name_is_refused(store: Store) -> None:
    """A fresh `worker init` beside an old database makes exactly this."""
    with pytest.raises(KeyUnusable, match='key "k1" of the keyring is not the key of that name'):
        verify_key(store.database, Sealer(Keyring((new_key("k1"),))), NOW)


@pytest.mark.parametrize("name", ["k1", "k7"])
def test_wrong_key_is_never_registered(store: Store, name: str) -> None:
    """Refused, and nothing written."""
    with pytest.raises(KeyUnusable):
        verify_key(store.database, Sealer(Keyring((new_key(name),))), NOW)
    assert _ids(store) == ["k1"]


def test_wrong_key_does_not_open_the_store(store: Store, migrated_url: str, tmp_path: Path) -> None:
    """The way every command goes."""
    with pytest.raises(KeyUnusable):
        open_store(migrated_url, tmp_path / "state", Sealer(Keyring((new_key("k1"),))), NOW)


def test_new_newest_key_is_registered_beside_a_known_one(store: Store, keyring: Keyring) -> None:
    """A rotation: old and new on the ring."""
    verify_key(store.database, Sealer(Keyring((*keyring.keys, new_key("k2")))), NOW)
    assert _ids(store) == ["k1", "k2"]


def test_known_key_does_not_excuse_a_wrong_one(store: Store, keyring: Keyring) -> None:
    """One right and one wrong: refused. Values sealed with the wrong one would be lost."""
    verify_key(store.database, Sealer(Keyring((*keyring.keys, new_key("k2")))), NOW)
    with pytest.raises(KeyUnusable, match='key "k2"'):
        verify_key(store.database, Sealer(Keyring((*keyring.keys, new_key("k2")))), NOW)


def test_rotated_keyring_opens_old_grants_and_seals_new_ones(
    store: Store, keyring: Keyring, migrated_url: str, tmp_path: Path
) -> None:
    """And a ring without the old key cannot read what was sealed with it."""
    old = enrol(store, "old")
    new_ring = Keyring((*keyring.keys, new_key("k2")))
    rotated = open_store(migrated_url, tmp_path / "state", Sealer(new_ring), NOW)
    new = rotated.grants.store_consent(consent("new"), NOW)
    assert rotated.grants.read(old.account.id) == old
    only_new = open_store(migrated_url, tmp_path / "state", Sealer(Keyring(new_ring.keys[1:])), NOW)
    assert only_new.grants.read(new.account.id) == new
    with pytest.raises(KeyUnusable, match='sealed with key "k1"'):
        only_new.grants.read(old.account.id)
    rotated.close()
    only_new.close()


@pytest.mark.parametrize("content", ["grant", "client secret"])
def test_lost_key_check_beside_sealed_values_is_refused(store: Store, content: str) -> None:
    """Whoever empties the table does not get a new key registered."""
    if content == "grant":
        enrol(store)
    else:
        store.secrets.set("arlo", "client_secret", Secret("x"), NOW)
    with store.database.write() as session:
        session.execute(text("DELETE FROM key_check"))
    with pytest.raises(KeyUnusable, match="holds sealed values"):
        verify_key(store.database, Sealer(Keyring((new_key("k1"),))), NOW)
    assert _ids(store) == []


def test_one_of_many_first_keys_wins(store: Store) -> None:
    """Sixteen keys called k1 at once on an empty database: one is registered, all others are refused."""
    with store.database.write() as session:
        session.execute(text("DELETE FROM key_check"))
    rings = [Keyring((new_key("k1"),)) for _ in range(16)]
    outcomes = race(16, lambda number: verify_key(store.database, Sealer(rings[number]), NOW))
    assert [type(outcome).__name__ for outcome in outcomes].count("NoneType") == 1
    assert {type(outcome) for outcome in outcomes if outcome is not None} == {KeyUnusable}


def test_store_without_key_table_is_no_wrong_key(store: Store) -> None:
    """A damaged schema is told as such."""
    with store.database.write() as session:
        session.execute(text("DROP TABLE key_check"))
    with pytest.raises(StoreUnusable, match="key_check"):
        verify_key(store.database, Sealer(Keyring((new_key("k1"),))), NOW)
