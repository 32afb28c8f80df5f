"""Connections and transactions: durable, private, waiting their turn, and clear about what is wrong."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, text
from store_helpers import NOW, enrol, entry, race, schedule

from worker.crypto.keyring import render_keyring
from worker.errors import Busy, StoreUnusable, TryAgainLater
from worker.redact import Secret
from worker.store.database import Database
from worker.store.files import create_private_folder
from worker.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.crypto.keyring import Keyring
    from worker.crypto.sealing import Sealer
    from worker.store.store import Store


# What is in force


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "delete"), ("synchronous", 3), ("foreign_keys", 1), ("secure_delete", 1), ("trusted_schema", 0)],
)
@pytest.mark.parametrize("way", ["read", "write"])
def test_sqlite_pragma_is_in_force(sqlite_store: Store, pragma: str, value: object, way: str) -> None:
    """In every kind of transaction: durable (EXTRA is 3), referential, and no old content in free pages."""
    with getattr(sqlite_store.database, way)() as session:
        assert session.execute(text(f"PRAGMA {pragma}")).scalar_one() == value


def test_sqlite_pragmas_are_in_force_on_every_connection(sqlite_store: Store) -> None:
    """They are settings of a connection, not of the file: eight threads, each inside its own."""
    barrier = threading.Barrier(8)

    def look(_number: int) -> object:
        with sqlite_store.database.read() as session:
            barrier.wait()
            return session.execute(text("PRAGMA synchronous")).scalar_one()

    assert race(8, look) == [3] * 8


@pytest.mark.parametrize(
    ("setting", "value"), [("synchronous_commit", "on"), ("lock_timeout", "30s"), ("TimeZone", "UTC")]
)
def test_postgresql_setting_is_in_force(postgresql_store: Store, setting: str, value: str) -> None:
    """Whatever the server's defaults are."""
    with postgresql_store.database.write() as session:
        assert session.execute(text(f"SHOW {setting}")).scalar_one() == value


def test_read_transaction_sees_one_state_of_the_file(sqlite_store: Store) -> None:
    """A deferred BEGIN is a real transaction: what commits meanwhile waits for its end."""
    with sqlite_store.database.read() as session:
        before = session.execute(text("SELECT count(*) FROM account")).scalar_one()
        writer = threading.Thread(target=enrol, args=(sqlite_store,))
        writer.start()
        after = session.execute(text("SELECT count(*) FROM account")).scalar_one()
    writer.join()
    assert (before, after, len(sqlite_store.accounts.list())) == (0, 0, 1)


# Writers wait their turn


def test_second_writer_waits_for_the_first(store: Store, spawn) -> None:
    """Two processes: ours begins while theirs is open, and goes on as soon as theirs has committed."""
    grant = enrol(store)
    process = spawn("write", store, "acme")
    assert process.line() == "writing"
    paused: list[object] = []
    ours = threading.Thread(target=lambda: paused.append(store.accounts.pause(grant.account, NOW, "ours")))
    ours.start()
    ours.join(0.3)
    assert ours.is_alive()
    process.go_on()
    assert process.line() == "committed"
    ours.join()
    assert store.accounts.by_id(grant.account.id).reason == "ours"


