"""A backup: whole, consistent, private, and made while others write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from store_helpers import NOW, enrol, tokens

from worker.errors import StoreUnusable, TryAgainLater, UsageFault
from worker.redact import Secret
from worker.store.backup import back_up
from worker.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store_helpers import Process

    from worker.crypto.sealing import Sealer
    from worker.store.store import Store


def test_backup_holds_the_grants_and_opens_as_a_store(store: Store, sealer: Sealer, tmp_path: Path) -> None:
    """Of either database: the file is a store of its own."""
    account = enrol(store).account
    store.secrets.set("arlo", "client_secret", Secret("a client secret"), NOW)
    report = back_up(store.database, sealer, tmp_path / "backup.db", NOW)
    assert report.accounts == 1
    copy = open_store(f"sqlite:///{tmp_path / 'backup.db'}", tmp_path / "elsewhere", sealer, NOW)
    assert copy.grants.read_refresh_token(copy.grants.read(account.id)).reveal() == "first-refresh-token"
    secret = copy.secrets.get("arlo", "client_secret")
    assert secret is not None
    assert secret.reveal() == "a client secret"
    copy.close()


def test_backup_is_readable_by_its_owner_alone(store: Store, sealer: Sealer, tmp_path: Path) -> None:
    """It is as secret as the store, wherever it is put."""
    back_up(store.database, sealer, tmp_path / "backup.db", NOW)
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600


def test_backup_leaves_the_store_as_it_was(store: Store, sealer: Sealer, tmp_path: Path) -> None:
    """The time of the backup stands in the backup alone, and nothing lies about."""
    grant = enrol(store)
    back_up(store.database, sealer, tmp_path / "backup.db", NOW)
    with store.database.read() as session:
        from sqlalchemy import text

        assert session.execute(text("SELECT backed_up_at FROM lineage")).scalar_one() is None
    assert store.grants.read(grant.account.id) == grant
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.db", "state"]


def test_backup_never_overwrites_a_file(store: Store, sealer: Sealer, tmp_path: Path) -> None:
    """Not even an empty one, nor the database itself."""
    (tmp_path / "backup.db").write_bytes(b"the only copy of something")
    with pytest.raises(UsageFault, match="never overwrites"):
        back_up(store.database, sealer, tmp_path / "backup.db", NOW)
    assert (tmp_path / "backup.db").read_bytes() == b"the only copy of something"


def test_backup_into_a_folder_that_is_missing_says_so(store: Store, sealer: Sealer, tmp_path: Path) -> None:
    """Perhaps its disk is not mounted: nothing is made in its place."""
    with pytest.raises(StoreUnusable, match="cannot be made"):
        back_up(store.database, sealer, tmp_path / "missing" / "backup.db", NOW)
    assert not (tmp_path / "missing").exists()


def test_backup_on_a_full_disk_leaves_no_half_file(
    store: Store, sealer: Sealer, tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    """Nothing that somebody could take for a backup later."""
    enrol(store)
    (tmp_path / "backups").mkdir()
    small_files(40_000)
    with pytest.raises((TryAgainLater, StoreUnusable)):
        back_up(store.database, sealer, tmp_path / "backups" / "backup.db", NOW)
    assert list((tmp_path / "backups").iterdir()) == []


def test_backup_of_a_damaged_database_is_refused(sqlite_store: Store, sealer: Sealer, tmp_path: Path) -> None:
    """A copy of the damage would be found when it is needed."""
    enrol(sqlite_store)
    path = sqlite_store.database.path
    sqlite_store.close()
    content = bytearray(path.read_bytes())
    for start in range(8192, len(content), 4096):
        content[start : start + 64] = b"\x55" * 64
    path.write_bytes(content)
    with pytest.raises(StoreUnusable):
        back_up(sqlite_store.database, sealer, tmp_path / "backup.db", NOW)
    assert not (tmp_path / "backup.db").exists()


def test_backups_under_load_hold_every_commit_acknowledged_before_them(
    store: Store, sealer: Sealer, tmp_path: Path, spawn: Callable[..., Process]
) -> None:
    """A process that writes without a pause: each backup ends, is whole, and holds what was told."""
    writer = spawn("set-secrets", store, "100000")
    for number in range(5):
        for _ in range(20):
            told = int(writer.line())
        file = tmp_path / f"backup-{number}.db"
        back_up(store.database, sealer, file, NOW)
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        copy = open_store(f"sqlite:///{file}", tmp_path / f"elsewhere-{number}", sealer, NOW)
        held = copy.secrets.get("arlo", "counter")
        copy.close()
        assert held is not None
        assert int(held.reveal().removeprefix("number ")) >= told
    assert writer.process.poll() is None


def test_backup_during_a_refresh_holds_the_intent(store: Store, sealer: Sealer, tmp_path: Path) -> None:
    """A consistent prefix: not the new tokens, but that they were asked for."""
    grant = enrol(store)
    store.grants.begin_refresh(grant, "process 1", NOW)
    back_up(store.database, sealer, tmp_path / "backup.db", NOW)
    store.grants.complete_refresh(grant, tokens(), NOW)
    with closing(sqlite3.connect(tmp_path / "backup.db")) as connection:
        assert connection.execute("SELECT generation FROM refresh_intent").fetchall() == [(1,)]
        assert connection.execute("SELECT generation FROM grant_").fetchall() == [(1,)]
