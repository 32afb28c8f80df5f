"""A sealer that outlives a rotation: it takes up the new key by itself, and nothing but the new key."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from worker.crypto.keyring import Key, Keyring, create_keyring_file, new_key, parse_keyring, render_keyring
from worker.crypto.keyring_file import append_key
from worker.crypto.origin import COMMAND_PAUSE, KeyringOrigin
from worker.crypto.sealing import Binding, Sealer, key_id_of
from worker.errors import KeyUnusable, Misconfigured, TamperedSecret
from worker.redact import Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PLACE = Binding("grant", "a1", "refresh_token", 3)
_SECRET = Secret("a-refresh-token")
_K1, _K2 = new_key("k1"), new_key("k2")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A keyring file with k1."""
    path = tmp_path / "worker.key"
    create_keyring_file(path, [_K1])
    return path


@pytest.fixture
def sealer(file: Path) -> Sealer:
    """A process that has k1, and looks at the file."""

    def read() -> Keyring:
        if not file.exists():
            raise Misconfigured("keyring.file: it does not exist")
        return parse_keyring(file.read_text(), "file")

    return Sealer(read(), origin=KeyringOrigin(read, file))


def _write(file: Path, *keys: Key) -> None:
    file.write_text(render_keyring(keys))


def test_seals_with_a_key_that_was_added(sealer: Sealer, file: Path) -> None:
    """From the next value on."""
    append_key(file, _K2, lambda _step: None)
    assert key_id_of(sealer.seal(_SECRET, _PLACE)) == "k2"


def test_opens_what_another_process_has_sealed_with_a_new_key(sealer: Sealer, file: Path) -> None:
    """Without having sealed anything itself."""
    append_key(file, _K2, lambda _step: None)
    assert sealer.open(Sealer(Keyring((_K1, _K2))).seal(_SECRET, _PLACE), _PLACE) == _SECRET


def test_unchanged_file_is_not_read_again(file: Path) -> None:
    """A value of a key that nobody has must not cost a reading each time."""
    readings = []

    def read() -> Keyring:
        readings.append(1)
        return Keyring((_K1,))

    sealer = Sealer(Keyring((_K1,)), origin=KeyringOrigin(read, file))
    for _ in range(5):
        with pytest.raises(KeyUnusable):
            sealer.open(Sealer(Keyring((_K2,))).seal(_SECRET, _PLACE), _PLACE)
    assert readings == []


