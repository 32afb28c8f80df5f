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
import secrets
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, NoResultFound
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.orm import Session

from worker.errors import Busy, StoreUnusable, TryAgainLater, UsageFault
from worker.store.anchor import Anchor
from worker.store.driver_errors import MOST_CONNECTIONS, is_damage, of_postgresql, of_sqlite
from worker.store.files import create_private_file
from worker.store.ground import refuse_foreign_files
from worker.store.presence import Presence
from worker.store.quick_check import quick_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import URL, Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from worker.errors import WorkerError

#: Seconds a transaction waits for another one's lock before it gives up with Busy.
LOCK_WAIT = 30.0
#: What is set on every connection.
_PRAGMAS = (
    # Also switches a file back that another program has put into WAL mode, after a checkpoint of its log; while that
    # program has it open, this fails as locked.
    "journal_mode=DELETE",
    "synchronous=EXTRA",
    "foreign_keys=ON",
    # Deleted and overwritten content is zeroed: old ciphertexts do not linger in free pages.
    "secure_delete=ON",
    "trusted_schema=OFF",
)
_DAMAGE_HINT = "restore a backup: worker store restore FILE"
#: Connections kept open; more are opened under load and closed again.
_POOL_SIZE = 8
_POOL_OVERFLOW = MOST_CONNECTIONS - _POOL_SIZE
#: How a row that a transaction is about to change is read on PostgreSQL: nobody else changes it until then. (SQLite
#: lets one writer in at a time anyway, and leaves the words out.) FOR NO KEY UPDATE, so that others may still refer
#: to it.
LOCKED = {"key_share": True}