def test_write_holds_its_lock_from_its_first_read_on(sqlite_store: Store) -> None:
    """BEGIN IMMEDIATE: a transaction that reads first and then writes cannot be overtaken in between."""
    with sqlite_store.database.write() as session:
        session.execute(text("SELECT count(*) FROM account"))
        other = sqlite3.connect(sqlite_store.database.path, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_read_does_not_keep_writers_out_of_the_file(sqlite_store: Store) -> None:
    """A plain BEGIN takes no lock before it reads."""
    with sqlite_store.database.read() as session:
        session.execute(text("SELECT 1"))
        assert enrol(sqlite_store).generation == 1


def test_writers_that_read_first_all_succeed(store: Store) -> None:
    """What a deferred transaction would answer with SQLITE_BUSY_SNAPSHOT, at once."""
    grant = enrol(store)
    due = schedule(store, grant)

    def act(number: int) -> object:
        store.schedule.park("sync", due.account.id, f"reason {number}", [])
        return "done"

    assert race(12, act) == ["done"] * 12


def test_writer_that_raises_undoes_everything(store: Store) -> None:
    """All or nothing."""

    def write_and_fail() -> None:
        with store.database.write() as session:
            session.execute(text("INSERT INTO client_secret VALUES ('a', 'b', :value, 1, 0)"), {"value": b"x"})
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert store.secrets.list() == []


def test_lock_that_is_never_freed_ends_as_busy(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 75, and the file is named. The wait is shortened on this connection, not in the program."""
    holder = sqlite3.connect(sqlite_store.database.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    event.listen(sqlite_store.database.engine, "checkout", lambda raw, *_: raw.execute("PRAGMA busy_timeout=1"))
    with pytest.raises(Busy, match=r"worker\.db was locked by another process") as caught:
        enrol(sqlite_store)
    holder.close()
    hint = f"wait, or see who uses it: fuser -v {sqlite_store.database.path}"
    assert (caught.value.exit_code, caught.value.hint) == (75, hint)


def test_row_lock_that_is_never_freed_ends_as_busy(postgresql_store: Store) -> None:
    """`lock_timeout` on the server, shortened here for this database."""
    grant = enrol(postgresql_store)
    event.listen(
        postgresql_store.database.engine, "checkout", lambda raw, *_: raw.execute("SET lock_timeout='50ms'").close()
    )
    with postgresql_store.database.write() as session:
        session.execute(text("SELECT * FROM account FOR UPDATE"))
        with pytest.raises(Busy, match="was locked by another process"):
            postgresql_store.accounts.pause(grant.account, NOW, "")


def test_deadlock_ends_as_busy(postgresql_store: Store) -> None:
    """The server undoes one of two: that one may try again."""
    first, second = enrol(postgresql_store, "a").account, enrol(postgresql_store, "b").account
    barrier = threading.Barrier(2)

    def act(number: int) -> object:
        pair = (first, second) if number else (second, first)
        with postgresql_store.database.write() as session:
            for account in pair:
                session.execute(text("UPDATE account SET reason = '' WHERE id = :id"), {"id": account.id})
                if account is pair[0]:
                    barrier.wait()
        return "done"

    outcomes = race(2, act)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Busy", "str"]


# Files


def test_files_are_private_from_creation_on(tmp_path: Path, keyring: Keyring, spawn) -> None:
    """Umask 000 in a process of its own: folders 0700, files 0600, the journal too."""
    process = spawn("open", f"sqlite:///{tmp_path}/state/deep/worker.db")
    process.line()
    process.go_on()
    assert process.line() == "opened"
    process.end()
    modes = {path.relative_to(tmp_path): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert {mode for path, mode in modes.items() if (tmp_path / path).is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if (tmp_path / path).is_file()} == {0o600}
    assert Path("state/deep/worker.db") in modes


def test_journal_is_private(sqlite_store: Store) -> None:
    """It holds the pages that are being changed; SQLite gives it the database's mode, whatever the umask."""
    before = os.umask(0)
    try:
        with sqlite_store.database.write() as session:
            session.execute(text("UPDATE alembic_version SET version_num = version_num"))
            journal = Path(f"{sqlite_store.database.path}-journal")
            assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    """It was not made by us; what is in it is no secret any more."""
    path = tmp_path / "worker.db"
    path.touch()
    path.chmod(mode)
    with pytest.raises(StoreUnusable, match=f"has mode {mode:04o}") as caught:
        Database(f"sqlite:///{path}")
    assert caught.value.hint == f"chmod 600 {path}"


def test_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    """Named, without talk of modes."""
    with pytest.raises(StoreUnusable, match="is not a file"):
        Database(f"sqlite:///{tmp_path}")


def test_dangling_link_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    """The link's name and the reason."""
    (tmp_path / "worker.db").symlink_to(tmp_path / "nowhere" / "worker.db")
    with pytest.raises(StoreUnusable, match=r"worker\.db cannot be opened: No such file"):
        Database(f"sqlite:///{tmp_path}/worker.db")


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """Likewise."""
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreUnusable, match="Not a directory"):
        Database(f"sqlite:///{tmp_path}/state/worker.db")


def test_existing_folder_is_left_as_it_is(tmp_path: Path) -> None:
    """Its mode is its owner's business."""
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "shared").chmod(0o755)
    create_private_folder(tmp_path / "shared" / "ours")
    modes = [stat.S_IMODE(folder.stat().st_mode) for folder in (tmp_path / "shared", tmp_path / "shared" / "ours")]
    assert modes == [0o755, 0o700]


