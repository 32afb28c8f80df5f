"""The keyring: its text, its faults, its file."""

import os
import stat
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.crypto.keyring import Key, create_keyring_file, new_key, parse_keyring, render_keyring
from worker.errors import KeyUnusable
from worker.redact import Secret

_GOOD = "A" * 43
_IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", fullmatch=True)


@given(ids=st.lists(_IDS, min_size=1, max_size=5, unique=True))
def test_keyring_text_reads_back_as_the_same_keys(ids: list[str]) -> None:
    """What is rendered parses to the same ids and bytes, in the same order."""
    keys = [new_key(key_id) for key_id in ids]
    ring = parse_keyring(render_keyring(keys), "here")
    assert [(key.id, key.bytes()) for key in ring.keys] == [(key.id, key.bytes()) for key in keys]


def test_keyring_newest_is_the_last_line() -> None:
    """Oldest to newest: the last line seals."""
    assert parse_keyring(f"k1 {_GOOD}\nk2 {_GOOD}\n", "here").newest.id == "k2"


def test_keyring_find_answers_none_for_an_unknown_id() -> None:
    """An id that is not there is no error here."""
    assert parse_keyring(f"k1 {_GOOD}", "here").find("k9") is None


def test_keyring_ignores_comments_blank_lines_and_spaces() -> None:
    """People edit this file."""
    assert [key.id for key in parse_keyring(f"# mine\n\n  k1   {_GOOD}  \r\n", "here").keys] == ["k1"]


def test_keyring_accepts_padding() -> None:
    """`base64 -w0` writes padding; `=` at the end is no fault."""
    assert len(parse_keyring(f"k1 {_GOOD}=", "here").keys[0].bytes()) == 32


def test_new_key_is_random() -> None:
    """No two keys are alike."""
    assert new_key("k").bytes() != new_key("k").bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no key"),
        ("# only a comment\n", "holds no key"),
        (_GOOD, "line 1: expected an id and a key, found 1 words"),
        (f"k1 {_GOOD} {_GOOD}", "found 3 words"),
        (f"\n\nk/1 {_GOOD}", "line 3: a key id has"),
        (f"{'k' * 33} {_GOOD}", "a key id has"),
        ("k1 !!!!", 'key "k1" is not base64url'),
        ("k1 é" + _GOOD, 'key "k1" is not base64url'),
        (f"k1 {_GOOD[:40]}", "has 30 bytes, a key has 32; was the line cut?"),
        (f"k1 {_GOOD}\nk1 {_GOOD}", 'line 2: key id "k1" stands there twice'),
    ],
)
def test_keyring_fault_names_place_and_finding(text: str, words: str) -> None:
    """Each fault says in which line what was found."""
    with pytest.raises(KeyUnusable, match="here") as caught:
        parse_keyring(text, "here")
    assert words in str(caught.value)


@given(st.text(max_size=200))
def test_keyring_text_of_any_kind_is_read_or_refused(text: str) -> None:
    """Nothing but KeyUnusable, whatever the text."""
    with suppress(KeyUnusable):
        parse_keyring(text, "here")


def test_keyring_fault_never_shows_the_key() -> None:
    """A cut key is still most of a key."""
    with pytest.raises(KeyUnusable) as caught:
        parse_keyring(f"k1 {_GOOD[:40]}", "here")
    assert _GOOD[:40] not in str(caught.value)


def test_key_repr_is_redacted() -> None:
    """A key in a traceback's locals shows nothing."""
    assert _GOOD not in repr(Key("k1", Secret(_GOOD)))


def test_keyring_file_is_private_under_any_umask(tmp_path) -> None:
    """0600 from creation on, with umask 000 in a process of its own."""
    code = (
        "import os, sys; from pathlib import Path; os.umask(0)\n"
        "from worker.crypto.keyring import create_keyring_file, new_key\n"
        "create_keyring_file(Path(sys.argv[1]), [new_key('k1')])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "key")], check=True)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_keyring_file_reads_back(tmp_path) -> None:
    """What is in the file is what was given."""
    key = new_key("k1")
    create_keyring_file(tmp_path / "key", [key])
    assert parse_keyring((tmp_path / "key").read_text(), "file").newest.bytes() == key.bytes()


def test_keyring_file_is_never_overwritten(tmp_path) -> None:
    """An existing one is refused and stays as it is."""
    (tmp_path / "key").write_text("precious")
    with pytest.raises(KeyUnusable, match="never overwritten"):
        create_keyring_file(tmp_path / "key", [new_key("k1")])
    assert (tmp_path / "key").read_text() == "precious"


def test_keyring_file_without_folder_is_refused_clearly(tmp_path) -> None:
    """The message names the path and the reason."""
    with pytest.raises(KeyUnusable, match=r"nowhere/key cannot be written: No such file"):
        create_keyring_file(tmp_path / "nowhere" / "key", [new_key("k1")])


def test_keyring_file_on_a_full_disk_leaves_nothing_behind(tmp_path) -> None:
    """Half a keyring is none: it would stand in the way of the next try. A file size limit stands for the disk."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from worker.crypto.keyring import create_keyring_file, new_key; from worker.errors import KeyUnusable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
        "try: create_keyring_file(Path(sys.argv[1]), [new_key('k1')])\n"
        "except KeyUnusable as error: sys.exit(error.exit_code)"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "key")], check=False, env=environment)
    assert (done.returncode, list(tmp_path.iterdir())) == (78, [])
