"""A restore that is killed: the old store or the new one, never neither, and no spent token comes alive."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from store_helpers import NOW, enrol, tokens

from worker.errors import NeedsConsent
from worker.states import AccountState
from worker.store.backup import back_up
from worker.store.comparison import RESTORED
from worker.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store_helpers import Process

    from worker.crypto.sealing import Sealer
    from worker.store.store import Store

#: Places at which it is killed, spread evenly over all steps.
_KILLS = 8


@pytest.fixture
def used_backup(store: Store, tmp_path: Path, sealer: Sealer) -> Path:
    """A backup, after which the account was refreshed twice and the store closed."""
    enrol(store)
    back_up(store.database, sealer, tmp_path / "backup.db", NOW)
    for number in range(2):
        grant = store.grants.read(store.accounts.get("arlo", "acme").id)
        store.grants.begin_refresh(grant, "process 1", NOW)
        store.grants.complete_refresh(grant, tokens(refresh=f"rotated-{number}"), NOW)
    store.close()
    return tmp_path / "backup.db"


def test_killed_restore_leaves_the_old_store_or_the_new_one(
    store: Store, used_backup: Path, tmp_path: Path, sealer: Sealer, spawn: Callable[..., Process]
) -> None:
    """Killed at steps from the first to the last. Each time the next process opens the store and finds the truth."""
    folder, aside = tmp_path / "state", tmp_path / "aside"
    shutil.copytree(folder, aside)
    counting = spawn("restore", store, str(used_backup), "0")
    steps = int(counting.line())
    found = set()
    for kill in {*range(1, steps + 1, max(steps // _KILLS, 1)), steps}:
        _reset(store, folder, aside, used_backup, sealer)
        killed = spawn("restore", store, str(used_backup), str(kill))
        assert killed.end() == -9, kill
        found.add(_outcome(store, folder, sealer))
    assert found == {"old", "new"}


def _reset(store: Store, folder: Path, aside: Path, backup: Path, sealer: Sealer) -> None:
    """The store as it was before: its file and witness; on a server, its rows, with the witness of then."""
    if store.database.is_sqlite:
        shutil.rmtree(folder)
        shutil.copytree(aside, folder)
        return
    opened = open_store(store.database.url.render_as_string(hide_password=False), folder, sealer, NOW)
    account = opened.accounts.get("arlo", "acme")
    if account.state is not AccountState.ACTIVE:
        enrol(opened, tokens=tokens(refresh="rotated-1"))
    opened.close()


def _outcome(store: Store, folder: Path, sealer: Sealer) -> str:
    url = store.database.url.render_as_string(hide_password=False)
    opened = open_store(url, folder, sealer, NOW + 120)
    try:
        account = opened.accounts.get("arlo", "acme")
        grant = opened.grants.read(account.id)
        if account.state is AccountState.ACTIVE:
            assert opened.grants.read_refresh_token(grant).reveal() == "rotated-1"
            return "old"
        assert (account.state, account.cause) == (AccountState.NEEDS_CONSENT, RESTORED)
        with pytest.raises(NeedsConsent):
            opened.grants.read_refresh_token(grant)
        return "new"
    finally:
        opened.close()
