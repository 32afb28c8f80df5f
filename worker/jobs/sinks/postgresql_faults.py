"""What the server or the way to it says, as what happens next: wait, or change something. One sentence each.

By the codes (postgresql.org/docs/current/errcodes-appendix.html), not by the words: those are for people, and in the
server's language. Only when no connection could be made are there words alone. A row's values are never repeated: they
stand in the server's detail, and only its primary message is taken over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import Busy, Misconfigured, TryAgainLater, WorkerError

if TYPE_CHECKING:
    import psycopg


class ConnectionLost(TryAgainLater):
    """The server was not reached, or no longer: if it was during a commit, its outcome is unknown."""


class Crossed(Busy):
    """Two transactions were in each other's way, and this one was undone."""


#: Classes and codes that a pause mends: connections, resources (53100 is a full disk, 53300 too many connections),
#: a restart (57P01 to 57P03), system errors; 25P03 and 57P05 are sessions that idled too long.
_LOST = ("08", "57P", "25P03")
_PASSING = ("53", "57", "58")
_CROSSED = frozenset({"40P01", "40001"})
_LOCKED = "55P03"
#: What an operator must change: standby or default_transaction_read_only, rights, login, database, view on a column.
_WRONG = ("25006", "42501", "28", "3D000", "3F000", "0A000")
_HINTS = {
    "25006": "the server is a standby, or default_transaction_read_only is on: name the primary in the URL, or several "
    "hosts with target_session_attrs=read-write",
    "42501": "give the role CREATE and USAGE on the schema and TEMPORARY on the database; tables must be its own",
    "0A000": "drop the views on this table, let the job run, and make them again",
    "53100": "make room on the server; the next run goes on by itself",
    "53300": "raise max_connections, or lower worker.concurrency: each run holds one connection",
    "57014": "raise statement_timeout for this role; the next run tries again",
    _LOCKED: "end what holds the lock: SELECT * FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
}
#: What a server says when it turns a connection away for good; libpq gives no code then.
_REFUSED = (
    "does not exist",
    "authentication failed",
    "pg_hba.conf",
    "permission denied",
    "not permitted",
    "no password",
)


def of_statement(error: psycopg.Error, name: str, *, broken: bool) -> WorkerError:
    """An error of a statement or a commit; `broken`: the connection is gone with it."""
    state = error.sqlstate or ""
    words = error.diag.message_primary or _first_line(error)
    hint = _HINTS.get(state, "")
    if broken or state.startswith(_LOST):
        return ConnectionLost(f"{name}: the connection was lost: {words}", hint="look whether the server runs")
    if state in _CROSSED:
        return Crossed(f"{name}: {words}")
    if state == _LOCKED:
        return Busy(f"{name}: {words}", hint=hint)
    if state.startswith(_PASSING):
        return TryAgainLater(f"{name}: {words}", hint=hint)
    if state.startswith(_WRONG):
        return Misconfigured(f"{name}: {words}", hint=hint)
    return WorkerError(f"{name}: {words}", hint=hint, evidence={"code": state})


def of_connecting(error: psycopg.Error, name: str) -> WorkerError:
    """No connection could be made."""
    words = _first_line(error).removeprefix("connection failed: ")
    if any(part in words for part in _REFUSED):
        return Misconfigured(f"{name}: {words}", hint=f"look at {name}.url, and whether the role may log in")
    return ConnectionLost(f"{name}: {words}", hint=f"look at {name}.url, and whether the server runs")


def _first_line(error: psycopg.Error) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