class Database:
    """One database. Threads may share it; processes must not (open it after a fork, never before)."""

    def __init__(self, url: str, *, lock_wait: float = LOCK_WAIT) -> None:
        """`lock_wait` is in seconds. Raises StoreUnusable or TryAgainLater for what is wrong with the file."""
        self.url: URL = _with_driver(make_url(url))
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._lock_wait = lock_wait
        self._anchor: Anchor | None = None
        #: Our share of the file, if it is one that a restore may want to replace.
        self._presence: Presence | None = None
        if self.is_sqlite:
            create_private_file(self.path)
            refuse_foreign_files(self.path)
            self._anchor = Anchor(self.path)
        self.engine = self._create_engine()
        self._writer = self.engine.execution_options(immediate=True)
        # Threads that write to SQLite queue up here: its own wait for the lock sleeps, up to 100 ms at a time, and the
        # lock lies idle meanwhile.
        self._turn = threading.Lock()
        #: Told of every transaction that failed for want of a disk, a sound file or a server.
        self.on_fault: Callable[[WorkerError], None] = lambda _error: None
        #: What was found when the database turned out to be damaged; empty while it is sound.
        self._damage = ""

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
                connect_args={"timeout": self._lock_wait, "check_same_thread": False},
                hide_parameters=True,
                json_serializer=_to_json,
            )
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        options = f"-c synchronous_commit=on -c lock_timeout={int(self._lock_wait * 1000)} -c timezone=UTC"
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
        """A transaction that only reads.

        Refused once the database has turned out to be damaged: nothing new may be begun with it, while tokens that
        were given already may still try to be stored.
        """
        with self._faults_told():
            if self._damage:
                raise StoreUnusable(f"{self.name} is damaged: {self._damage}", hint=_DAMAGE_HINT)
            with self._reading() as session:
                yield session

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        self._hold_file()
        with (
            self.errors_told(),
            Session(self.engine, autoflush=False, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that writes: durable when the block ends, undone when it raises."""
        with self._faults_told():
            self._hold_file()
            with (
                self._own_turn(),
                self.errors_told(),
                Session(self._writer, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session
            # Taken away between BEGIN and COMMIT: what was committed stands in the copy that is saved now.
            self._hold_file()

    @contextmanager
    def _faults_told(self) -> Iterator[None]:
        try:
            yield
        except (TryAgainLater, StoreUnusable) as error:
            if not isinstance(error, Busy):
                self.on_fault(error)
            raise

    def take_share(self) -> None:
        """Take our share of the file, so that no restore replaces it. Raises StoreUnusable while one does."""
        self._presence = Presence(self.path)
        if self._anchor is not None:
            # One may have ended since the file was looked at first.
            self._anchor.take_anew()

    def _hold_file(self) -> None:
        if self._anchor is not None:
            self._anchor.hold(self.engine.dispose)

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        if not self.is_sqlite:
            yield
            return
        if not self._turn.acquire(timeout=self._lock_wait):
            raise Busy(
                f"{self.name} was being written by another thread for {self._lock_wait:g} s", hint="worker status"
            )
        try:
            yield
        finally:
            self._turn.release()

    def prove_writable(self) -> None:
        """Commit something durable, before anything is spent that has to be stored. Raises as `write` does."""
        name = {"name": secrets.token_hex(8)}
        with self.write() as session:
            # Something has to change: SQLite writes no page for an update to what stands there already.
            session.execute(
                text(
                    "INSERT INTO client_secret (integration, name, sealed_value, generation, updated_at)"
                    " VALUES ('', :name, :nothing, 0, 0)"
                ),
                {**name, "nothing": b""},
            )
            session.execute(text("DELETE FROM client_secret WHERE integration = '' AND name = :name"), name)

    def integrity_faults(self) -> list[str]:
        """What SQLite finds wrong with its file; empty when it is sound. PostgreSQL checks its pages itself."""
        if not self.is_sqlite:
            return []
        try:
            found, orphans = self._asked("PRAGMA integrity_check"), self._asked("PRAGMA foreign_key_check")
        except StoreUnusable as error:
            return self._faults_by_table() or [error.message]
        return [line for line in found if line != "ok"] + [f"orphaned row in {table}" for table in orphans]

    def _faults_by_table(self) -> list[str]:
        """Which tables are damaged: a look at the whole file breaks off at the first page that is none."""
        faults: list[str] = []
        with suppress(StoreUnusable):
            for table in self._asked("SELECT name FROM sqlite_master WHERE type = 'table'"):
                try:
                    found = self._asked(f'PRAGMA integrity_check("{table}")')
                except StoreUnusable as error:
                    found = [str(error.evidence.get("driver", error.message))]
                faults += [f"{table}: {line}" for line in found if line != "ok"]
        return faults

    def _asked(self, query: str) -> list[str]:
        """The first column of what SQLite answers."""
        with self._reading() as session:
            return [str(value) for value in session.connection().exec_driver_sql(query).scalars()]

    def refuse_damaged(self) -> None:
        """Look the file over, at a cost that does not grow with it beyond a point. Raises StoreUnusable.

        The whole look is `integrity_faults`.
        """
        with self.read() as session:
            if not self.is_sqlite:
                return
            faults = quick_faults(session.connection())
        if faults:
            self._damage = faults[0]
            error = StoreUnusable(f"{self.name} is damaged: {'; '.join(faults[:3])}", hint=_DAMAGE_HINT)
            self.on_fault(error)
            raise error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        if self._presence is not None:
            self._presence.end()
        if self._anchor is not None:
            # Whoever opens it again takes what stands there then: a backup may have been put back.
            self._anchor.take_anew()

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """The driver's errors as ours: Busy, TryAgainLater, StoreUnusable, or UsageFault for what is gone."""
        try:
            yield
        except DBAPIError as error:
            if is_damage(error.orig):
                self._damage = str(error.orig)
            raise self._translate(error) from error
        except PoolExhausted as error:
            raise Busy(f"{self.name}: all {MOST_CONNECTIONS} connections are in use") from error
        except NoResultFound as error:
            raise UsageFault("the account was removed meanwhile", hint="worker accounts list") from error

    def _translate(self, error: DBAPIError) -> Exception:
        if not self.is_sqlite:
            return of_postgresql(error.orig, self.name, self._lock_wait)
        self._hold_file()
        found = of_sqlite(error.orig, self.path, self._lock_wait)
        if isinstance(found, Busy):
            # Should another program have switched the file to WAL: it can be switched back once nobody has it open.
            self.engine.dispose()
        return found


def _with_driver(url: URL) -> URL:
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    return url


def _prepare_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver's own transaction handling is switched off: BEGIN is ours to word.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
            cursor.fetchall()
        cursor.close()
    except BaseException:
        # Nobody else does, and one that stays open keeps a file in WAL mode.
        cursor.close()
        connection.close()
        raise


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


def row_count(result: Any) -> int:
    """How many rows an UPDATE or DELETE touched."""
    return int(result.rowcount)
