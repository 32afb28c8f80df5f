"""The witness: what it says, what it survives, and an old copy of the database put in place behind our back."""

from __future__ import annotations

import logging
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from store_helpers import NOW, Process, enrol, tokens

from worker.errors import StoreUnusable
from worker.states import AccountState
from worker.store.comparison import RESTORED
from worker.store.store import open_store
from worker.store.witness_file import Witnessed, WitnessFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.crypto.sealing import Sealer
    from worker.store.records import Grant
    from worker.store.store import Store


def _rotate(store: Store, name: str = "acme", refresh: str | None = "rotated") -> Grant:
    grant = store.grants.read(store.accounts.get("arlo", name).id)
    store.grants.begin_refresh(grant, "process 1", NOW)
    return store.grants.complete_refresh(grant, tokens(refresh=refresh), NOW)


def _known(store: Store) -> Witnessed:
    (said,) = store.witness.file.read().accounts.values()
    return said


def _reopened(store: Store, sealer: Sealer, folder: Path) -> Store:
    store.close()
    return open_store(store.database.url.render_as_string(hide_password=False), folder, sealer, NOW)


def test_witness_knows_a_refresh_and_whether_it_rotated(store: Store) -> None:
    """Two generations: the grant's, and the refresh token's own."""
    enrol(store)
    _rotate(store)
    _rotate(store, refresh=None)
    said = _known(store)
    assert (said.generation, said.refresh_token_generation, said.phase) == (3, 2, "kept")


def test_witness_knows_of_a_token_before_it_is_sent(store: Store) -> None:
    """Said when the intent is committed."""
    grant = enrol(store)
    store.grants.begin_refresh(grant, "process 1", NOW)
    assert _known(store).phase == "sent"


def test_witness_holds_no_secret(store: Store) -> None:
    """It may lie anywhere."""
    enrol(store)
    _rotate(store, refresh="a-refresh-token")
    assert b"token" not in store.witness.file.path.read_bytes().replace(b"refresh_token_generation", b"")
    assert store.witness.file.path.stat().st_mode & 0o777 == 0o600


def test_refresh_is_not_begun_while_the_witness_cannot_be_written(store: Store) -> None:
    """Nothing is sent, and no intent casts doubt on the generation."""
    grant = enrol(store)
    store.witness.file.path.unlink()
    store.witness.file.path.mkdir()
    with pytest.raises(StoreUnusable, match="witness"):
        store.grants.begin_refresh(grant, "process 1", NOW)
    assert store.grants.open_intents() == []


def test_tokens_in_hand_are_stored_although_the_witness_cannot_be_written(
    store: Store, sealer: Sealer, tmp_path: Path
) -> None:
    """They are worth more than a second opinion about them; the next opening makes up for it."""
    grant = enrol(store)
    store.grants.begin_refresh(grant, "process 1", NOW)
    store.witness.file.path.rename(tmp_path / "witness")
    store.witness.file.path.mkdir()
    store.grants.complete_refresh(grant, tokens(), NOW)
    store.witness.file.path.rmdir()
    (tmp_path / "witness").rename(store.witness.file.path)
    again = _reopened(store, sealer, tmp_path / "state")
    assert again.accounts.get("arlo", "acme").state is AccountState.ACTIVE
    assert _known(again).generation == 2
    again.close()


def test_torn_and_damaged_lines_spoil_nothing_else(tmp_path: Path) -> None:
    """A power loss in the middle of a line, and a bad sector."""
    file = WitnessFile(tmp_path / "witness")
    first, second = (Witnessed(uid, f"arlo/{uid}", 3, 2, "kept") for uid in "ab")
    file.append([first], "mark-1")
    with file.path.open("ab") as torn:
        torn.write(b'\n00000000 {"uid":"a","generation":9')
    file.append([second], "mark-2")
    known = file.read()
    assert known.accounts == {"a": first, "b": second}
    assert (known.mark, file.last_mark()) == ("mark-2", "mark-2")


def test_witness_is_compacted_to_what_counts(tmp_path: Path) -> None:
    """Years of refreshes: one line an account is left, and the last mark."""
    file = WitnessFile(tmp_path / "witness")
    for start in range(0, 12_000, 1000):
        file.append([Witnessed("a", "arlo/a", number, number, "kept") for number in range(start, start + 1000)])
    file.append([Witnessed("a", "arlo/a", 12_000, 12_000, "writing")], "the-mark")
    before = file.path.stat().st_size
    file.compact()
    assert file.path.stat().st_size < before / 1000
    assert file.read().accounts["a"].generation == 12_000
    assert file.last_mark() == "the-mark"
    assert [path.name for path in tmp_path.iterdir()] == ["witness"]


def test_compaction_does_not_revive_what_a_crash_left_of_an_earlier_one(tmp_path: Path) -> None:
    """In a container every process has the same number, and so the same name for the file it writes."""
    file = WitnessFile(tmp_path / "witness")
    left = WitnessFile(tmp_path / f".witness.{os.getpid()}")
    left.append([Witnessed(str(number), "arlo/old", 1, 1, "sent") for number in range(100)], "an-old-mark")
    now = [Witnessed("7", "arlo/now", number, number, "kept") for number in range(12_000)]
    file.append(now, "the-mark")
    file.compact()
    assert (file.read().accounts, file.last_mark()) == ({"7": now[-1]}, "the-mark")


