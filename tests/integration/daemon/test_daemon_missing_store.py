"""Commands where the database is gone, or an old copy, while no daemon runs: they say so, and begin nothing anew."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from worker.redact import Secret
from worker.store.records import NewTokens


@pytest.fixture
def missing(place):
    """A place whose database was removed; a backup of it lies beside the config."""
    place.job("quick")
    place.enroll()
    assert place.command("store", "backup", "backup.db").returncode == 0
    place.wiring.store.close()
    (place.folder / "state" / "worker.db").unlink()
    return place


@pytest.mark.parametrize(
    "command",
    ["run", "once", "status", "accounts list", "jobs run quick", "keys list", "store check", "store migrate"],
)
def test_command_refuses_to_begin_anew(missing, command):
    """Exit code 78, with the remedy; no database is made."""
    ended = missing.command(*command.split())
    assert ended.returncode == 78
    assert "knows 1 account, but there is no database at" in ended.stderr
    assert "worker store restore FILE" in ended.stderr
    assert not (missing.folder / "state" / "worker.db").exists()


def test_restore_is_the_remedy(missing):
    """It makes the database, and everything goes on."""
    assert missing.command("store", "restore", "--yes", "backup.db").returncode == 0
    assert json.loads(missing.command("--json", "status").stdout)["accounts"] == {"active": 1}


def test_moving_the_witness_away_begins_anew(missing):
    """The other way out."""
    state = missing.folder / "state"
    (state / "witness").rename(state / "witness.old")
    assert missing.command("accounts", "list").returncode == 0


@pytest.fixture
def old_copy(place):
    """A place whose database was replaced by a copy from before a rotation and an enrolment."""
    account = place.enroll()
    database = place.wiring.store.database.path
    copy = shutil.copy2(database, place.folder / "copy.db")
    grants = place.wiring.store.grants
    now = place.wiring.clock.now()
    grant = grants.read(account.id)
    grants.begin_refresh(grant, "process 1", now)
    grants.complete_refresh(
        grant, NewTokens(Secret("next-access"), Secret("next-refresh"), "Bearer", 3600.0, now, None), now
    )
    place.enroll("zenith")
    place.wiring.store.close()
    shutil.copy2(copy, database)
    return place


def test_status_says_that_the_database_is_an_old_copy(old_copy):
    """Before anything has opened it: what it says of its accounts is not to be believed."""
    ended = old_copy.command("status")
    assert ended.returncode == 1
    assert "older than its witness: 1 behind (books/acme); 1 missing (books/zenith)" in ended.stdout


def test_status_of_a_database_that_is_what_it_was_says_nothing_of_it(place):
    """Usual life."""
    place.enroll()
    ended = place.command("--json", "status")
    assert (ended.returncode, json.loads(ended.stdout)["older"]) == (0, None)


def test_status_does_not_take_a_commit_that_was_cut_off_for_an_old_copy(place):
    """The witness is told before the database is: one generation ahead is no news."""
    account = place.enroll()
    witness = place.wiring.store.witness.file
    (said,) = witness.read().accounts.values()
    grant = place.wiring.store.grants.read(account.id)
    place.wiring.store.grants.begin_refresh(grant, "process 1", place.wiring.clock.now())
    ahead = type(said)(said.uid, said.label, said.generation + 1, said.generation + 1, "writing")
    witness.append([ahead], "a-mark-that-was-never-committed")
    assert json.loads(place.command("--json", "status").stdout)["older"] is None


def test_doctor_does_not_miss_an_account_that_never_came_to_be(missing):
    """A first enrolment that was cut off: every other command would begin anew."""
    witness = missing.wiring.store.witness.file
    (said,) = witness.read().accounts.values()
    witness.path.unlink()
    witness.append([replace(said, generation=1, phase="consenting")], "a-mark")
    ended = missing.command("doctor", "--offline")
    assert ended.returncode == 0
    assert "there is no database at" in ended.stdout


def test_backup_without_a_witness_is_called_old_and_left_as_it_is(place):
    """A file copied into its place on another machine: opening it would put every account in doubt."""
    place.enroll()
    database = place.wiring.store.database.path
    assert place.command("store", "backup", "backup.db").returncode == 0
    place.wiring.store.close()
    shutil.copy2(place.folder / "backup.db", database)
    place.wiring.witness.unlink()
    before = database.read_bytes()
    examined = place.command("doctor", "--offline")
    assert (examined.returncode, "1 in a backup of unknown age (books/acme)" in examined.stdout) == (78, True)
    ended = place.command("--json", "status")
    assert (ended.returncode, json.loads(ended.stdout)["accounts"]) == (1, {"active": 1})
    assert database.read_bytes() == before
