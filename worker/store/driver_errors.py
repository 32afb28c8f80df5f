"""What the two drivers raise, as what happens next: wait, or change something. One sentence each, with what to do.

By the codes (sqlite.org/rescode.html; PostgreSQL, appendix A), not by the words: those are for people. Only when a
connection could not be made at all are there words alone. The statement's parameters are not repeated: they may be
anything.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from typing import TYPE_CHECKING

from worker.errors import Busy, StoreUnusable, TryAgainLater, WorkerError
from worker.store.files import file_fault
from worker.store.ground import log_of
from worker.store.holders import holders_of

if TYPE_CHECKING:
    from pathlib import Path

#: Connections that one process opens at most.
MOST_CONNECTIONS = 72
_PRIMARY = 0xFF
#: SQLSTATE classes and codes that a pause mends: connections, resources (53100 is a full disk), intervention (a
#: restart), system errors (58030 is EIO); 25P03 and 57P05 are sessions that idled too long.
_PASSING = ("08", "53", "57", "58", "25P03")
#: … and those by which two transactions are in each other's way.
_BUSY = {
    "55P03": "was locked by another process for {wait:.0f} s",
    "40P01": ": two transactions waited for each other; this one was undone",
    "40001": ": two transactions were in each other's way; this one was undone",
}
_HINTS = {
    "25006": "the server is a standby, or default_transaction_read_only is on: look at store.url",
    "42501": "give the role of store.url its rights on the tables",
    "53100": "free some space on the server; nothing that was acknowledged is lost",
    "42P01": "worker store migrate",
    "42703": "worker store migrate",
    "53300": f"raise max_connections of the server or the role's limit; the daemon takes up to {MOST_CONNECTIONS}",
    "XX001": "the server's files are damaged: restore a backup",
    "XX002": "an index of the server is damaged: REINDEX, or restore a backup",
}
_WHO = "wait, or see who holds it: SELECT * FROM pg_stat_activity"
_DAMAGED = frozenset({"XX001", "XX002"})
#: What a server says when it turns a connection away for good; libpq gives no code then.
_REFUSED = ("does not exist", "authentication failed", "pg_hba.conf", "permission denied", "not permitted")
#: psycopg's classes (PEP 249) for what has no code from the server.
_CONNECTION = frozenset({"OperationalError", "ConnectionTimeout", "InterfaceError"})
_CROWDED = ("too many", "connection slots")


def is_damage(error: object) -> bool:
    """Whether the database's files are damaged: nothing may go on with them."""
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or _state(error) in _DAMAGED


def of_sqlite(error: object, path: Path, wait: float) -> WorkerError:
    """An error of SQLite's. `wait` is how long it waited for a lock, in seconds."""
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    words = _words(error)
    evidence = {"driver": words, "code": getattr(error, "sqlite_errorname", "")}
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        if log_of(path).exists():
            return Busy(
                f"{path} is in WAL mode and in use by another program, so it cannot be switched back",
                hint=f"end that program (fuser {path}), then: worker store check",
                evidence=evidence,
            )
        return Busy(
            f"{path} was locked by {holders_of(path)} for {wait:g} s",
            hint=f"wait, or see who uses it: fuser -v {path}",
            evidence=evidence,
        )
    if code == sqlite3.SQLITE_FULL or "disk is full" in words:
        hint = "free some space; nothing that was acknowledged is lost"
        return TryAgainLater(f"{path}: the disk is full ({words})", hint=hint, evidence=evidence)
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM}:
        return _of_disk(code, path, words, evidence)
    hints = {
        sqlite3.SQLITE_CORRUPT: "restore a backup: worker store restore FILE",
        sqlite3.SQLITE_NOTADB: "look at store.url: this file is something else",
    }
    return StoreUnusable(f"{path}: {words}", hint=hints.get(code, "worker store check"), evidence=evidence)


def _of_disk(code: int, path: Path, words: str, evidence: dict[str, object]) -> WorkerError:
    """SQLite does not say why it could not open, make or write a file: the same is tried without it."""
    cause = _obstacle(path)
    if cause is not None:
        found = file_fault(cause, f"{path}: {words}, for in {path.parent} no journal can be made", _WRITABLE)
        found.evidence.update(evidence)
        return found
    if code == sqlite3.SQLITE_IOERR:
        hint = "look at the disk and at quotas (dmesg); nothing that was acknowledged is lost"
        return TryAgainLater(f"{path}: {words}", hint=hint, evidence=evidence)
    if code == sqlite3.SQLITE_CANTOPEN and os.access(path, os.R_OK | os.W_OK):
        return TryAgainLater(f"{path}: {words}", hint="look at the limits of this process (ulimit -n)")
    return StoreUnusable(f"{path}: {words}", hint=_WRITABLE, evidence=evidence)


_WRITABLE = "make the file and its folder writable for the user the worker runs as"


def _obstacle(path: Path) -> OSError | None:
    """What keeps a file from being made in the database's folder; None when nothing does."""
    folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120 - as realpath answers it
    try:
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return OSError(errno.EROFS, os.strerror(errno.EROFS))
        # A name of its own: two threads may try at the same time.
        trial = os.path.join(folder, f".{path.name}.{threading.get_native_id()}")  # noqa: PTH118 - as above
        os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        os.unlink(trial)  # noqa: PTH108 - as above
    except OSError as error:
        return error
    return None


def of_postgresql(error: object, name: str, wait: float) -> WorkerError:
    """An error of PostgreSQL's, or of the way to it. `wait` is how long it waited for a lock, in seconds."""
    words, state = _words(error), _state(error)
    evidence: dict[str, object] = {"driver": words, "code": state}
    if state in _BUSY:
        said = _BUSY[state].format(wait=wait)
        return Busy(f"{name}{'' if said.startswith(':') else ' '}{said}", hint=_WHO, evidence=evidence)
    hint = _HINTS.get(state, "worker store check")
    if state.startswith(_PASSING):
        return TryAgainLater(f"{name}: {words}", hint=hint if state in _HINTS else _SERVER, evidence=evidence)
    # Without a code it is the connection: it was not made, or it broke.
    if not state and type(error).__name__ in _CONNECTION:
        refused = any(part in words for part in _REFUSED)
        kind = StoreUnusable if refused else TryAgainLater
        crowded = any(part in words for part in _CROWDED)
        hint = _HINTS["53300"] if crowded else _SERVER
        return kind(f"{name}: {words}", hint=hint, evidence=evidence)
    return StoreUnusable(f"{name}: {words}", hint=hint, evidence=evidence)


_SERVER = "look at store.url, and whether the server runs"


def _state(error: object) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def _words(error: object) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