# What is wrong, in words


def test_garbage_file_is_named_as_something_else(tmp_path: Path, sealer: Sealer) -> None:
    """Somebody pointed store.url at the wrong file."""
    path = tmp_path / "worker.db"
    path.write_bytes(b"this is a letter to my aunt" * 100)
    path.chmod(0o600)
    with pytest.raises(StoreUnusable, match="file is not a database") as caught:
        open_store(f"sqlite:///{path}", tmp_path, sealer, NOW)
    assert (caught.value.exit_code, caught.value.hint) == (78, "look at store.url: this file is something else")


def test_damaged_file_is_named_as_damaged(sqlite_store: Store) -> None:
    """A page in the middle was overwritten."""
    enrol(sqlite_store)
    sqlite_store.close()
    with sqlite_store.database.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 20)
    with pytest.raises(StoreUnusable) as caught:
        enrol(sqlite_store, "beta")
    assert "store check" in caught.value.hint or caught.value.hint


def test_integrity_check_finds_nothing_in_a_sound_store(store: Store) -> None:
    """On PostgreSQL there is nothing to look for."""
    enrol(store)
    assert store.database.integrity_faults() == []


def test_integrity_check_finds_orphans(sqlite_store: Store) -> None:
    """A row whose account is gone, as a tool without foreign keys leaves it."""
    schedule(sqlite_store, enrol(sqlite_store))
    raw = sqlite3.connect(sqlite_store.database.path)
    raw.execute("DELETE FROM account")
    raw.commit()
    raw.close()
    assert "orphaned row in schedule" in sqlite_store.database.integrity_faults()


def test_full_disk_says_so_and_loses_nothing(sqlite_store: Store) -> None:
    """SQLite's own limit stands for the disk."""
    grant = enrol(sqlite_store)
    event.listen(sqlite_store.database.engine, "checkout", lambda raw, *_: raw.execute("PRAGMA max_page_count=1"))
    with pytest.raises(TryAgainLater, match="disk is full") as caught:
        sqlite_store.secrets.set("arlo", "long", Secret("x" * 100_000), NOW)
    assert "free some space" in caught.value.hint
    assert sqlite_store.grants.read(grant.account.id) == grant


@pytest.fixture
def read_only(sqlite_store: Store, keyring: Keyring) -> Iterator[tuple[Path, str]]:
    """A copy of the store in a folder that can be read but not written, and code that runs without our privileges."""
    sqlite_store.close()
    folder = Path(tempfile.mkdtemp())
    shutil.copy(sqlite_store.database.path, folder / "worker.db")
    for path in (folder / "worker.db", folder):
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
    (folder / "key").write_text(render_keyring(keyring.keys))
    (folder / "key").chmod(0o644)
    (folder / "worker.db").chmod(0o400)
    folder.chmod(0o500)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from worker.store.database import Database\n"
        "from worker.store.store import open_store\n"
        "from worker.crypto.keyring import parse_keyring\n"
        "from worker.crypto.sealing import Sealer\n"
        "from worker.redact import Secret\n"
        "from worker.errors import WorkerError\n"
        "import sqlite3, sqlalchemy.dialects.sqlite.pysqlite\n"
        "folder = Path(sys.argv[1])\n"
        "os.geteuid() or os.setuid(65534)\n"
        "sealer = Sealer(parse_keyring((folder / 'key').read_text(), 'key'))\n"
        "from worker.store.secrets import ClientSecrets\n"
        "database = Database(f'sqlite:///{folder}/worker.db')\n"
        "try:\n"
        "    ClientSecrets(database, sealer).set('a', 'b', Secret('x'), 0)\n"
        "except WorkerError as error:\n"
        "    print(type(error).__name__, error.message, '|', error.hint)\n"
    )
    yield folder, code
    folder.chmod(0o700)
    shutil.rmtree(folder)


