"""Connections and transactions, for SQLite and PostgreSQL alike.

Durability is the point. A rotated refresh token that was acknowledged and then rolled back by a power loss is a lost
grant, so a commit here is on the disk when it returns: on SQLite `journal_mode=DELETE` with `synchronous=EXTRA` (the
directory is synced after the journal is unlinked; anything less may roll back), on PostgreSQL `synchronous_commit=on`.
WAL is not used: SQLite up to 3.51.2 has a bug that corrupts a WAL database which two processes write and checkpoint at
the same time, and daemon plus command line is exactly that shape (sqlite.org/wal.html, "WAL-reset bug").

Every write transaction says so when it begins (`BEGIN IMMEDIATE`): a deferred one that upgrades fails at once with
SQLITE_BUSY_SNAPSHOT instead of waiting its turn.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, NoResultFound
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.orm import Session

from worker.errors import Busy, StoreUnusable, TryAgainLater, UsageFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL, Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

#: Seconds a transaction waits for another one's lock before it gives up with Busy.
LOCK_WAIT = 30.0
#: Connections kept open; more are opened under load and closed again.
_POOL_SIZE = 8
_POOL_OVERFLOW = 64
#: How a row that a transaction is about to change is read on PostgreSQL: nobody else changes it until then. (SQLite
#: lets one writer in at a time anyway, and leaves the words out.) FOR NO KEY UPDATE, so that others may still refer
#: to it.
LOCKED = {"key_share": True}


class Database:
    """One database. Threads may share it; processes must not (open it after a fork, never before)."""

    def __init__(self, url: str) -> None:
        self.url: URL = _with_driver(make_url(url))
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            create_private_file(self.path)
        self.engine = self._create_engine()
        self._writer = self.engine.execution_options(immediate=True)
        # Threads that write to SQLite queue up here: its own wait for the lock sleeps, up to 100 ms at a time, and the
        # lock lies idle meanwhile.
        self._turn = threading.Lock()

    @property
    def path(self) -> Path:
        """The database file (SQLite only)."""
        if not self.is_sqlite or not self.url.database:
            raise StoreUnusable("this store is not a file")
        return Path(self.url.database)

    @property
    def name(self) -> str:
        """The database for messages, without its password."""
        return str(self.path) if self.is_sqlite else self.url.render_as_string(hide_password=True)

    def _create_engine(self) -> Engine:
        if self.is_sqlite:
            engine = create_engine(
                self.url,
                pool_size=_POOL_SIZE,
                max_overflow=_POOL_OVERFLOW,
                connect_args={"timeout": LOCK_WAIT, "check_same_thread": False},
                hide_parameters=True,
                json_serializer=_to_json,
            )
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        options = f"-c synchronous_commit=on -c lock_timeout={int(LOCK_WAIT * 1000)} -c timezone=UTC"
        return create_engine(
            self.url,
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_OVERFLOW,
            pool_pre_ping=True,
            hide_parameters=True,
            json_serializer=_to_json,
            connect_args={"options": options, "application_name": "headless-worker", "connect_timeout": 10},
        )

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads."""
        with (
            self.errors_told(),
            Session(self.engine, autoflush=False, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that writes: durable when the block ends, undone when it raises."""
        with (
            self._own_turn(),
            self.errors_told(),
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        if not self.is_sqlite:
            yield
            return
        if not self._turn.acquire(timeout=LOCK_WAIT):
            raise Busy(f"{self.name} was being written by another thread for {LOCK_WAIT:.0f} s", hint="worker status")
        try:
            yield
        finally:
            self._turn.release()

    def prove_writable(self) -> None:
        """Commit something durable, before anything is spent that has to be stored. Raises as `write` does."""
        with self.write() as session:
            # Pages are really written: an update that changes nothing is not free on either database.
            session.execute(text("UPDATE key_check SET created_at = created_at"))

    def integrity_faults(self) -> list[str]:
        """What SQLite finds wrong with its file; empty when it is sound. PostgreSQL checks its pages itself."""
        if not self.is_sqlite:
            return []
        with self.read() as session:
            found = session.connection().exec_driver_sql("PRAGMA integrity_check").scalars().all()
            broken = session.connection().exec_driver_sql("PRAGMA foreign_key_check").all()
        return [str(line) for line in found if line != "ok"] + [f"orphaned row in {row[0]}" for row in broken]

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """The driver's errors as ours: Busy, TryAgainLater, StoreUnusable, or UsageFault for what is gone."""
        try:
            yield
        except DBAPIError as error:
            raise self._translate(error) from error
        except PoolExhausted as error:
            raise Busy(f"{self.name}: all {_POOL_SIZE + _POOL_OVERFLOW} connections are in use") from error
        except NoResultFound as error:
            raise UsageFault("the account was removed meanwhile", hint="worker accounts list") from error

    def _translate(self, error: DBAPIError) -> Exception:
        # The statement's parameters are not repeated: they may be anything. The driver's own words are enough.
        words = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        if "is locked" in words or "lock timeout" in words:
            return Busy(f"{self.name} was locked by another process for {LOCK_WAIT:.0f} s", hint="worker status")
        if "deadlock detected" in words:
            return Busy(f"{self.name}: two transactions waited for each other; this one was undone")
        hints = {
            "disk is full": "free some space; nothing that was acknowledged is lost",
            "readonly": "make the file and its folder writable for the user the worker runs as",
            "unable to open": "look at the path and the rights of its folder",
            "malformed": "worker store check; then restore a backup",
            "not a database": "look at store.url: this file is something else",
            "onnect": "look at store.url, and whether the server runs",
        }
        hint = next((text for part, text in hints.items() if part in words), "worker store check")
        refused = any(part in words for part in ("does not exist", "authentication failed", "pg_hba.conf"))
        if "disk is full" in words or ("onnect" in words and not refused):
            # A pause may mend these: a service must not give up on a database that is still starting.
            return TryAgainLater(f"{self.name}: {words}", hint=hint, evidence={"driver": words})
        return StoreUnusable(f"{self.name}: {words}", hint=hint, evidence={"driver": words})


def _with_driver(url: URL) -> URL:
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    return url


def _prepare_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver's own transaction handling is switched off: BEGIN is ours to word.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=DELETE",
        "synchronous=EXTRA",
        "foreign_keys=ON",
        # Deleted and overwritten content is zeroed: old ciphertexts do not linger in free pages.
        "secure_delete=ON",
        "trusted_schema=OFF",
    ):
        cursor.execute(f"PRAGMA {pragma}")
        cursor.fetchall()
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _to_json(value: object) -> str:
    # Evidence comes from outside: what is no JSON value is kept as its text, so that no finding is lost for it.
    return json.dumps(value, default=str)


def storable(words: str) -> str:
    """Words from outside, as every database can keep them: no NUL (PostgreSQL), no lone surrogates (UTF-8)."""
    return words.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def advisory_key(name: str) -> int:
    """The 64-bit number that stands for a name in PostgreSQL's advisory locks."""
    return int.from_bytes(hashlib.sha256(f"headless-worker {name}".encode()).digest()[:8], "big", signed=True)


def alone(session: Session, about: str) -> None:
    """Let no other write transaction about the same thing in until this one ends.

    For rows that may not be there yet, and so cannot be locked. SQLite lets one writer in at a time anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": advisory_key(f"write {about}")})


def create_private_folder(path: Path) -> None:
    """Make a folder (and those above it) that only we may enter, private from its first moment on."""
    try:
        for folder in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreUnusable(f"{error.filename or path} cannot be made: {error.strerror}") from None


def create_private_file(path: Path) -> None:
    """Make an empty file that only we may read, private from its first moment on; an existing one is checked.

    Raises StoreUnusable when others may read it: then it was not made by us, and what is in it is no secret any more;
    and when it belongs to another user.
    """
    create_private_folder(path.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        _refuse_public(path)
    except OSError as error:
        raise StoreUnusable(
            f"{path} cannot be made: {error.strerror}", hint="look at store.url and the rights of the folder"
        ) from None


def _refuse_public(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be opened: {error.strerror}", hint="look at store.url") from None
    mode = status.st_mode
    if not stat.S_ISREG(mode):
        raise StoreUnusable(f"{path} is not a file", hint="look at store.url")
    if status.st_uid != os.geteuid():
        # Root could open it, and would leave locks and journals beside it that the other user then cannot open.
        raise StoreUnusable(
            f"{path} belongs to user {status.st_uid}; this command runs as user {os.geteuid()}",
            hint=f"run it as that user: sudo -u '#{status.st_uid}' worker …; for a systemd service: docs/deployment.md",
        )
    if mode & 0o077:
        raise StoreUnusable(
            f"{path} has mode {stat.S_IMODE(mode):04o}: other users of this machine can read or write it",
            hint=f"chmod 600 {path}",
        )


def row_count(result: Any) -> int:
    """How many rows an UPDATE or DELETE touched."""
    return int(result.rowcount)
