"""`worker keys` as an operator types it: sources, rotation beside a daemon, escrow, values that do not open."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import text

from worker.crypto.keyring import new_key, parse_keyring
from worker.store.sealed_values import count_by_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PASSPHRASE = "correct horse battery\n"


@pytest.fixture
def keyring(place) -> str:
    """The keyring's text; the store was made with it, and holds one account."""
    place.enroll()
    return (place.folder / "worker.key").read_text()


def _source(place: Any, line: str) -> None:
    config = place.folder / "config.toml"
    config.write_text(config.read_text().replace('file = "worker.key"', line))


def _document(done: Any) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _ids(place: Any) -> list[str]:
    return [key.id for key in parse_keyring((place.folder / "worker.key").read_text(), "file").keys]


def _sealing(place: Any) -> dict[str | None, int]:
    with place.wiring.store.database.read() as session:
        return {key_id: count.total() for key_id, count in count_by_key(session).items()}


# Where the keyring comes from


_SOURCES = {
    "file": 'file = "worker.key"',
    "env": 'env = "RING"',
    "credential": 'credential = "ring"',
    "command": 'command = "cat worker.key"',
}


@pytest.mark.parametrize("source", _SOURCES)
def test_keyring_of_every_source_opens_the_store(place, keyring, source) -> None:
    """One each."""
    folder = place.folder / "credentials"
    folder.mkdir(mode=0o700)
    (folder / "ring").write_text(keyring)
    _source(place, _SOURCES[source])
    environment = {**place.environment, "RING": keyring, "CREDENTIALS_DIRECTORY": str(folder)}
    line = place.line("keys", "verify", "--json")
    done = subprocess.run(line, cwd=place.folder, env=environment, capture_output=True, text=True, check=False)
    assert _document(done)["keys"] == ["k1"]


def _other(_file: Path) -> str:
    return f"k1 {new_key('k1').material.reveal()}\n"


_FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda file: file.unlink(), "there is no keyring at"),
    "empty": (lambda file: file.write_text(""), "worker.key is empty"),
    "comments only": (lambda file: file.write_text("# nothing\n"), "holds no key"),
    "truncated": (lambda file: file.write_text(file.read_text()[:-5]), "line 3"),
    "binary": (lambda file: file.write_bytes(bytes(range(128, 200))), "is not UTF-8 text"),
    "byte order mark": (lambda file: file.write_text("\ufeffk1 x\n"), "begins with a byte order mark"),
    "world-readable": (lambda file: file.chmod(0o644), "has mode 0644, so others may read it"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), "is not a regular file"),
    "another key": (lambda file: file.write_text(_other(file)), 'key "k1" of the keyring is not the key of that name'),
    "another name": (lambda file: file.write_text(_other(file).replace("k1", "k7")), "holds none of the keys that"),
    "too large": (lambda file: file.write_text("#" * 70_000), "is larger than 64 KiB"),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_unusable_keyring_file_is_refused_in_one_sentence(place, keyring, fault) -> None:
    """Exit code 78, the place, and no key."""
    spoil, words = _FAULTS[fault]
    file = place.folder / "worker.key"
    spoil(file)
    done = place.command("keys", "verify")
    assert (done.returncode, done.stdout, words in done.stderr, "key" in done.stderr) == (78, "", True, True)
    material = keyring.split()[-1]
    assert (material[:38] in done.stderr, "Traceback" in done.stderr) == (False, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away, and read it then")
def test_keyring_of_another_user_is_refused_as_the_database_is(place) -> None:
    """What root does with it, its owner may not be able to undo."""
    os.chown(place.folder / "worker.key", 65534, -1)
    done = place.command("keys", "verify")
    assert (done.returncode, "worker.key belongs to user 65534" in done.stderr) == (78, True)
    assert "sudo -u '#65534'" in done.stderr


def test_keyring_with_windows_line_ends_is_read(place, keyring) -> None:
    """Many an editor's doing; it takes nothing away."""
    (place.folder / "worker.key").write_bytes(keyring.replace("\n", "\r\n").encode())
    assert place.command("keys", "verify").returncode == 0


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ('env = "RING"', 78, "keyring.env: the environment variable RING is not set"),
        ('credential = "ring"', 78, "keyring.credential: no $CREDENTIALS_DIRECTORY"),
        ('command = "false"', 78, "keyring.command: 'false' failed with exit code 1"),
        ('command = "true"', 78, "keyring.command: true printed nothing"),
        ('command = "no-such-command-here"', 78, "cannot start 'no-such-command-here'"),
        ('command = ["sh", "-c", "echo locked >&2; exit 4"]', 78, 'failed with exit code 4: "locked"'),
        ('command = ["sh", "-c", "cat worker.key; cat worker.key >&2; exit 1"]', 78, "failed with exit code 1"),
        ('command = ["sleep", "60"]', 75, "did not end within 10 s"),
    ],
)
def test_unusable_source_is_refused_in_one_sentence(place, keyring, line, code, words) -> None:
    """With its place in the config, what it said, and no key."""
    _source(place, line)
    done = place.command("keys", "verify")
    assert (done.returncode, words in done.stderr, keyring.split()[-1] in done.stderr) == (code, True, False)


