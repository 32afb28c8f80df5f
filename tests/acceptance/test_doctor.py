"""`worker doctor`: each condition is made for real in a working folder, and has to be found, named and answered."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from servers import Sandbox
from small_disk import mounted
from story import consenting, prepare
from workplace import COMMAND, make_workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers import Server
    from workplace import Done, Workplace


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A provider and its API."""
    with Sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def furnished(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A folder in good order, with one account; never changed."""
    place = make_workplace(tmp_path_factory.mktemp("doctor"))
    prepare(server, place)
    place.paste("alice", consenting(server, "alice"))
    return place


@pytest.fixture
def place(furnished: Workplace, tmp_path: Path) -> Workplace:
    """A copy of it, to be spoilt."""
    return furnished.copy(tmp_path)


def found(done: Done, level: str) -> str:
    """The findings of a level, subject and message and hint, one a line."""
    return "\n".join(
        f"{finding['subject']}: {finding['message']} ({finding['hint']})"
        for finding in done.json["findings"]
        if finding["level"] == level
    )


def examine(place: Workplace, code: int, *options: str) -> Done:
    """`worker doctor --json`, which has to answer with this code."""
    return place("doctor", "--json", *options, expect=code)


def test_folder_in_order_is_found_so(place: Workplace) -> None:
    """Nothing to mend: exit 0."""
    done = examine(place, 0)
    assert (found(done, "fault"), found(done, "later"), found(done, "consent")) == ("", "", "")


def test_every_endpoint_is_asked(place: Workplace) -> None:
    """Token, authorization and API, each with its address."""
    told = found(examine(place, 0), "ok")
    assert all(f"integrations.api.{what}: http://127.0.0.1" in told for what in ("token_url", "authorize_url"))


def test_no_token_is_sent(place: Workplace, server: Any) -> None:
    """The provider's own counters."""
    before = server.control.stats()
    examine(place, 0)
    after = server.control.stats()
    assert after["token_calls"].get("refresh_token") == before["token_calls"].get("refresh_token")


def test_nothing_is_made(place: Workplace) -> None:
    """A folder without a database has none afterwards."""
    (place.folder / "state" / "worker.db").unlink()
    (place.folder / "state" / "witness").unlink()
    examine(place, 78, "--offline")
    assert not (place.folder / "state" / "worker.db").exists()


def test_output_for_people_names_level_place_and_remedy(place: Workplace) -> None:
    """One line each, and what to type."""
    (place.folder / "worker.key").unlink()
    done = place("doctor", "--offline", "--quiet", expect=78)
    assert "there is no keyring at" in done.out
    assert "Try: restore it from your copy" in done.out


def _remove_key(place: Workplace) -> None:
    (place.folder / "worker.key").unlink()


def _open_key(place: Workplace) -> None:
    (place.folder / "worker.key").chmod(0o644)


def _cut_key(place: Workplace) -> None:
    path = place.folder / "worker.key"
    path.write_text(path.read_text()[:-12])


def _other_key(place: Workplace) -> None:
    place("keys", "new", "other.key")
    (place.folder / "other.key").replace(place.folder / "worker.key")


def _open_database(place: Workplace) -> None:
    (place.folder / "state" / "worker.db").chmod(0o644)


def _no_database(place: Workplace) -> None:
    path = place.folder / "state" / "worker.db"
    path.write_bytes(b"something else" * 1000)


def _corrupt_page(place: Workplace) -> None:
    path = place.folder / "state" / "worker.db"
    content = bytearray(path.read_bytes())
    middle = len(content) // 4096 // 2 * 4096
    content[middle : middle + 4096] = os.urandom(4096)
    path.write_bytes(content)


def _newer_schema(place: Workplace) -> None:
    import sqlite3

    connection = sqlite3.connect(place.folder / "state" / "worker.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()


def _no_secret(place: Workplace) -> None:
    place("secrets", "remove", "api", "client_secret")


def _broken_job(place: Workplace) -> None:
    place.add_job("broken.py", "def broken(:\n")


def _public_job(place: Workplace) -> None:
    place.add_job("open.py", "x = 1\n")
    (place.folder / "jobs" / "open.py").chmod(0o666)


def _gone_integration(place: Workplace) -> None:
    path = place.folder / "config.toml"
    path.write_text(
        path.read_text().replace("[integrations.api", "[integrations.renamed").replace('"api"', '"renamed"')
    )


def _misspelt(place: Workplace) -> None:
    place.configure("[jobs.other]\nusess = 'x'")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (_remove_key, "there is no keyring"),
        (_open_key, "has mode 0644"),
        (_cut_key, "was the line cut?"),
        (_other_key, "is not the key of that name"),
        (_open_database, "worker.db has mode 0644"),
        (_no_database, "not a database"),
        (_corrupt_page, "worker.db"),
        (_newer_schema, "has schema 9999"),
        (_no_secret, "no client secret"),
        (_broken_job, "broken.py"),
        (_public_job, "open.py"),
        (_gone_integration, "integration api is not in the configuration"),
        (_misspelt, "usess"),
    ],
)
def test_fault_is_found_and_answered_78(place: Workplace, spoil: Callable[[Workplace], None], word: str) -> None:
    """Each is made by hand; each has to be named among the faults."""
    spoil(place)
    assert word in found(examine(place, 78, "--offline"), "fault")


