"""A backup goes into either kind of database, and what is replaced is replaced whole, whoever looks on."""

from __future__ import annotations

import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from restore_story import LATER, Story
from sqlalchemy import text
from store_helpers import DEAD, NOW, enrol, entry, schedule, tokens

from worker.errors import StoreUnusable, TryAgainLater
from worker.redact import Secret
from worker.states import AccountState, RunState
from worker.store.backup import back_up
from worker.store.database import Database
from worker.store.records import Finding, RunCounts
from worker.store.restore import Place, restore
from worker.store.restore_targets import ServerTarget
from worker.store.runs import RunEnd, RunFilter
from worker.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.crypto.sealing import Sealer
    from worker.store.comparison import Reconciled
    from worker.store.store import Store


@pytest.fixture
def other_place(kind: str, new_postgresql: Callable[..., str], tmp_path: Path, sealer: Sealer) -> Place:
    """An empty place for a store of the other kind, with the same witness: the same machine, moved."""
    state = tmp_path / "state"
    url = new_postgresql() if kind == "sqlite" else f"sqlite:///{tmp_path / 'moved' / 'worker.db'}"
    return Place(url, state, state / "witness", sealer)


def _fill(story: Story) -> None:
    """One of everything, with words that are spelt differently by the two."""
    good = enrol(story.store, "good", identity={"subject": "s1", "label": "Zoë ☂"})
    dead = enrol(story.store, "dead")
    story.store.grants.flag(dead, replace(DEAD, evidence={"status": 400, "nothing": None, "deep": [{"a": 0.1}]}), NOW)
    story.store.secrets.set("arlo", "client_secret", Secret("a client secret"), NOW)
    story.store.incidents.report("arlo", "down", Finding("down", "no answer"), NOW, remedy="wait", not_before=NOW)
    claim = story.store.schedule.claim(schedule(story.store, good), NOW, NOW + 60, "process 1", "schedule")
    assert claim is not None
    story.store.runs.finish(claim, RunEnd(RunState.SUCCEEDED, RunCounts(rows=7)), NOW + 1)


def _told(store: Store) -> dict[str, object]:
    """Everything that is remembered, as the repositories tell it."""
    accounts = store.accounts.list()
    grants = {account.name: store.grants.read(account.id) for account in accounts}
    secret = store.secrets.get("arlo", "client_secret")
    return {
        "accounts": accounts,
        "grants": grants,
        "refresh tokens": {name: store.grants.read_refresh_token(grant).reveal() for name, grant in grants.items()},
        "identities": {account.name: store.grants.read_identity(account.id) for account in accounts},
        "timelines": [store.timeline.of(account) for account in accounts],
        "secret": secret and secret.reveal(),
        "incident": store.incidents.find_open("arlo", "down"),
        "runs": store.runs.list(RunFilter()),
        "due": replace(entry(store, grants["good"]), fence=0),
    }


def test_backup_is_restored_into_the_other_kind_of_database(story: Story, other_place: Place) -> None:
    """From a file to a server and from a server to a file: nothing is lost on the way."""
    _fill(story)
    before = _told(story.store)
    story.back_up()
    story.store.close()
    report = restore(other_place, story.backup, LATER)
    story.place = other_place
    story.open()
    assert _told(story.store) == before
    assert (report.accounts, report.kept_aside, report.reconciled.lost) == (2, None, [])


def test_store_that_went_to_the_other_kind_and_back_is_what_it_was(
    story: Story, other_place: Place, tmp_path: Path
) -> None:
    """There, a backup, and here again: nothing was used meanwhile, so nothing is marked."""
    _fill(story)
    before = _told(story.store)
    here = story.place
    story.back_up()
    story.place = other_place
    story.restore()
    back_up(story.store.database, other_place.sealer, tmp_path / "back.db", NOW)
    story.store.close()
    story.place = here
    report = story.restore(tmp_path / "back.db")
    assert (_told(story.store), report.reconciled.marked) == (before, [])


def test_token_that_was_rotated_in_one_kind_is_spent_in_the_other(story: Story, other_place: Place) -> None:
    """The witness is about accounts, not about databases."""
    account = enrol(story.store).account
    story.back_up()
    story.refresh(account)
    story.store.close()
    story.place = other_place
    report = story.restore()
    assert [mark.after for mark in report.reconciled.marked] == [AccountState.NEEDS_CONSENT]
    assert enrol(story.store, "globex").account.id != account.id


@pytest.fixture
def server(new_postgresql: Callable[..., str], tmp_path: Path, sealer: Sealer) -> Story:
    """A story on a server, closed, with one backup of one account."""
    story = Story(new_postgresql(), tmp_path, sealer)
    enrol(story.store)
    story.back_up()
    enrol(story.store, "globex")
    story.store.close()
    return story