def test_verify_names_a_key_that_is_missing(place, keyring) -> None:
    """An old copy of the keyring passes the key check, but cannot open what was sealed since."""
    assert place.command("keys", "rotate").returncode == 0
    (place.folder / "worker.key").write_text(keyring)
    done = place.command("keys", "verify")
    assert (done.returncode, "lacks keys that" in done.stderr, "k2 (2 values)" in done.stderr) == (78, True, True)


# Rotation


def test_daemon_goes_on_through_a_rotation(place, until) -> None:
    """It opens what the command has sealed, seals with the new key, and was not restarted."""
    place.job("events", every="1s")
    place.enroll()
    daemon = place.ready()
    until(lambda: "succeeded" in place.states())
    rotated = _document(place.command("keys", "rotate", "--json"))
    assert (rotated["added"], rotated["resealed"], rotated["remaining"], rotated["unused"]) == ("k2", 2, 0, ["k1"])
    place.sandbox.expire()
    done = len(place.states())
    until(lambda: len(place.states()) > done + 1)
    assert (set(place.states()[done:-1]), set(_sealing(place)), daemon.process.poll()) == ({"succeeded"}, {"k2"}, None)


def test_daemon_with_a_fixed_keyring_is_named_before_anything_is_sealed(place, keyring) -> None:
    """A credential is a copy made at the start: the daemon could not open the new values."""
    folder = place.folder / "credentials"
    folder.mkdir(mode=0o700)
    (folder / "worker.key").write_text(keyring)
    place.ready(CREDENTIALS_DIRECTORY=str(folder))
    done = place.command("keys", "rotate")
    assert (done.returncode, 'does not know key "k2" yet' in done.stderr) == (75, True)
    assert (_ids(place), _sealing(place)) == (["k1", "k2"], {"k1": 2})


def test_second_daemon_does_not_speak_for_the_first(place, keyring) -> None:
    """Started by mistake, and refused: what the first one said about its keys still stands."""
    folder = place.folder / "credentials"
    folder.mkdir(mode=0o700)
    (folder / "worker.key").write_text(keyring)
    place.ready(CREDENTIALS_DIRECTORY=str(folder))
    said = (place.folder / "state" / "keys-in-use").read_text()
    assert place.command("run").returncode == 78
    assert (place.folder / "state" / "keys-in-use").read_text() == said


def test_daemon_takes_up_the_key_of_a_command_at_sighup(place, keyring, until) -> None:
    """A command is not watched; the daemon is told."""
    _source(place, 'command = "cat worker.key"')
    daemon = place.ready()
    with (place.folder / "worker.key").open("a") as file:
        file.write(f"k2 {new_key('k2').material.reveal()}\n")
    daemon.send(signal.SIGHUP)
    note = place.folder / "state" / "keys-in-use"
    until(lambda: json.loads(note.read_text())["keys"] == ["k1", "k2"])
    assert _document(place.command("keys", "rotate", "--json"))["resealed"] == 2


def test_rotation_of_a_foreign_keyring_says_what_to_do(place, keyring) -> None:
    """And what it says works."""
    _source(place, 'command = "cat worker.key"')
    done = place.command("keys", "rotate")
    assert (done.returncode, "worker keys new FILE --id k2" in done.stderr) == (78, True)
    assert place.command("keys", "new", "k2.key", "--id", "k2").returncode == 0
    with (place.folder / "worker.key").open("a") as file:
        file.write((place.folder / "k2.key").read_text().splitlines()[-1] + "\n")
    assert _document(place.command("keys", "rotate", "--json"))["resealed"] == 2


def test_retired_key_is_off_the_keyring(place, keyring) -> None:
    """And the store opens as before."""
    assert place.command("keys", "retire", "k1").returncode == 2
    place.command("keys", "rotate")
    assert place.command("keys", "retire", "k1").returncode == 0
    assert (_ids(place), place.command("keys", "verify").returncode) == (["k2"], 0)


