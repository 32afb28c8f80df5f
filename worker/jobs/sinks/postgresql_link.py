"""The way to the server: a connection that is made anew after it was lost, and transactions on it.

A job may read pages for an hour between two checkpoints, long enough for a firewall to forget the connection or for a
server to be restarted. So a lost connection is no fault of the run: what was under way is done again on a new one. The
URL is read again when the server refuses it, for passwords that are changed or that live for minutes only.

Settings are made inside each transaction, so that a connection pooler between us and the server (PgBouncer in
transaction mode) is no hindrance; for the same reason nothing is prepared.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from worker.errors import Misconfigured
from worker.jobs.sinks.postgresql_faults import ConnectionLost, Crossed, of_connecting, of_statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Connection = psycopg.Connection[tuple[Any, ...]]

_Answer = TypeVar("_Answer")
#: Unless the URL says otherwise. Seconds until a server that does not answer counts as gone, also in the middle.
_DEFAULTS: dict[str, str] = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "tcp_user_timeout": "60000",
    "application_name": "headless-worker",
}
#: A checkpoint of a million rows takes about as long as others wait; a process that stands still in the middle of a
#: transaction loses it, and with it its locks. What was acknowledged must be durable, whatever the role's default.
_SETTINGS = """
SET LOCAL lock_timeout = '60s'; SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL extra_float_digits = 1;
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'
"""
#: Seconds before each further try: a server restarts in two or three.
_PAUSES = (0.1, 1.0, 3.0)


class Server:
    """Where to connect to. Safe to use from several threads."""

    def __init__(self, name: str, read_url: Callable[[], str]) -> None:
        #: What the server is called in messages: `sinks.warehouse`.
        self.name = name
        self._read_url = read_url
        self._url: str | None = None

    def connect(self) -> Connection:
        """A new connection. Raises Misconfigured when the server refuses it, ConnectionLost when it is not reached."""
        known = self._url
        url = known or self._read_url()
        try:
            connection = self._connect(url)
        except Misconfigured:
            fresh = self._read_url() if known else url
            if fresh == url:
                raise
            url, connection = fresh, self._connect(fresh)
        self._url = url
        return connection

    def _connect(self, url: str) -> Connection:
        try:
            options = conninfo_to_dict(url)
        except psycopg.Error:  # its message holds what it could not read, which may be the password
            raise Misconfigured(
                f"{self.name}: the URL is malformed", hint='write "postgresql://USER@HOST/DATABASE"'
            ) from None
        text = make_conninfo(
            "", **_DEFAULTS | {name: str(value) for name, value in options.items()} | {"client_encoding": "utf8"}
        )
        try:
            return psycopg.connect(text, autocommit=True, prepare_threshold=None)
        except psycopg.Error as error:
            raise of_connecting(error, self.name) from None


class Link:
    """One run's connection. Not safe to use from several threads."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._connection: Connection | None = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing, durable at its end. Raises ConnectionLost, Crossed, Busy, Misconfigured, WorkerError."""
        if self._connection is None or self._connection.closed:
            self._connection = self.server.connect()
        connection = self._connection
        try:
            with connection.transaction():
                connection.execute(_SETTINGS)
                yield connection
        except psycopg.Error as error:
            broken = bool(connection.closed)
            if broken:
                self.close()
            raise of_statement(error, self.server.name, broken=broken) from None

    def close(self) -> None:
        """Let go; may be called twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def patiently(attempt: Callable[[], _Answer]) -> _Answer:
    """Do it again when the connection was lost or another transaction crossed; the last fault comes out."""
    for pause in _PAUSES:
        with contextlib.suppress(ConnectionLost, Crossed):
            return attempt()
        time.sleep(pause)
    return attempt()