def test_one_fault_does_not_hide_another(place: Workplace) -> None:
    """A store that cannot be opened leaves the jobs and the endpoints to be examined."""
    _remove_key(place)
    _broken_job(place)
    told = found(examine(place, 78), "fault")
    assert "there is no keyring" in told
    assert "broken.py" in told


def test_account_that_needs_consent_is_answered_3(furnished: Workplace, server: Any, tmp_path: Path) -> None:
    """With the command that mends it."""
    place = furnished.copy(tmp_path)
    place.paste("bob", consenting(server, "bob"))
    server.control.expire("bob")
    server.revoke("bob")
    place("jobs", "run", "sync", "--account", "bob", expect=3)
    told = found(examine(place, 3), "consent")
    assert "api/bob: needs consent" in told
    assert "worker enroll api bob" in told


def test_wrong_clock_is_found(place: Workplace, server: Any) -> None:
    """The provider's Date says two hours more than ours: the provider is right until proven otherwise."""
    server.control.set(date_skew=7200)
    try:
        told = found(examine(place, 78), "fault")
    finally:
        server.control.set(date_skew=0)
    assert "the local clock is" in told
    assert "behind http://127.0.0.1" in told


def test_provider_that_does_not_answer_is_answered_75(place: Workplace) -> None:
    """Nobody listens there now; that may pass."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        _move_provider(place, taken.getsockname()[1])
        told = found(examine(place, 75), "later")
    assert "refuses the connection" in told


def _move_provider(place: Workplace, port: int) -> None:
    path = place.folder / "config.toml"
    text = path.read_text()
    path.write_text(
        re.sub(r'(token_url|authorize_url) = "http://127\.0\.0\.1:\d+', rf'\1 = "http://127.0.0.1:{port}', text)
    )


def test_taken_port_of_the_redirect_uri_is_noted(place: Workplace) -> None:
    """An enrolment would fail with --loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        path = place.folder / "config.toml"
        path.write_text(path.read_text().replace(":8765/callback", f":{listener.getsockname()[1]}/callback"))
        told = found(examine(place, 0, "--offline"), "note")
    assert "of redirect_uri cannot be listened on now" in told


def test_running_daemon_is_named(place: Workplace) -> None:
    """Who holds the lock."""
    with place.daemon():
        told = found(examine(place, 0, "--offline"), "ok")
    assert "daemon: runs: the daemon, process" in told


def test_missing_daemon_is_noted(place: Workplace) -> None:
    """Nobody syncs."""
    assert "daemon: no daemon uses this store now" in found(examine(place, 0, "--offline"), "note")


def test_full_disk_is_found(place: Workplace, tmp_path: Path) -> None:
    """A sink on a disk with a megabyte to spare."""
    with mounted(tmp_path / "disk") as disk:
        place.configure(f'[sinks.small]\ntype = "sqlite"\npath = "{disk.path}/data.db"')
        told = found(examine(place, 75, "--offline"), "later")
    assert f"{disk.path} has room for " in told