# keys list


def test_list_tells_what_each_key_seals(place, keyring) -> None:
    """By kind."""
    (key,) = _document(place.command("keys", "list", "--json"))
    assert (key["id"], key["seals"], key["on_keyring"], key["values"]) == ("k1", True, True, 2)
    assert key["by_kind"] == {"refresh_token": 1, "access_token": 1}


@pytest.mark.parametrize("spoil", ["missing", "truncated", "another key"])
def test_list_works_without_the_right_keyring(place, keyring, spoil) -> None:
    """That is when one asks which key is needed."""
    _FAULTS[spoil][0](place.folder / "worker.key")
    done = place.command("keys", "list", "--json")
    (key,) = json.loads(done.stdout)
    assert (key["id"], key["values"], key["on_keyring"] and key["genuine"]) == ("k1", 2, False)


# Escrow


@pytest.fixture
def escrow(place, keyring) -> Path:
    """An escrow copy of the keyring."""
    assert place.command("keys", "escrow", "escrow.txt", given=_PASSPHRASE).returncode == 0
    return place.folder / "escrow.txt"


def test_escrow_brings_a_lost_keyring_back(place, keyring, escrow) -> None:
    """The day it exists for: proven first, then written, then everything opens."""
    (place.folder / "worker.key").unlink()
    assert place.command("status").returncode == 0
    proof = _document(
        place.command("keys", "recover", "escrow.txt", "--write", "worker.key", "--json", given=_PASSPHRASE)
    )
    assert (proof["proven"], proof["opened"], proof["written"]) == (True, 2, "worker.key")
    assert (_ids(place), place.command("keys", "verify").returncode) == (["k1"], 0)


def test_escrow_copy_is_private(escrow) -> None:
    """0600."""
    assert stat.S_IMODE(escrow.stat().st_mode) == 0o600


def test_escrow_copy_is_never_overwritten(place, escrow) -> None:
    """The one that stands there may be the only one that opens an old backup."""
    before = escrow.read_text()
    done = place.command("keys", "escrow", "escrow.txt", given=_PASSPHRASE)
    assert (done.returncode, "never overwritten" in done.stderr, escrow.read_text()) == (78, True, before)


@pytest.mark.parametrize(("given", "words"), [("short\n", "fewer than 12 characters"), ("", "no passphrase on stdin")])
def test_escrow_without_a_passphrase_that_protects_is_refused(place, keyring, given, words) -> None:
    """And nothing is written."""
    done = place.command("keys", "escrow", "escrow.txt", given=given)
    assert (done.returncode, words in done.stderr, (place.folder / "escrow.txt").exists()) == (2, True, False)


def test_recovery_drill_changes_nothing(place, escrow) -> None:
    """Without --write."""
    before = (place.folder / "worker.key").stat()
    assert place.command("keys", "recover", "escrow.txt", given=_PASSPHRASE).returncode == 0
    assert (place.folder / "worker.key").stat() == before


def test_recovery_never_overwrites_a_keyring(place, escrow) -> None:
    """It may hold newer keys."""
    done = place.command("keys", "recover", "escrow.txt", "--write", "worker.key", given=_PASSPHRASE)
    assert (done.returncode, "never overwritten" in done.stderr) == (78, True)


def test_recovery_with_the_wrong_passphrase_is_told(place, escrow) -> None:
    """Exit code 1; neither passphrase nor key is repeated."""
    done = place.command("keys", "recover", "escrow.txt", given="wrong horse battery\n")
    assert (done.returncode, "the passphrase is wrong" in done.stderr, "wrong horse" in done.stderr) == (1, True, False)


def test_recovery_from_a_damaged_copy_is_told(place, escrow) -> None:
    """Exit code 78."""
    escrow.write_text(escrow.read_text().replace("\n\n", "\n\nA", 1))
    done = place.command("keys", "recover", "escrow.txt", given=_PASSPHRASE)
    assert (done.returncode, "escrow.txt is damaged" in done.stderr) == (78, True)


def test_recovery_from_an_old_copy_names_the_keys_that_it_lacks(place, escrow) -> None:
    """A rotation since."""
    place.command("keys", "rotate")
    done = place.command("keys", "recover", "escrow.txt", "--json", given=_PASSPHRASE)
    assert (done.returncode, json.loads(done.stdout)["missing_keys"]) == (78, {"k2": 2})


