"""Rotating the key: online, resumable after SIGKILL at every step, beside refreshes, with nothing lost."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rotation_process import make_sealer, next_tokens
from sqlalchemy import LargeBinary, text
from sqlmodel import SQLModel
from store_helpers import NOW, enrol

from worker.crypto.keyring import Keyring, create_keyring_file, new_key, parse_keyring
from worker.crypto.keys_in_use import write_keys_in_use
from worker.crypto.sealing import Binding, Sealer
from worker.errors import Busy, KeyUnusable, TryAgainLater, UsageFault
from worker.redact import Secret
from worker.store.key_standing import key_standings
from worker.store.locks import account_lock, process_note
from worker.store.retirement import Retirement
from worker.store.rotation import Rotated, Rotation
from worker.store.sealed_values import GRANT_COLUMNS, count_by_key, find_unopened
from worker.store.secrets import secret_binding
from worker.store.store import Store, open_store
from worker.store.tables import ClientSecretRow

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROCESS = Path(__file__).with_name("rotation_process.py")
_NAMES = [f"a{number}" for number in range(12)]
_VALUES = 3 * len(_NAMES) + 2
_NOWHERE = Binding("client secret", "nowhere/x", "value", 1)
_STEPS = [
    "lock held 1",
    "keyring written 1",
    "keyring synced 1",
    "keyring renamed 1",
    "keyring folder synced 1",
    "key registered 1",
    "daemon knows 1",
    "secrets sealed 1",
    "secrets stored 1",
    "batch sealed 1",
    "batch stored 1",
    "batch sealed 2",
    "batch stored 3",
    "old keys marked 1",
]


@dataclass
class House:
    """A store with accounts and client secrets, a keyring file, and processes on both."""

    folder: Path
    url: str
    file: Path
    store: Store
    sealer: Sealer

    @property
    def ids(self) -> list[str]:
        """The keys on the keyring."""
        return [key.id for key in parse_keyring(self.file.read_text(), "file").keys]

    def rotation(self, **changes: Any) -> Rotation:
        """A rotation in this process."""
        settings: dict[str, Any] = {"step": lambda _step: None, "ring": lambda: False, "file": self.file} | changes
        return Rotation(
            self.store, self.sealer, settings["file"], "the file", self.folder, settings["ring"], settings["step"], 5
        )

    def rotate(self, **changes: Any) -> Rotated:
        """Rotate in this process."""
        return self.rotation(**changes).run(NOW)

    def process(self, command: str, *words: str) -> subprocess.Popen[str]:
        """Start a process."""
        line = [sys.executable, str(_PROCESS), command, self.url, str(self.folder), str(self.file), *words]
        return subprocess.Popen(line, stdout=subprocess.PIPE, text=True)

    def rotate_elsewhere(self, stop: str = "never") -> int:
        """Rotate in a process of its own, killed at a step; its exit code."""
        process = self.process("rotate", "5", stop)
        process.communicate(timeout=120)
        return process.returncode

    def sealing(self) -> dict[str | None, int]:
        """How many values each key seals."""
        with self.store.database.read() as session:
            return {key_id: count.total() for key_id, count in count_by_key(session).items()}

    def unopened(self) -> list[str]:
        """What a process that starts now cannot open."""
        return [fault.message for fault in find_unopened(self.store.database, make_sealer(self.file))[1]]

    def wrong_tokens(self) -> list[str]:
        """Accounts whose refresh token is not the one of their generation."""
        found = []
        for account in self.store.accounts.list():
            grant = self.store.grants.read(account.id)
            if self.store.grants.read_refresh_token(grant).reveal() != f"rt-{account.name}-{grant.generation}":
                found.append(account.name)
        return found


@pytest.fixture
def house(migrated_url: str, tmp_path: Path) -> Iterator[House]:
    """Twelve accounts with three values each, and two client secrets, sealed with k1."""
    file = tmp_path / "worker.key"
    create_keyring_file(file, [new_key("k1")])
    sealer = make_sealer(file)
    store = open_store(migrated_url, tmp_path / "state", sealer, NOW)
    for name in _NAMES:
        enrol(store, name, tokens=next_tokens(name, 1))
    for name in ("arlo", "other"):
        store.secrets.set(name, "client_secret", Secret(f"secret of {name}"), NOW)
    yield House(tmp_path / "state", migrated_url, file, store, sealer)
    store.close()


def test_rotation_knows_every_sealed_column() -> None:
    """A table that comes later must not be forgotten: its values would be lost with the old key."""
    sealed = {
        f"{table.name}.{column.name}"
        for table in SQLModel.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    known = {f"grant_.sealed_{kind}" for kind in GRANT_COLUMNS} | {"client_secret.sealed_value"}
    assert sealed == known | {"key_check.sealed_check"}


def test_rotation_seals_everything_anew(house: House) -> None:
    """And says how much."""
    rotated = house.rotate()
    assert (rotated.added, rotated.values, rotated.unopened, rotated.unused) == ("k2", _VALUES, (), ("k1",))
    assert (house.sealing(), house.unopened(), house.wrong_tokens()) == ({"k2": _VALUES}, [], [])


def test_rotation_changes_no_generation(house: House) -> None:
    """Whoever holds a grant in memory goes on with it."""
    before = [house.store.grants.read(account.id) for account in house.store.accounts.list()]
    house.rotate()
    assert [house.store.grants.read(account.id) for account in house.store.accounts.list()] == before


def test_second_rotation_adds_another_key(house: House) -> None:
    """When the first one is finished."""
    assert [house.rotate().added for _ in range(2)] == ["k2", "k3"]
    assert (house.ids, house.sealing()) == (["k1", "k2", "k3"], {"k3": _VALUES})


def test_rotation_with_nothing_sealed_just_adds_a_key(house: House) -> None:
    """A new store."""
    for account in house.store.accounts.list():
        house.store.accounts.remove(account)
    house.store.secrets.remove("arlo", "client_secret")
    house.store.secrets.remove("other", "client_secret")
    assert (house.rotate().values, house.ids) == (0, ["k1", "k2"])


@pytest.mark.parametrize("stop", _STEPS)
def test_rotation_killed_at_a_step_loses_nothing_and_goes_on(house: House, stop: str) -> None:
    """SIGKILL there: everything opens at once, and the next call finishes without one more key."""
    assert house.rotate_elsewhere(stop) == -9
    assert house.unopened() == []
    assert house.rotate_elsewhere() == 0
    again = ["k3"] if stop.startswith("old keys marked") else []
    assert (house.ids, house.sealing()) == (["k1", "k2", *again], {(again or ["k2"])[0]: _VALUES})
    assert (house.unopened(), list(house.file.parent.glob(".worker.key*"))) == ([], [])


def test_rotation_goes_on_with_a_key_that_the_operator_added(house: House) -> None:
    """Where the keyring is not ours to write, this is the way."""
    with house.file.open("a") as file:
        file.write(f"mine {new_key('mine').material.reveal()}\n")
    rotated = house.rotate(file=None)
    assert (rotated.added, house.sealing()) == (None, {"mine": _VALUES})


def test_rotation_of_a_keyring_that_is_not_ours_says_what_to_do(house: House) -> None:
    """With the id that is free; and nothing is done."""
    with pytest.raises(KeyUnusable, match="which is not ours to write") as caught:
        house.rotate(file=None)
    assert ("worker keys new FILE --id k2" in caught.value.hint, house.sealing()) == (True, {"k1": _VALUES})


def test_rotation_by_name_can_be_repeated(house: House) -> None:
    """A script that gives the name goes on with that key, too."""
    assert [house.rotation().run(NOW, key_id="spring").added for _ in range(2)] == ["spring", None]
    assert house.ids == ["k1", "spring"]


def test_rotation_to_an_older_key_is_refused(house: House) -> None:
    """Keys go one way."""
    house.rotate()
    with pytest.raises(KeyUnusable, match='key "k1" is on the keyring, but is not its newest'):
        house.rotation().run(NOW, key_id="k1")


def test_one_more_key_on_request(house: House) -> None:
    """Although the last rotation is not finished."""
    house.rotate_elsewhere("batch stored 1")
    assert (house.rotation().run(NOW, more=True).added, house.ids) == ("k3", ["k1", "k2", "k3"])
    assert house.sealing() == {"k3": _VALUES}


def test_two_rotations_exclude_each_other(house: House) -> None:
    """The second names the first."""
    with house.store.locks.hold("key rotation", note="the first one"), pytest.raises(Busy, match="the first one"):
        house.rotate()


def test_key_id_of_a_retired_key_is_never_given_again(house: House) -> None:
    """Old backups still name it."""
    house.rotate()
    _retirement(house).run("k1", NOW)
    assert (house.rotate().added, house.ids) == ("k3", ["k2", "k3"])


def test_value_that_does_not_open_is_named_and_does_not_stop_the_others(house: House) -> None:
    """One row that was tampered with; its key stays needed."""
    with house.store.database.write() as session:
        session.execute(
            text("UPDATE client_secret SET sealed_value = (SELECT sealed_refresh_token FROM grant_ LIMIT 1)")
        )
    rotated = house.rotate()
    assert sorted(fault.owner for fault in rotated.unopened) == ["arlo", "other"]
    assert (house.sealing(), rotated.unused) == ({"k1": 2, "k2": 3 * len(_NAMES)}, ())


def test_value_of_a_lost_key_is_named_and_does_not_stop_the_others(house: House) -> None:
    """Nor does it keep a new key from being added."""
    stranger = Sealer(Keyring((new_key("lost"),)))
    with house.store.database.write() as session:
        session.execute(
            text("UPDATE client_secret SET sealed_value = :value"), {"value": stranger.seal(Secret("x"), _NOWHERE)}
        )
    rotated = house.rotate()
    assert ([fault.key_missing for fault in rotated.unopened], rotated.added) == ([True, True], "k2")


def test_process_that_began_before_seals_with_the_new_key(house: House) -> None:
    """It looks at the keyring file; nothing had to be told to it."""
    daemon = make_sealer(house.file)
    theirs = open_store(house.url, house.folder, daemon, NOW)
    house.rotate()
    theirs.secrets.set("third", "client_secret", Secret("x"), NOW)
    grant = theirs.grants.read(theirs.accounts.get("arlo", "a0").id)
    theirs.close()
    assert (house.sealing(), grant.access_token) == ({"k2": _VALUES + 1}, Secret("at-a0-1"))


def test_daemon_that_follows_is_waited_for(house: House) -> None:
    """Told, it says that it has the key; only then is anything sealed anew."""
    note = f"the daemon, {process_note()}"
    write_keys_in_use(house.folder, ["k1"], follows=True)

    def ring() -> bool:
        assert house.sealing() == {"k1": _VALUES}
        write_keys_in_use(house.folder, house.ids, follows=True)
        return True

    with house.store.locks.hold("daemon", note=note):
        assert house.rotate(ring=ring).values == _VALUES


def test_daemon_whose_keyring_is_fixed_has_to_be_started_again_first(house: House) -> None:
    """It could not open the new values. The key is there already, for its next start."""
    write_keys_in_use(house.folder, ["k1"], follows=False)
    note = f"the daemon, {process_note()}"
    with house.store.locks.hold("daemon", note=note), pytest.raises(TryAgainLater, match='does not know key "k2" yet'):
        house.rotate()
    assert (house.ids, house.sealing()) == (["k1", "k2"], {"k1": _VALUES})
    assert house.rotate().added is None


def test_daemon_that_listens_is_heard_out(house: House) -> None:
    """It answers the bell, so it is here; what keys it has is not guessed from another one's note, or from none."""
    threads: list[threading.Timer] = []

    def ring() -> bool:
        threads.append(threading.Timer(0.3, write_keys_in_use, (house.folder, ["k1"]), {"follows": False}))
        threads[0].start()
        return True

    note = f"the daemon, {process_note()}"
    with house.store.locks.hold("daemon", note=note), pytest.raises(TryAgainLater, match='does not know key "k2" yet'):
        house.rotate(ring=ring)
    threads[0].join()
    assert house.sealing() == {"k1": _VALUES}