def test_missing_folder_of_the_witness_is_not_made(tmp_path: Path) -> None:
    """Its disk is not mounted: a new witness in the mount point would know nothing."""
    with pytest.raises(StoreUnusable, match="is missing"):
        WitnessFile(tmp_path / "disk" / "witness").append([], "mark")


def test_witness_of_another_account_of_that_name_is_not_believed(store: Store, sealer: Sealer, tmp_path: Path) -> None:
    """Another database's witness: accounts are known by their random number, not by name."""
    enrol(store)
    _rotate(store)
    foreign = _known(store)
    store.witness.file.path.unlink()
    store.witness.file.append([Witnessed("other", foreign.label, 99, 99, "kept")], "foreign")
    again = _reopened(store, sealer, tmp_path / "state")
    assert again.accounts.get("arlo", "acme").state is AccountState.ACTIVE
    assert again.restored is None
    again.close()


def test_missing_witness_is_told_and_made_anew(
    store: Store, sealer: Sealer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once: the new one knows everything that the database does."""
    enrol(store)
    _rotate(store)
    store.witness.file.path.unlink()
    with caplog.at_level(logging.WARNING):
        again = _reopened(store, sealer, tmp_path / "state")
        again = _reopened(again, sealer, tmp_path / "state")
    assert [record.getMessage()[:23] for record in caplog.records] == ["the witness is missing;"]
    assert _known(again).generation == 2
    again.close()


def _old_copy(store: Store, sealer: Sealer, tmp_path: Path, change: Callable[[Store], object]) -> Store:
    """Copy the database file by hand, change the store, and put the copy back."""
    path = store.database.path
    shutil.copy(path, tmp_path / "copy.db")
    change(store)
    store.close()
    path.unlink()
    shutil.copy(tmp_path / "copy.db", path)
    return open_store(f"sqlite:///{path}", tmp_path / "state", sealer, NOW)


def test_old_copy_put_back_by_hand_is_recognised(
    sqlite_store: Store, sealer: Sealer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same marks as after a restore, and loud."""
    enrol(sqlite_store)
    again = _old_copy(sqlite_store, sealer, tmp_path, _rotate)
    account = again.accounts.get("arlo", "acme")
    assert (account.state, account.cause) == (AccountState.NEEDS_CONSENT, RESTORED)
    assert account.reason.startswith("the copy of the database that was put in its place holds refresh token")
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)
    again.close()


def test_old_copy_with_a_refresh_under_way_is_recognised(sqlite_store: Store, sealer: Sealer, tmp_path: Path) -> None:
    """It looks like a crash before the commit; the witness knows that the commit was made."""
    grant = enrol(sqlite_store)
    sqlite_store.grants.begin_refresh(grant, "process 1", NOW)
    again = _old_copy(sqlite_store, sealer, tmp_path, lambda store: store.grants.complete_refresh(grant, tokens(), NOW))
    assert again.accounts.get("arlo", "acme").cause == RESTORED
    again.close()


def test_crash_between_witness_and_commit_is_the_ordinary_doubt(store: Store, sealer: Sealer, tmp_path: Path) -> None:
    """The witness is one ahead, unconfirmed, and the database still has the intent: no old copy."""
    grant = enrol(store)
    store.grants.begin_refresh(grant, "process 1", NOW)
    said = _known(store)
    store.witness.file.append(
        [Witnessed(said.uid, said.label, said.generation + 1, said.generation + 1, "writing")], "never-committed"
    )
    again = _reopened(store, sealer, tmp_path / "state")
    assert again.restored is None
    assert again.accounts.get("arlo", "acme").state is AccountState.ACTIVE
    assert again.grants.open_intents() == [grant.account.id]
    assert again.grants.read_refresh_token(again.grants.read(grant.account.id)).reveal() == "first-refresh-token"
    again.close()


def test_crash_between_witness_and_commit_of_a_consent_changes_nothing(
    store: Store, sealer: Sealer, tmp_path: Path
) -> None:
    """The old grant goes on; that consent never came to be."""
    grant = enrol(store)
    said = _known(store)
    store.witness.file.append(
        [Witnessed(said.uid, said.label, said.generation + 1, said.generation + 1, "consenting")], "never-committed"
    )
    again = _reopened(store, sealer, tmp_path / "state")
    assert again.restored is None
    assert again.accounts.get("arlo", "acme").state is AccountState.ACTIVE
    assert again.grants.read_refresh_token(again.grants.read(grant.account.id))
    again.close()


def test_process_killed_with_the_token_on_its_way_leaves_an_agreeing_witness(
    store: Store, sealer: Sealer, tmp_path: Path, spawn: Callable[..., Process]
) -> None:
    """The most usual crash of all must not look like an old copy."""
    enrol(store)
    process = spawn("begin-refresh", store, "acme")
    assert process.line() == "begun"
    process.kill()
    again = _reopened(store, sealer, tmp_path / "state")
    assert again.restored is None
    assert _known(again).phase == "sent"
    again.close()


def test_store_upgraded_from_before_the_witness_gets_one_silently(
    store: Store, sealer: Sealer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is missing that was ever there. Its tokens count as replaced every time: the cautious reading."""
    from sqlalchemy import text

    enrol(store)
    _rotate(store)
    with store.database.write() as session:
        session.execute(text("UPDATE lineage SET mark = ''"))
        session.execute(text("UPDATE grant_ SET refresh_token_generation = NULL"))
    store.witness.file.path.unlink()
    again = _reopened(store, sealer, tmp_path / "state")
    assert caplog.records == []
    assert _known(again).refresh_token_generation == 2
    again.close()