def test_recovery_with_the_copy_of_another_keyring_writes_nothing(place, escrow, tmp_path_factory) -> None:
    """Two installations, two safes."""
    (place.folder / "worker.key").unlink()
    elsewhere = tmp_path_factory.mktemp("other")
    assert place.command("init", str(elsewhere)).returncode == 0
    line = ("--config", str(elsewhere / "config.toml"), "keys", "escrow", str(elsewhere / "copy"))
    assert place.command(*line, given=_PASSPHRASE).returncode == 0
    done = place.command("keys", "recover", str(elsewhere / "copy"), "--write", "worker.key", given=_PASSPHRASE)
    assert (done.returncode, "copy of another keyring" in done.stderr) == (78, True)
    assert not (place.folder / "worker.key").exists()


def test_recovery_before_there_is_a_database_says_what_is_not_proven(place, escrow) -> None:
    """A new machine: the keyring comes first, then the backup."""
    (place.folder / "worker.key").unlink()
    (place.folder / "state" / "worker.db").rename(place.folder / "away.db")
    done = place.command("keys", "recover", "escrow.txt", "--write", "worker.key", given=_PASSPHRASE)
    assert (done.returncode, "is not proven" in done.stderr, _ids(place)) == (0, True, ["k1"])


def test_recovery_beside_an_empty_database_comes_before_the_restore(place, escrow) -> None:
    """The witness knows an account, so nothing may be begun anew; but a restore needs the key first."""
    (place.folder / "worker.key").unlink()
    place.wiring.store.close()
    (place.folder / "state" / "worker.db").write_bytes(b"")
    done = place.command("keys", "recover", "escrow.txt", "--write", "worker.key", given=_PASSPHRASE)
    assert (done.returncode, "is not proven" in done.stderr, _ids(place)) == (0, True, ["k1"])


def test_recovery_on_an_empty_server_makes_nothing_there(place, escrow, new_postgresql) -> None:
    """Likewise, and a drill leaves the server as it is."""
    url = new_postgresql()
    with (place.folder / "config.toml").open("a") as config:
        config.write(f'\n[store]\nurl = "{url}"\n')
    done = place.command("keys", "recover", "escrow.txt", given=_PASSPHRASE)
    assert (done.returncode, "is not proven" in done.stderr) == (0, True)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


# A row that was tampered with


def _tamper(place: Any, column: str, account: Any) -> None:
    with place.wiring.store.database.write() as session:
        statement = text(f"UPDATE grant_ SET {column} = :value WHERE account_id = :id")
        session.execute(statement, {"value": b"\x01\x02k1" + bytes(40), "id": account.id})


def test_list_tells_the_tampered_account_and_shows_the_others(place) -> None:
    """One bad row is one bad row."""
    bad, _ = place.enroll("bad"), place.enroll("good")
    _tamper(place, "sealed_refresh_token", bad)
    rows = {row["account"]: row["unreadable"] for row in _document(place.command("accounts", "list", "--json"))}
    assert (rows["good"], len(rows["bad"]), "refresh_token" in rows["bad"][0]) == ([], 1, True)


@pytest.mark.parametrize("line", [("accounts", "why", "books/bad"), ("store", "check")])
def test_why_and_check_name_the_tampered_value(place, line) -> None:
    """Account, field, and what to do."""
    _tamper(place, "sealed_access_token", place.enroll("bad"))
    done = place.command(*line)
    assert "books/bad: access token: grant" in done.stdout + done.stderr


def test_tampered_access_token_costs_one_refresh(place, until) -> None:
    """The refresh token is sealed by itself; the timeline tells."""
    place.job("events")
    account = place.enroll()
    _tamper(place, "sealed_access_token", account)
    place.ready()
    until(lambda: "succeeded" in place.states())
    kinds = [entry.kind for entry in place.wiring.store.timeline.of(account)]
    assert kinds[-2:] == ["tampered", "refreshed"]


def test_tampered_refresh_token_needs_consent(place, until) -> None:
    """Nothing else mends it; the other account goes on."""
    place.job("events")
    bad = place.enroll("bad")
    place.enroll("good")
    for column in ("sealed_refresh_token", "sealed_access_token"):
        _tamper(place, column, bad)
    place.ready()
    until(lambda: place.wiring.store.accounts.by_id(bad.id).state == "needs_consent")
    until(lambda: "succeeded" in place.states())
    assert place.wiring.store.accounts.by_id(bad.id).cause == "tampered"