def test_daemon_elsewhere_is_not_asked(house: House) -> None:
    """It does not hear this machine's bell, and reads its own keyring."""
    with house.store.locks.hold("daemon", note="the daemon, process 1 on elsewhere"):
        assert house.rotate().values == _VALUES


def test_note_of_a_daemon_that_is_gone_is_not_believed(house: House) -> None:
    """It ended, or crashed."""
    write_keys_in_use(house.folder, ["k1"], follows=False)
    assert house.rotate().values == _VALUES


def _retirement(house: House) -> Retirement:
    return Retirement(house.store, house.sealer, house.file, "the file", house.folder, lambda: None)


def test_key_that_still_seals_is_not_retired(house: House) -> None:
    """A rotation that was stopped."""
    house.rotate_elsewhere("batch stored 1")
    with pytest.raises(KeyUnusable, match=r'key "k1" still seals \d+ values'):
        _retirement(house).run("k1", NOW)
    assert house.ids == ["k1", "k2"]


@pytest.mark.parametrize("key_id", ["k2", "k7"])
def test_key_that_seals_and_key_that_is_not_there_are_not_retired(house: House, key_id: str) -> None:
    """The command line is off."""
    house.rotate()
    with pytest.raises(UsageFault):
        _retirement(house).run(key_id, NOW)


