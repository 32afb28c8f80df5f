"""Changing a keyring file: whole before, whole after, and never a key less."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from worker.crypto.keyring import create_keyring_file, new_key, next_key_id, parse_keyring
from worker.crypto.keyring_file import append_key, remove_key
from worker.errors import Busy, KeyUnusable

if TYPE_CHECKING:
    from pathlib import Path

_STEPS = ["keyring written", "keyring synced", "keyring renamed", "keyring folder synced"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A keyring file with one key."""
    path = tmp_path / "worker.key"
    create_keyring_file(path, [new_key("k1")])
    return path


def _ids(path: Path) -> list[str]:
    return [key.id for key in parse_keyring(path.read_text(), "file").keys]


def _ignore(_step: str) -> None:
    pass


def test_append_makes_the_new_key_the_newest(file: Path) -> None:
    """Behind the old one, which stays what it was."""
    old = parse_keyring(file.read_text(), "file").newest.bytes()
    append_key(file, new_key("k2"), _ignore)
    ring = parse_keyring(file.read_text(), "file")
    assert ([key.id for key in ring.keys], ring.keys[0].bytes()) == (["k1", "k2"], old)


def test_append_keeps_what_the_operator_wrote(file: Path) -> None:
    """Comments, blank lines, and a last line without its end."""
    text = f"# mine\n\n{file.read_text()}# the end"
    file.write_text(text)
    append_key(file, new_key("k2"), _ignore)
    assert file.read_text().startswith(f"{text}\nk2 ")


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644])
def test_append_leaves_a_private_file(file: Path, mode: int) -> None:
    """Readable by its owner alone, whatever it was before."""
    file.chmod(mode)
    append_key(file, new_key("k2"), _ignore)
    assert stat.S_IMODE(file.stat().st_mode) == mode & 0o600


def test_append_changes_what_a_link_points_to(file: Path, tmp_path: Path) -> None:
    """The link stays a link."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.key"
    link.symlink_to(file)
    append_key(link, new_key("k2"), _ignore)
    assert (link.is_symlink(), _ids(file)) == (True, ["k1", "k2"])


def test_append_refuses_an_id_that_is_there(file: Path) -> None:
    """And changes nothing."""
    before = file.read_text()
    with pytest.raises(KeyUnusable, match='holds a key "k1" already'):
        append_key(file, new_key("k1"), _ignore)
    assert file.read_text() == before


def test_steps_are_told_in_their_order(file: Path) -> None:
    """Synced before it takes the name, and the folder after."""
    told: list[str] = []
    append_key(file, new_key("k2"), told.append)
    assert told == _STEPS


@pytest.mark.parametrize("last", _STEPS)
def test_file_is_whole_after_a_crash_at_any_step(file: Path, last: str) -> None:
    """A process that ends there leaves the old keyring or the new one; the next change clears up."""
    child = os.fork()
    if child == 0:
        append_key(file, new_key("k2"), lambda step: os._exit(7) if step == last else None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert _ids(file) == (["k1"] if last in _STEPS[:2] else ["k1", "k2"])
    append_key(file, new_key("k3"), _ignore)
    assert (_ids(file)[-1], [path.name for path in file.parent.iterdir()]) == ("k3", ["worker.key"])


def test_what_a_crash_leaves_behind_is_private(file: Path) -> None:
    """It holds keys."""
    child = os.fork()
    if child == 0:
        os.umask(0)
        append_key(file, new_key("k2"), lambda _step: os._exit(0))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert stat.S_IMODE((file.parent / ".worker.key.new").stat().st_mode) == 0o600


def test_file_in_use_by_another_change_is_busy(file: Path) -> None:
    """Two changes at once would lose one of the two keys."""
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="being changed by another process"):
            append_key(file, new_key("k2"), _ignore)


def test_changes_at_once_lose_no_key(file: Path) -> None:
    """Every key that was reported as added is there."""
    added: list[str] = []

    def add(number: int) -> None:
        try:
            append_key(file, new_key(f"t{number}"), _ignore)
        except Busy:
            return
        added.append(f"t{number}")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (set(_ids(file)), len(added) > 0) == ({"k1", *added}, True)


def test_file_that_cannot_be_changed_is_told_with_the_way_out(file: Path) -> None:
    """A name that stands in the way stands for a read-only mount, which root would not notice otherwise."""
    (file.parent / ".worker.key.new").mkdir()
    with pytest.raises(KeyUnusable, match="cannot be changed") as caught:
        append_key(file, new_key("k2"), _ignore)
    assert ("worker keys new FILE --id NAME" in caught.value.hint, _ids(file)) == (True, ["k1"])


def test_missing_file_is_told(tmp_path: Path) -> None:
    """By its path."""
    with pytest.raises(KeyUnusable, match=r"nothing\.key cannot be opened: No such file"):
        append_key(tmp_path / "nothing.key", new_key("k2"), _ignore)


def test_removed_key_is_gone_and_nothing_else(file: Path) -> None:
    """Comments and other keys stay."""
    append_key(file, new_key("k2"), _ignore)
    lines = file.read_text().splitlines()
    remove_key(file, "k1", _ignore)
    assert file.read_text().splitlines() == [line for line in lines if not line.startswith("k1 ")]


def test_last_key_is_never_removed(file: Path) -> None:
    """A keyring without a key is none."""
    with pytest.raises(KeyUnusable, match="holds no key"):
        remove_key(file, "k1", _ignore)
    assert _ids(file) == ["k1"]


@pytest.mark.parametrize(
    ("known", "following"),
    [([], "k1"), (["k1"], "k2"), (["k1", "k9", "mine"], "k10"), (["mine"], "k1"), (["k01", "k1x"], "k1")],
)
def test_next_id_was_never_used(known: list[str], following: str) -> None:
    """One higher than the highest."""
    assert next_key_id(known) == following