def test_key_that_is_taken_away_opens_to_the_end(sealer: Sealer, file: Path) -> None:
    """Whoever takes a line out too early does no harm to a refresh that is under way."""
    sealed = sealer.seal(_SECRET, _PLACE)
    _write(file, _K1, _K2)
    sealer.look()
    _write(file, _K2)
    sealer.look()
    assert ([key.id for key in sealer.keyring.keys], sealer.open(sealed, _PLACE)) == (["k2"], _SECRET)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_text("k1 cut-off"),
        lambda file: file.unlink(),
        lambda file: _write(file, new_key("k1")),
        lambda file: _write(file, new_key("k1"), _K2),
        lambda file: _write(file, new_key("k9")),
    ],
    ids=["faulty", "deleted", "other bytes", "other bytes and a new key", "another store's"],
)
def test_keyring_that_cannot_be_ours_is_told_once_and_not_used(
    sealer: Sealer, file: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Sealing goes on with the key in hand: it may be the only copy of a token."""
    spoil(file)
    with caplog.at_level(logging.ERROR):
        sealed = [sealer.seal(_SECRET, _PLACE) for _ in range(3)]
    assert {key_id_of(one) for one in sealed} == {"k1"}
    assert [record.message for record in caplog.records] == [
        "the keyring has changed and cannot be used; the old one goes on"
    ]


def test_fault_in_a_keyring_does_not_repeat_a_key(sealer: Sealer, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not even a cut one."""
    material = _K2.material.reveal()
    file.write_text(f"k2 {material[:40]}")
    sealer.look()
    assert [material[:40] in str(vars(record)) for record in caplog.records] == [False]


def test_keyring_of_new_keys_alone_is_taken_up_when_a_value_proves_it(sealer: Sealer, file: Path) -> None:
    """Rotated and retired while this process slept."""
    _write(file, _K2)
    assert sealer.open(Sealer(Keyring((_K2,))).seal(_SECRET, _PLACE), _PLACE) == _SECRET
    assert key_id_of(sealer.seal(_SECRET, _PLACE)) == "k2"


def test_keyring_of_new_keys_alone_is_refused_when_the_value_disproves_it(sealer: Sealer, file: Path) -> None:
    """Another k2 than the one that sealed it."""
    _write(file, new_key("k2"))
    with pytest.raises(KeyUnusable, match='"k2", which is not on the keyring'):
        sealer.open(Sealer(Keyring((_K2,))).seal(_SECRET, _PLACE), _PLACE)
    assert key_id_of(sealer.seal(_SECRET, _PLACE)) == "k1"


def test_change_is_told_to_who_wants_to_know(sealer: Sealer, file: Path) -> None:
    """The daemon leaves a note of its keys."""
    told: list[list[str]] = []
    sealer.on_change = lambda ring: told.append([key.id for key in ring.keys])
    append_key(file, _K2, lambda _step: None)
    sealer.look()
    sealer.look()
    assert told == [["k1", "k2"]]


class _Command:
    """A keyring command, on a clock of its own."""

    def __init__(self) -> None:
        self.keys: tuple[Key, ...] = (_K1,)
        self.runs = 0
        self.now = 0.0

    def read(self) -> Keyring:
        self.runs += 1
        if not self.keys:
            raise Misconfigured("keyring.command: failed with exit code 1")
        return Keyring(self.keys)

    def sealer(self) -> Sealer:
        return Sealer(Keyring(self.keys), origin=KeyringOrigin(self.read, None, lambda: self.now))


def test_command_is_run_again_for_a_missing_key_once_a_minute() -> None:
    """It may ask a server, or a person."""
    command = _Command()
    sealer, sealed = command.sealer(), Sealer(Keyring((_K2,))).seal(_SECRET, _PLACE)
    for now in (1.0, COMMAND_PAUSE, COMMAND_PAUSE + 1, COMMAND_PAUSE + 2, 2 * COMMAND_PAUSE + 1):
        command.now = now
        with pytest.raises(KeyUnusable):
            sealer.open(sealed, _PLACE)
    assert command.runs == 2


def test_command_with_the_new_key_opens_the_value() -> None:
    """And the new key seals from then on."""
    command = _Command()
    sealer, sealed = command.sealer(), Sealer(Keyring((_K2,))).seal(_SECRET, _PLACE)
    command.keys, command.now = (_K1, _K2), COMMAND_PAUSE
    assert sealer.open(sealed, _PLACE) == _SECRET
    assert key_id_of(sealer.seal(_SECRET, _PLACE)) == "k2"


def test_command_is_not_run_for_sealing() -> None:
    """A value is sealed in the middle of a transaction."""
    command = _Command()
    sealer = command.sealer()
    command.now = 10 * COMMAND_PAUSE
    sealer.seal(_SECRET, _PLACE)
    assert command.runs == 0


def test_command_that_fails_leaves_the_keys_in_hand() -> None:
    """The value's own trouble is told, not the command's."""
    command = _Command()
    sealer, ours = command.sealer(), Sealer(Keyring((_K1,))).seal(_SECRET, _PLACE)
    command.keys, command.now = (), COMMAND_PAUSE
    with pytest.raises(KeyUnusable, match="not on the keyring"):
        sealer.open(Sealer(Keyring((_K2,))).seal(_SECRET, _PLACE), _PLACE)
    assert sealer.open(ours, _PLACE) == _SECRET


def test_reread_runs_a_command_at_once() -> None:
    """SIGHUP, or a rotation: somebody has asked."""
    command = _Command()
    sealer = command.sealer()
    command.keys = (_K1, _K2)
    sealer.reread()
    assert key_id_of(sealer.seal(_SECRET, _PLACE)) == "k2"


def test_value_with_an_impossible_key_id_is_no_sealed_value(sealer: Sealer) -> None:
    """What stands there may be written by anybody: it is not repeated to a terminal."""
    with pytest.raises(TamperedSecret, match="no sealed value") as caught:
        sealer.open(b"\x01\x05\x1b[31m" + bytes(40), _PLACE)
    assert "\x1b" not in caught.value.message