def test_retired_key_is_no_nuisance(house: House) -> None:
    """The store opens, everything opens, and the list says what became of it."""
    house.rotate()
    _retirement(house).run("k1", NOW)
    again = open_store(house.url, house.folder, make_sealer(house.file), NOW)
    standings = {standing.id: standing.note for standing in key_standings(again.database, make_sealer(house.file))}
    again.close()
    assert (house.unopened(), standings) == ([], {"k1": "retired", "k2": ""})


def test_standings_tell_each_key(house: House) -> None:
    """In the middle of a rotation: what each one seals, by kind."""
    house.rotate_elsewhere("batch stored 1")
    old, new = key_standings(house.store.database, make_sealer(house.file))
    assert (old.id, old.seals, old.note, new.id, new.seals) == ("k1", False, "needed: worker keys rotate", "k2", True)
    assert (old.values + new.values, dict(new.counts)) == (
        _VALUES,
        {"refresh_token": 5, "access_token": 5, "identity": 5, "client_secret": 2},
    )


def test_standings_without_a_keyring_tell_what_is_missing(house: House) -> None:
    """When it matters most."""
    (standing,) = key_standings(house.store.database, None)
    assert (standing.id, standing.values, standing.note) == ("k1", _VALUES, "missing: put it back")


def test_standings_tell_a_key_that_only_bears_the_name(house: House) -> None:
    """Not ours."""
    (standing,) = key_standings(house.store.database, Sealer(Keyring((new_key("k1"),))))
    assert (standing.genuine, standing.note) == (False, "another key of that name sealed this database")