def test_full_disk_is_a_fault_in_the_status(place: Workplace, tmp_path: Path) -> None:
    """Before anything else, and with exit code 1."""
    with mounted(tmp_path / "disk") as disk:
        shutil.copytree(place.folder / "state", disk.path / "state")
        config = place.folder / "config.toml"
        config.write_text(config.read_text().replace('state_dir = "state"', f'state_dir = "{disk.path}/state"'))
        told = place("status", expect=1).out
    assert f"FAULT     {disk.path / 'state'} has room for " in told


def test_few_open_files_are_found(place: Workplace) -> None:
    """A limit that sixteen runs would exceed."""
    limited = f"ulimit -n 100; exec {COMMAND} doctor --offline"
    done = subprocess.run(
        ["sh", "-c", limited], cwd=place.folder, env=place.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert "at most 100 files may be open" in done.stdout


def test_missing_routes_are_noted(place: Workplace) -> None:
    """Nobody would be told."""
    assert "notify: nobody is told" in found(examine(place, 0, "--offline"), "note")


def test_failing_route_is_found(furnished: Workplace, server: Any, tmp_path: Path) -> None:
    """What an account has to say did not reach anybody."""
    place = furnished.copy(tmp_path)
    place.configure('[[notify]]\nname = "ops"\ncommand = ["false"]\nevents = ["needs_consent"]')
    place.paste("carol", consenting(server, "carol"))
    server.control.expire("carol")
    server.revoke("carol")
    place("jobs", "run", "sync", "--account", "carol", expect=3)
    assert "notify.ops: 1 messages wait" in found(examine(place, 75, "--offline"), "later")


def test_key_that_is_still_needed_is_noted(place: Workplace) -> None:
    """A rotation that was cut off: the new key is there, the old one still seals."""
    place("keys", "new", "second.key", "--id", "k2")
    line = (place.folder / "second.key").read_text().splitlines()[-1]
    with (place.folder / "worker.key").open("a") as file:
        file.write(f"{line}\n")
    assert "key k1 still seals" in found(examine(place, 0, "--offline"), "note")


def test_database_that_is_gone_is_found(place: Workplace) -> None:
    """The witness knows that there were accounts."""
    (place.folder / "state" / "worker.db").unlink()
    told = found(examine(place, 78, "--offline"), "fault")
    assert "knows 1 account, but there is no database at" in told
    assert "worker store restore FILE" in told


def test_saved_copy_of_a_database_is_pointed_at(place: Workplace) -> None:
    """A daemon under which the file was taken away has saved it beside."""
    database = place.folder / "state" / "worker.db"
    saved = database.with_name("worker.db.rescued-1")
    database.rename(saved)
    assert f"mv {saved} {database}" in found(examine(place, 78, "--offline"), "fault")


def test_one_cause_is_told_once(place: Workplace) -> None:
    """A database that belongs to no such key stands in the way of store, clients and accounts alike."""
    _other_key(place)
    told = found(examine(place, 78, "--offline"), "fault")
    assert told.count("is not the key of that name") == 1


def test_store_that_does_not_answer_is_told_by_one_check(place: Workplace) -> None:
    """Each of the others would wait for it as long. Endpoints need no store."""
    path = place.folder / "config.toml"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://worker@127.0.0.1:{unused.getsockname()[1]}/worker"
        path.write_text(re.sub(r'(?m)^url = "sqlite:.*"', f'url = "{url}"', path.read_text()))
        done = examine(place, 75)
    told = found(done, "later")
    assert (told.count("store: "), len(told.splitlines())) == (1, 1)
    assert "what needs an open store was not examined" in told
    assert "token_url" in found(done, "ok")


def test_endpoints_are_asked_although_the_database_is_an_old_copy(place: Workplace) -> None:
    """They need no store, and the store stays closed."""
    state = place.folder / "state"
    (state / "witness").unlink()
    assert place("store", "backup", str(place.folder / "backup.db")).code == 0
    shutil.copy2(place.folder / "backup.db", state / "worker.db")
    (state / "witness").unlink()
    done = examine(place, 78)
    assert "what needs an open store was not examined" in found(done, "fault")
    assert "token_url" in found(done, "ok")