def _names(url: str) -> list[str]:
    other = Database(url)
    with other.read() as session:
        found = list(session.execute(text("SELECT name FROM account ORDER BY name")).scalars())
    other.close()
    return found


def test_server_shows_the_restored_rows_only_once_they_are_compared(server: Story, tmp_path: Path) -> None:
    """A command that connects in the middle must not find a spent token unmarked; and a fault leaves all as it was."""
    seen: list[str] = []

    def compare(_session: object) -> Reconciled:
        seen.extend(_names(server.place.url))
        raise StoreUnusable("the witness cannot be written")

    database = Database(server.place.url)
    target = ServerTarget(database, tmp_path / "state")
    with pytest.raises(StoreUnusable, match="witness"):
        target.replace(server.backup, compare)
    database.close()
    assert (seen, _names(server.place.url)) == (["acme", "globex"], ["acme", "globex"])


def test_daemon_on_a_machine_called_restore_is_noticed(server: Story, tmp_path: Path) -> None:
    """Who else is connected is told by who we are, not by a word in the other's name."""
    server.open()
    database = Database(server.place.url)
    with server.store.locks.hold("account-1", note="process 7 on restore-host"):
        server.store.database.close()
        with pytest.raises(StoreUnusable, match="in use"):
            ServerTarget(database, tmp_path / "state")
    database.close()


def test_restore_is_refused_while_the_witness_cannot_be_written(story: Story) -> None:
    """Found before anything is replaced."""
    account = enrol(story.store).account
    story.back_up()
    story.refresh(account)
    story.store.close()
    said = story.place.witness.read_bytes()
    story.place.witness.unlink()
    story.place.witness.mkdir()
    with pytest.raises(StoreUnusable, match="witness"):
        restore(story.place, story.backup, LATER)
    story.place.witness.rmdir()
    story.place.witness.write_bytes(said)
    story.open()
    assert story.store.grants.read_refresh_token(story.store.grants.read(account.id)).reveal() == "rotated-1"


@pytest.fixture
def full_witness(sqlite_store: Store, tmp_path: Path, sealer: Sealer, small_files: Callable[[int], None]) -> Place:
    """A backup, a rotation since, the store closed, and a witness whose disk is full."""
    account = enrol(sqlite_store).account
    back_up(sqlite_store.database, sealer, tmp_path / "backup.db", NOW)
    grant = sqlite_store.grants.read(account.id)
    sqlite_store.grants.begin_refresh(grant, "process 1", NOW)
    sqlite_store.grants.complete_refresh(grant, tokens(), NOW)
    sqlite_store.close()
    place = Place(f"sqlite:///{sqlite_store.database.path}", tmp_path / "state", tmp_path / "state" / "witness", sealer)
    with place.witness.open("ab") as file:
        file.write(b"\n" * 2_000_000)
    small_files(1_000_000)
    return place


def _state_after(place: Place, small_files: Callable[[int], None]) -> AccountState:
    """What the next process finds, once there is room."""
    small_files(resource.RLIM_INFINITY)
    store = open_store(place.url, place.state_folder, place.sealer, LATER)
    state = store.accounts.get("arlo", "acme").state
    store.close()
    return state


def test_restore_waits_until_the_witness_can_learn_what_the_database_knows(
    full_witness: Place, tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    """Nothing is replaced meanwhile."""
    with pytest.raises(TryAgainLater, match="witness"):
        restore(full_witness, tmp_path / "backup.db", LATER)
    assert _state_after(full_witness, small_files) is AccountState.ACTIVE


def test_restore_that_fails_after_the_replacement_says_so(
    full_witness: Place, tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    """The database was lost, so there was nothing to learn: the next opening finds out what is spent."""
    Path(full_witness.url.removeprefix("sqlite:///")).unlink()
    with pytest.raises(TryAgainLater, match="the backup is in the store's place") as caught:
        restore(full_witness, tmp_path / "backup.db", LATER)
    assert "free some space" in caught.value.hint
    assert _state_after(full_witness, small_files) is AccountState.NEEDS_CONSENT


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_restore_over_another_user_s_database_is_refused(sqlite_store: Store, tmp_path: Path, sealer: Sealer) -> None:
    """As root, say: the daemon could not open what would be put in its place."""
    path = sqlite_store.database.path
    back_up(sqlite_store.database, sealer, tmp_path / "backup.db", NOW)
    sqlite_store.close()
    os.chown(path, 65534, 65534)
    place = Place(f"sqlite:///{path}", tmp_path / "state", tmp_path / "state" / "witness", sealer)
    with pytest.raises(StoreUnusable, match="belongs to user 65534"):
        restore(place, tmp_path / "backup.db", LATER)
    assert path.stat().st_uid == 65534