def test_unused_key_names_the_backups_that_need_it(house: House) -> None:
    """Those from before the rotation ended."""
    house.rotate()
    (old, _) = key_standings(house.store.database, house.sealer)
    assert old.note == "may be retired; backups from before 2026-01-01T00:00:00.000Z need it"


def test_rotations_killed_beside_refreshes_lose_no_update(house: House) -> None:
    """Two processes refresh without a pause; the rotation is killed again and again, and finishes in the end.

    Every acknowledged generation is there, with its own token, and opens.
    """
    beside = [house.process("refresh", *names) for names in (_NAMES[:6], _NAMES[6:])]
    try:
        for process in beside:
            assert process.stdout is not None
            process.stdout.readline()
        dice = random.Random(3)
        killed = [house.rotate_elsewhere(dice.choice(_STEPS[3:13])) for _ in range(4)]
        finished = house.rotate_elsewhere()
        alive = [process.poll() for process in beside]
    finally:
        for process in beside:
            process.kill()
    acknowledged = [line.split() for process in beside for line in process.communicate()[0].splitlines()]
    latest = {words[0]: int(words[1]) for words in acknowledged if len(words) == 2 and words[1].isdigit()}
    stored = {account.name: house.store.grants.look(account.id).generation for account in house.store.accounts.list()}
    assert (killed.count(-9) > 0, finished, alive) == (True, 0, [None, None])
    assert [name for name in latest if stored[name] < latest[name]] == []
    assert (set(latest), house.wrong_tokens(), house.unopened()) == (set(_NAMES), [], [])
    assert set(house.sealing()) == {house.ids[-1]}


def test_refresh_under_way_is_not_overwritten(house: House) -> None:
    """Begun before the rotation, completed after it: the new generation stands."""
    account = house.store.accounts.get("arlo", "a3")
    with house.store.locks.hold(account_lock(account.id)):
        grant = house.store.grants.read(account.id)
        house.store.grants.begin_refresh(grant, "me", NOW)
        house.rotate()
        house.store.grants.complete_refresh(grant, next_tokens("a3", 2), NOW)
    assert (house.wrong_tokens(), house.sealing(), house.unopened()) == ([], {"k2": _VALUES}, [])


@pytest.mark.parametrize("kind", ["postgresql"])
def test_transaction_that_had_sealed_before_is_waited_for(house: House) -> None:
    """Its row shows only when it commits, and would be left behind. On SQLite writers take turns anyway."""
    old = Sealer(house.sealer.keyring)
    begun, waiting, sealing = threading.Event(), threading.Event(), threading.Event()
    overtaken: list[bool] = []

    def insert() -> None:
        with house.store.database.write() as session:
            sealed = old.seal(Secret("x"), secret_binding("late", "client_secret", 1))
            session.add(ClientSecretRow(integration="late", name="client_secret", sealed_value=sealed, updated_at=NOW))
            session.flush()
            begun.set()
            waiting.wait(60)
            overtaken.append(sealing.wait(1.0))

    def step(name: str) -> None:
        if name == "daemon knows":
            waiting.set()
        if name == "secrets sealed":
            sealing.set()

    other = threading.Thread(target=insert)
    other.start()
    begun.wait(60)
    rotated = house.rotate(step=step)
    other.join()
    assert (overtaken, rotated.values, house.sealing()) == ([False], _VALUES + 1, {"k2": _VALUES + 1})
