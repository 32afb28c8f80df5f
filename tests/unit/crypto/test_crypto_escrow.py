"""The escrow copy: it opens with its passphrase, and nothing in it can change unnoticed."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.crypto.escrow import COST, read_escrow, write_escrow
from worker.crypto.keyring import Keyring, new_key
from worker.errors import KeyUnusable, UsageFault, WorkerError
from worker.redact import Secret

_RING = Keyring((new_key("k1"), new_key("k2")))
_PASSPHRASE = Secret("correct horse battery")
#: Cheap, for the tests that open many.
_CHEAP = 1 << 10
_TEXT = write_escrow(_RING, _PASSPHRASE, _CHEAP)


def _with_checksum(text: str) -> str:
    """The text as somebody would have to forge it."""
    above = text[: text.index("checksum: ")]
    return f"{above}checksum: {hashlib.sha256(above.encode()).hexdigest()[:16]}\n"


def test_copy_opens_to_the_same_keys() -> None:
    """Ids, bytes, order; at the cost that is really used."""
    ring = read_escrow(write_escrow(_RING, _PASSPHRASE), _PASSPHRASE, "copy")
    assert [(key.id, key.bytes()) for key in ring.keys] == [(key.id, key.bytes()) for key in _RING.keys]


def test_copy_names_its_cost() -> None:
    """128 MiB a guess at least."""
    assert (COST >= 1 << 17, f"scrypt: n={COST} r=8 p=1" in write_escrow(_RING, _PASSPHRASE)) == (True, True)


def test_copy_says_what_it_is_for() -> None:
    """Whoever finds it in a safe in five years."""
    assert _TEXT.startswith("# The keyring of headless-worker")
    assert "worker keys recover FILE" in _TEXT


def test_copy_shows_no_key() -> None:
    """Neither key nor key id nor passphrase."""
    hidden = [key.material.reveal() for key in _RING.keys] + ["k2", _PASSPHRASE.reveal()]
    assert [secret for secret in hidden if re.search(rf"\b{re.escape(secret)}\b", _TEXT)] == []


def test_two_copies_of_one_keyring_differ() -> None:
    """Salt and nonce are fresh."""
    assert write_escrow(_RING, _PASSPHRASE, _CHEAP) != write_escrow(_RING, _PASSPHRASE, _CHEAP)


@given(position=st.integers(0, len(_TEXT) - 1), bit=st.integers(0, 6))
def test_any_bit_that_flips_is_noticed(position: int, bit: int) -> None:
    """In comment, header, ciphertext or checksum."""
    changed = _TEXT[:position] + chr(ord(_TEXT[position]) ^ (1 << bit)) + _TEXT[position + 1 :]
    with pytest.raises(KeyUnusable, match=r"copy is (damaged|no escrow file|of version)|asks for scrypt"):
        read_escrow(changed, _PASSPHRASE, "copy")


@given(start=st.integers(0, len(_TEXT) - 1), length=st.integers(1, 80))
def test_anything_that_is_missing_is_noticed(start: int, length: int) -> None:
    """Cut at the end, or in the middle."""
    with pytest.raises(KeyUnusable):
        read_escrow(_TEXT[:start] + _TEXT[start + length :], _PASSPHRASE, "copy")


@pytest.mark.parametrize("line", ["salt: ", "nonce: ", "scrypt: n=", "\n\n"], ids=["salt", "nonce", "cost", "body"])
def test_forged_part_with_a_right_checksum_does_not_open(line: str) -> None:
    """Every part is authenticated, or changes the key."""
    at = _TEXT.index(line) + len(line)
    replacement = "2048" if "scrypt" in line else ("A" if _TEXT[at] != "A" else "B")
    end = at + (4 if "scrypt" in line else 1)
    forged = _with_checksum(_TEXT[:at] + replacement + _TEXT[end:])
    with pytest.raises(WorkerError, match="does not open: the passphrase is wrong, or somebody has changed the file"):
        read_escrow(forged, _PASSPHRASE, "copy")


def test_swapped_ciphertext_of_another_copy_does_not_open() -> None:
    """Header and body belong together."""
    other = write_escrow(_RING, _PASSPHRASE, _CHEAP)
    forged = _TEXT[: _TEXT.index("\n\n")] + other[other.index("\n\n") :]
    with pytest.raises(WorkerError, match="does not open"):
        read_escrow(_with_checksum(forged), _PASSPHRASE, "copy")


@pytest.mark.parametrize("wrong", ["correct horse batterz", "correct horse battery ", "Correct horse battery"])
def test_wrong_passphrase_is_told_as_such(wrong: str) -> None:
    """Exit code 1: type it again."""
    with pytest.raises(WorkerError, match="the passphrase is wrong") as caught:
        read_escrow(_TEXT, Secret(wrong), "copy")
    assert (caught.value.exit_code, wrong in f"{caught.value} {caught.value.hint}") == (1, False)


def test_passphrase_is_the_same_however_its_letters_are_composed() -> None:
    """One keyboard sends é as one character, another as two."""
    words = "élève à l'école"
    text = write_escrow(_RING, Secret(unicodedata.normalize("NFC", words)), _CHEAP)
    assert read_escrow(text, Secret(unicodedata.normalize("NFD", words)), "copy").newest.id == "k2"


@pytest.mark.parametrize("short", ["", "hunter2", "elevenchars"])
def test_short_passphrase_is_refused(short: str) -> None:
    """It could be guessed at leisure."""
    with pytest.raises(UsageFault, match="fewer than 12 characters") as caught:
        write_escrow(_RING, Secret(short))
    assert short == "" or short not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("cost", [0, 1, 3, 131073, 1 << 21, 1 << 50, 10**17])
def test_absurd_cost_is_refused_before_it_is_paid(cost: int) -> None:
    """A file must not take all the memory there is."""
    with pytest.raises(KeyUnusable, match=f"asks for scrypt with n={cost}"):
        read_escrow(_with_checksum(_TEXT.replace("n=1024", f"n={cost}")), _PASSPHRASE, "copy")


def test_newer_version_is_told() -> None:
    """Not called damaged."""
    with pytest.raises(KeyUnusable, match="is of version 2"):
        read_escrow(_with_checksum(_TEXT.replace("version: 1", "version: 2")), _PASSPHRASE, "copy")


def test_copy_that_went_through_windows_opens() -> None:
    """Line ends may change on the way."""
    assert read_escrow(_TEXT.replace("\n", "\r\n"), _PASSPHRASE, "copy").newest.id == "k2"


@pytest.mark.parametrize("text", ["", "k1 abc", "-----BEGIN PGP MESSAGE-----\n"])
def test_another_file_is_no_escrow_copy(text: str) -> None:
    """Said so."""
    with pytest.raises(KeyUnusable, match="copy is no escrow file"):
        read_escrow(text, _PASSPHRASE, "copy")


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    """With an error of ours."""
    with suppress(WorkerError):
        read_escrow(text, _PASSPHRASE, "copy")


def test_too_little_memory_is_told() -> None:
    """In a process that may have 200 MiB and is asked for a gibibyte."""
    code = (
        "import resource, sys\n"
        "from worker.crypto.escrow import read_escrow; from worker.errors import KeyUnusable\n"
        "from worker.redact import Secret; import cryptography.hazmat.primitives.ciphers.aead\n"
        "import cryptography.hazmat.primitives.kdf.scrypt\n"
        "resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))\n"
        "try: read_escrow(sys.stdin.read(), Secret('x' * 12), 'copy')\n"
        "except KeyUnusable as error: print(error.message)"
    )
    text = _with_checksum(_TEXT.replace("n=1024", f"n={1 << 20}"))
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, check=True)
    assert done.stdout == "there is too little memory: the passphrase needs 1024 MiB to be tried\n"
