"""PostgreSQL session advisory locks, each on a connection of its own (so no transaction pooler in between).

See `locks.py` for what they promise, and for the one thing that they cannot.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from worker.errors import Busy
from worker.store.database import advisory_key
from worker.store.locks import FIRST_PAUSE, LONGEST_PAUSE, PATIENCE, process_note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from worker.store.database import Database

#: PostgreSQL cuts an application name there.
_NAME_BYTES = 63
#: Both sides find out within two minutes that the other machine is gone; the system's own setting is two hours, for
#: which a lock would outlive a machine that has lost its power.
_IDLE, _INTERVAL, _PROBES = 60, 10, 6
_KEEPALIVE = {"keepalives_idle": _IDLE, "keepalives_interval": _INTERVAL, "keepalives_count": _PROBES}
_SERVERS_KEEPALIVE = (
    f"-c tcp_keepalives_idle={_IDLE} -c tcp_keepalives_interval={_INTERVAL} -c tcp_keepalives_count={_PROBES}"
)
#: Seconds for which a holder may be at work at least after its session has ended: for an ordinary token request, and
#: for the store in the end.
OUTLIVES = PATIENCE
#: Seconds that holders are given to take their locks again after the server has been started: they try every ten.
RENEWAL = 30.0


class AdvisoryLocks:
    """The locks of one process. Threads may share it."""

    def __init__(self, database: Database, *, renewal: float = RENEWAL) -> None:
        self._database = database
        self._renewal = renewal
        self._engine = create_engine(
            database.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={
                "application_name": "headless-worker lock",
                "connect_timeout": 10,
                "options": _SERVERS_KEEPALIVE,
                **_KEEPALIVE,
            },
        )
        #: What this process holds; threads are kept apart by the second, with the server or without.
        self._held: dict[str, _Held] = {}
        self._taken: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, name: str, *, patience: float = PATIENCE, note: str = "") -> Iterator[None]:
        """See Locks."""
        deadline = time.monotonic() + patience
        with self._among_threads(name, deadline):
            with self._database.errors_told():
                self._held[name] = _Held(note, *self._acquire(name, deadline, note))
            try:
                yield
            finally:
                self._release(name)

    def renew(self, name: str) -> None:
        """See Locks."""
        held = self._held.get(name)
        if held is None:
            raise _busy(name, "another thread")
        if held.connection is not None and not held.still():
            held.close()
        if held.connection is None:
            with self._database.errors_told():
                held.connection, held.session = self._acquire(name, time.monotonic(), held.note)

    def may_outlive(self, since: float, now: float, longest: float) -> float:
        """See Locks: as long as his request may take, and until holders have found out about a new server."""
        query = text("SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())")
        with self._database.read() as session:
            server_age = float(session.execute(query).scalar_one())
        return max(since + max(longest, OUTLIVES) - now, self._renewal - server_age, 0.0)

    @contextmanager
    def _among_threads(self, name: str, deadline: float) -> Iterator[None]:
        with self._changed:
            if not self._changed.wait_for(lambda: name not in self._taken, max(deadline - time.monotonic(), 0)):
                holder = self._held.get(name)
                raise _busy(name, (holder and holder.note) or process_note())
            self._taken.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._taken.remove(name)
                self._changed.notify_all()

    def _acquire(self, name: str, deadline: float, note: str) -> tuple[Connection, int]:
        connection = self._engine.connect()
        try:
            _wait_for(connection, name, deadline)
            name_it = text("SELECT set_config('application_name', :name, false)")
            connection.execute(name_it, {"name": session_name(note)})
            return connection, _session(connection)
        except BaseException:
            connection.close()
            raise

    def _release(self, name: str) -> None:
        held = self._held.pop(name)
        if held.connection is not None and held.still():
            # The end of the session would free it as well, but in the server's own time: the next one may ask at once.
            with suppress(SQLAlchemyError):
                held.connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": advisory_key(name)})
        held.close()


@dataclass
class _Held:
    """A lock that this process holds, or has held until its session ended."""

    note: str
    #: None: the session has ended, and the lock with it.
    connection: Connection | None
    #: The server's process behind it. A connection that breaks is made anew by SQLAlchemy, without the lock.
    session: int

    def still(self) -> bool:
        """Whether the session that took the lock is alive."""
        try:
            return self.connection is not None and _session(self.connection) == self.session
        except SQLAlchemyError:
            return False

    def close(self) -> None:
        """End the session, as far as it has not ended."""
        if self.connection is not None:
            with suppress(SQLAlchemyError):
                self.connection.close()
            self.connection = None


def session_name(note: str) -> str:
    """What the session of a holder with this note is called on the server."""
    told = f"headless-worker: {note or process_note()}"
    return told.encode()[:_NAME_BYTES].decode(errors="ignore")


def _session(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def _wait_for(connection: Connection, name: str, deadline: float) -> None:
    key = advisory_key(name)
    pause = FIRST_PAUSE
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar_one():
        if time.monotonic() >= deadline:
            raise _busy(name, _holder(connection, key))
        time.sleep(min(pause, max(deadline - time.monotonic(), 0)))
        pause = min(pause * 2, LONGEST_PAUSE)


def _busy(name: str, holder: str) -> Busy:
    return Busy(f"{name} is held by {holder}", evidence={"lock": name, "holder": holder})


def _holder(connection: Connection, key: int) -> str:
    query = text(
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND ((l.classid::bigint << 32) | l.objid::bigint) = :key"
    )
    name = connection.execute(query, {"key": key}).scalar()
    return str(name or "another session")
