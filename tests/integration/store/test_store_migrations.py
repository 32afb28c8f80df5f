"""Migrations: made once, under a lock, never backwards, and the same as the models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlmodel import SQLModel
from store_helpers import NOW, enrol

import worker.store.tables  # noqa: F401 - fills the metadata
from worker.errors import Busy, StoreUnusable
from worker.store import migrate
from worker.store.advisory_locks import AdvisoryLocks
from worker.store.changes import Changes
from worker.store.database import Database
from worker.store.freshness import Freshness
from worker.store.locks import FileLocks
from worker.store.profiles import Profiles
from worker.store.records import RunCounts
from worker.store.runs import Runs
from worker.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.crypto.keyring import Keyring
    from worker.crypto.sealing import Sealer
    from worker.store.locks import Locks
    from worker.store.store import Store


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def locks(database: Database, tmp_path: Path) -> Locks:
    """Its locks."""
    return FileLocks(tmp_path / "locks") if database.is_sqlite else AdvisoryLocks(database)


def test_fresh_database_is_brought_to_head(database: Database, locks: Locks) -> None:
    """From nothing."""
    assert migrate.schema_version(database) is None
    assert migrate.upgrade(database, locks)
    assert migrate.schema_version(database) == migrate.HEAD


def test_database_at_head_is_left_alone(database: Database, locks: Locks) -> None:
    """The usual start: nothing to do."""
    migrate.upgrade(database, locks)
    assert not migrate.upgrade(database, locks)


def test_database_at_head_needs_no_lock(database: Database, locks: Locks) -> None:
    """A start does not wait for whoever holds it."""
    migrate.upgrade(database, locks)
    with locks.hold("migration"):
        assert not migrate.upgrade(database, locks)


def test_newer_database_is_refused(database: Database, locks: Locks) -> None:
    """Writing the old shape into a new schema is how grants get lost."""
    migrate.upgrade(database, locks)
    _set_version(database, "9999")
    with pytest.raises(StoreUnusable, match=f"has schema 9999; this program knows schemas up to {migrate.HEAD}"):
        migrate.upgrade(database, locks)


def test_newer_database_is_left_untouched(database: Database, locks: Locks) -> None:
    """Refused is refused."""
    migrate.upgrade(database, locks)
    _set_version(database, "9999")
    with pytest.raises(StoreUnusable):
        migrate.upgrade(database, locks)
    assert migrate.schema_version(database) == "9999"


def test_newer_database_is_refused_at_the_open(store: Store, migrated_url: str, tmp_path: Path, sealer: Sealer) -> None:
    """Before anything is read from it."""
    _set_version(store.database, "9999")
    with pytest.raises(StoreUnusable, match="A newer version of the worker has used it"):
        open_store(migrated_url, tmp_path / "state", sealer, NOW)


def _set_version(database: Database, version: str) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})


def test_head_is_alembics_head() -> None:
    """The constant and the files say the same, and there is one line of migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_migration_files_are_named_for_their_revision() -> None:
    """What "newer" means is read off the file names."""
    for path in (Path(migrate.__file__).parent / "migrations" / "versions").glob("[0-9]*.py"):
        found = re.search(r'^revision = "(\w+)"', path.read_text(), re.MULTILINE)
        assert found
        assert path.name.startswith(f"{found[1]}_")


def test_migrations_make_what_the_models_say(database: Database, locks: Locks) -> None:
    """Autogenerate finds no difference, on this database."""
    migrate.upgrade(database, locks)
    with database.read() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_server_default": True})
        assert compare_metadata(context, SQLModel.metadata) == []


@pytest.mark.parametrize("version", ["0001", "0002"])
def test_older_database_with_data_is_brought_to_head(database: Database, locks: Locks, version: str) -> None:
    """What stands in it stays, and reads as if nothing were known yet of what is new."""
    _make(database, version)
    account = (
        "INSERT INTO account (id, uid, integration, name, state, cause, reason, state_since, created_at)"
        " VALUES (1, 'u', 'arlo', 'acme', 'active', '', '', 1, 1)"
    )
    schedule = (
        "INSERT INTO schedule (job, account_id, next_due, running, first, trigger, attempts, fence, last_success,"
        " parked, parked_scopes) VALUES ('sync', 1, 5, false, false, 'schedule', 0, 3, 4, '', '[]')"
    )
    run = (
        "INSERT INTO run (id, job, account_id, state, trigger, fence, attempt, created_at, finished_at, rows,"
        " requests, refreshes, holder) VALUES ('r', 'sync', 1, 'succeeded', 'schedule', 3, 1, 2, 4, 7, 1, 0, 'me')"
    )
    with database.write() as session:
        for statement in (account, schedule, run):
            session.execute(text(statement))
    assert migrate.upgrade(database, locks)
    found = Runs(database).get("r")
    assert (found.counts, found.note, found.drift) == (RunCounts(7, 1, 0, 0, 0), "", ())
    assert Freshness(database).late(1e12) == []
    assert Profiles(database).of("sync", 1) == {}
    assert Changes(database).list(only_waiting=False) == []


def _make(database: Database, version: str) -> None:
    """The tables as an older program has made them."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    with database.write() as session:
        config.attributes["connection"] = session.connection()
        command.upgrade(config, version)


def test_migration_that_fails_leaves_nothing(database: Database, locks: Locks) -> None:
    """One transaction, DDL and all: a table in the way, and none of ours is made."""
    with database.write() as session:
        session.execute(text("CREATE TABLE timeline (something_else INTEGER)"))
    with pytest.raises(StoreUnusable, match="already exists"):
        migrate.upgrade(database, locks)
    assert migrate.schema_version(database) is None
    with database.read() as session:
        tables = migrate.inspect(session.connection()).get_table_names()
    assert tables == ["timeline"]


def test_migration_under_way_elsewhere_ends_as_busy(
    database: Database, locks: Locks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named, when it does not end in time."""

    class Impatient:
        """The same locks, without patience."""

        def hold(self, name: str, *, patience: float = 0, note: str = ""):
            return locks.hold(name, patience=0, note=note)

    with locks.hold("migration", note="the other one"), pytest.raises(Busy, match=r"migration is held by .*other one"):
        migrate.upgrade(database, Impatient())


def test_processes_that_start_at_once_migrate_once(database_url: str, spawn) -> None:
    """Four of them, on nothing: all open it, one makes the tables."""
    processes = [spawn("open", database_url) for _ in range(4)]
    assert [process.line() for process in processes] == ["ready"] * 4
    for process in processes:
        process.go_on()
    assert [process.line() for process in processes] == ["opened"] * 4


def test_store_opens_with_what_was_stored(store: Store, migrated_url: str, tmp_path: Path, sealer: Sealer) -> None:
    """Close, open, read."""
    grant = enrol(store)
    store.close()
    again = open_store(migrated_url, tmp_path / "state", sealer, NOW)
    assert again.grants.read(grant.account.id) == grant
    again.close()


def test_processes_with_different_new_keys_do_not_both_open(
    database_url: str, keyring: Keyring, other_keyring: Keyring, spawn
) -> None:
    """Two hosts that each made a key called k1 for a new database: one is refused, and nothing is sealed with its."""
    processes = [spawn("open", database_url, ring=ring) for ring in (keyring, other_keyring)]
    assert [process.line() for process in processes] == ["ready"] * 2
    for process in processes:
        process.go_on()
    said = sorted(process.line() for process in processes)
    assert said[0].startswith('KeyUnusable: key "k1" of the keyring is not the key of that name')
    assert said[1] == "opened"