def test_read_only_file_says_so(read_only: tuple[Path, str]) -> None:
    """As a user who is not root."""
    folder, code = read_only
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=False, capture_output=True, text=True, env=_environment()
    )
    assert done.stdout == (
        f"StoreUnusable {folder}/worker.db: attempt to write a readonly database, for in {folder} no journal"
        " can be made: Permission denied | make the file and its folder writable for the user the worker runs as\n"
    ), done.stderr


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"}


def test_unreachable_server_is_named_without_its_password(sealer: Sealer, tmp_path: Path) -> None:
    """Neither in the message, nor in the chain of causes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TryAgainLater, match="onnect") as caught:
        open_store(f"postgresql://worker:hunter2-secret@127.0.0.1:{port}/x", tmp_path, sealer, NOW)
    assert caught.value.hint == "look at store.url, and whether the server runs"
    assert "hunter2" not in f"{caught.value.message} {caught.value.__cause__} {caught.value.evidence}"


def test_database_that_does_not_exist_is_no_matter_of_time(sealer: Sealer, tmp_path: Path, new_postgresql) -> None:
    """The server answers, and says that store.url is off: waiting mends nothing."""
    with pytest.raises(StoreUnusable, match="does not exist") as caught:
        open_store(new_postgresql().replace("/test_", "/not_"), tmp_path, sealer, NOW)
    assert caught.value.hint == "look at store.url, and whether the server runs"


def test_error_shows_no_parameters_in_its_chain(store: Store) -> None:
    """A traceback shows the cause: what was to be written is not in it."""
    with pytest.raises(StoreUnusable) as caught, store.database.write() as session:
        session.execute(text("INSERT INTO nowhere VALUES (:value)"), {"value": "what was to be written"})
    assert "what was to be written" not in f"{caught.value} {caught.value.__cause__}"


def test_name_of_the_database_hides_the_password() -> None:
    """For messages and logs."""
    assert Database("postgresql://worker:hunter2@db/x").name == "postgresql+psycopg://worker:***@db/x"


def test_server_store_has_no_path() -> None:
    """Asked for one, it says so."""
    with pytest.raises(StoreUnusable, match="not a file"):
        _ = Database("postgresql://worker@db/x").path


def test_more_threads_than_connections_all_get_their_turn(sqlite_store: Store) -> None:
    """A pool of job threads larger than the pool of connections waits instead of failing."""
    enrol(sqlite_store)
    outcomes = race(90, lambda _: len(sqlite_store.accounts.list()))
    assert set(outcomes) == {1}


# Crashes


def test_acknowledged_writes_survive_a_kill(sqlite_store: Store, spawn) -> None:
    """SIGKILL in the middle of a stream of commits: what was acknowledged is there, and the file is sound."""
    process = spawn("set-secrets", sqlite_store, "100000")
    last = [process.line() for _ in range(25)][-1]
    process.kill()
    found = sqlite_store.secrets.get("arlo", "counter")
    assert found is not None
    assert int(found.reveal().removeprefix("number ")) >= int(last)
    assert sqlite_store.database.integrity_faults() == []


def test_transaction_cut_off_by_a_kill_is_rolled_back(sqlite_store: Store, spawn) -> None:
    """Half of it was in the file already; the next one to open it finds the journal and undoes it."""
    process = spawn("spill", sqlite_store, "200")
    assert process.line() == "spilled"
    process.process.send_signal(signal.SIGKILL)
    process.end()
    assert Path(f"{sqlite_store.database.path}-journal").stat().st_size > 0
    assert sqlite_store.secrets.list() == []
    assert sqlite_store.database.integrity_faults() == []


def test_claim_survives_a_kill(store: Store, spawn) -> None:
    """The record says that a run is under way, with the process that is gone."""
    grant = enrol(store)
    schedule(store, grant)
    process = spawn("claim", store, "sync", "acme")
    run_id = process.line()
    process.kill()
    run = store.runs.get(run_id)
    assert (run.state, run.holder) == ("running", f"process {process.process.pid}")
    assert entry(store, grant).run_id == run_id
