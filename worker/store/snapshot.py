"""A quick look at the store for `worker status`: plain SQL on the driver, without SQLAlchemy.

Loading the object mapper takes longer than all of these queries together, and an operator who watches a screen, or a
probe that asks every few seconds, needs none of it. Reads only; opens nothing sealed.
"""

from __future__ import annotations

import json
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from worker.errors import StoreUnusable, TryAgainLater
from worker.states import RunState
from worker.store.driver_errors import of_postgresql, of_sqlite
from worker.store.files import lock_folder, look_at, refuse_fresh_start
from worker.store.locks import holder_of, run_lock
from worker.store.records import OVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from worker.errors import WorkerError

#: Seconds to wait for a writer.
LOCK_WAIT = 10
#: SQLite's code for what the statement itself is about: a table that is not there.
_ANY_ERROR = 1
_COUNTS = "SELECT state, count(*) FROM account GROUP BY state ORDER BY state"
_TROUBLED = (
    "SELECT integration, name, state, cause, reason, state_since FROM account"
    " WHERE state <> 'active'"
    " ORDER BY CASE state WHEN 'needs_consent' THEN 0 WHEN 'in_doubt' THEN 1 ELSE 2 END, state_since LIMIT ?"
)
_FAILING = (
    "SELECT a.integration, a.name, g.failures, g.failing_since, g.not_before, g.alerted_at,"
    " (SELECT t.message FROM timeline t WHERE t.account_id = a.id AND t.kind IN ('refresh_failed', 'state')"
    " ORDER BY t.id DESC LIMIT 1) FROM grant_ g"
    " JOIN account a ON a.id = g.account_id WHERE g.failures > 0 ORDER BY g.failing_since LIMIT ?"
)
#: Jobs that have failed every time for a while, of accounts that could be worked for.
_FAILING_JOBS = (
    "SELECT s.job, a.integration, a.name, s.failures, s.failing_since, s.last_success, s.next_due,"
    " (SELECT r.error FROM run r WHERE r.job = s.job AND r.account_id = s.account_id"
    " AND r.state IN ('failed', 'timed_out') ORDER BY r.id DESC LIMIT 1)"
    " FROM schedule s JOIN account a ON a.id = s.account_id"
    " WHERE s.failures >= 3 AND a.state IN ('active', 'in_doubt') ORDER BY s.failing_since LIMIT ?"
)
_INCIDENTS = (
    "SELECT integration, kind, opened_at, last_at, occurrences, cause, remedy FROM incident"
    " WHERE closed_at IS NULL ORDER BY opened_at LIMIT ?"
)
_SCHEDULE = (
    "SELECT s.job, min(s.next_due), max(s.last_started), min(s.last_success), count(*),"
    " sum(CASE WHEN s.running THEN 1 ELSE 0 END), sum(CASE WHEN s.parked <> '' THEN 1 ELSE 0 END)"
    " FROM schedule s WHERE s.next_due IS NOT NULL GROUP BY s.job ORDER BY s.job LIMIT ?"
)
#: Jobs run for a window of time (`worker.jobs.window`) that have not come to its end.
_BACKFILLS = (
    "SELECT s.job, s.account_id, a.integration, a.name, s.running, s.last_started"
    " FROM schedule s JOIN account a ON a.id = s.account_id"
    " WHERE replace(s.job, '@', '') <> s.job AND s.last_started IS NOT NULL"
    " AND (s.last_success IS NULL OR s.last_success < s.last_started) ORDER BY s.last_started DESC LIMIT ?"
)
#: Routes that have not taken everything, and nothing since they were given up on.
_ROUTES = (
    "SELECT d.route, count(*), min(n.created_at), max(d.attempts),"  # noqa: S608 - a constant of ours
    " max(d.last_error) FROM delivery d"
    " JOIN notification n ON n.id = d.notification_id WHERE d.delivered_at IS NULL"
    f" AND d.last_error <> '{OVER}' AND NOT EXISTS"
    " (SELECT 1 FROM delivery t WHERE t.route = d.route AND t.delivered_at > d.given_up_at)"
    " GROUP BY d.route ORDER BY d.route LIMIT ?"
)
_OUTBOX = (
    "SELECT n.uid, n.created_at, n.event, n.integration, n.account, n.facts, d.route, d.delivered_at, d.given_up_at,"
    " d.attempts, d.last_error FROM (SELECT * FROM notification ORDER BY id DESC LIMIT ?) n"
    " LEFT JOIN delivery d ON d.notification_id = n.id ORDER BY n.id DESC, d.route"
)
_LAST_RUNS = (
    "SELECT r.id, r.job, r.account_id, a.integration, a.name, r.state, r.started_at, r.finished_at, r.rows,"
    " r.error, r.note FROM run r"
    " JOIN account a ON a.id = r.account_id ORDER BY r.id DESC LIMIT ?"
)
_STILL_RUNNING = "SELECT id FROM run WHERE state = 'running'"
_HELD = (
    "SELECT h.uid, h.job, a.integration, a.name, h.table_name, h.gone, h.present, h.reason, h.held_at"
    " FROM held_change h JOIN account a ON a.id = h.account_id WHERE h.state = 'held' ORDER BY h.id LIMIT ?"
)
#: Since when a success is expected: from the last one on, from the first look, from a consent or the end of a pause.
_BEGUN = (
    "CASE WHEN coalesce(s.last_success, s.expected_since) > a.state_since"
    " THEN coalesce(s.last_success, s.expected_since) ELSE a.state_since END"
)
#: As `Freshness.late` has it.
LATE = (
    f"SELECT s.job, a.integration, a.name, s.last_success, {_BEGUN} + s.late_after, s.failures"  # noqa: S608
    " FROM schedule s JOIN account a ON a.id = s.account_id"
    " WHERE s.next_due IS NOT NULL AND s.parked = '' AND a.state IN ('active', 'in_doubt')"
    f" AND coalesce(s.last_success, s.expected_since) IS NOT NULL AND {_BEGUN} + s.late_after < ?"
    " ORDER BY 5 LIMIT ?"
)
_FIELDS = {
    "troubled": ("integration", "account", "state", "cause", "reason", "state_since"),
    "failing": ("integration", "account", "failures", "failing_since", "not_before", "alerted_at", "last_answer"),
    "failing_jobs": (
        "job",
        "integration",
        "account",
        "failures",
        "failing_since",
        "last_success",
        "next_due",
        "last_error",
    ),
    "incidents": ("integration", "kind", "opened_at", "last_at", "occurrences", "cause", "remedy"),
    "jobs": ("job", "next_due", "last_started", "oldest_success", "accounts", "running", "parked"),
    "held": ("id", "job", "integration", "account", "table", "rows", "present", "reason", "held_at"),
    "late": ("job", "integration", "account", "last_success", "late_since", "failures"),
    "backfills": ("job", "account_id", "integration", "account", "running", "last_started"),
    "routes": ("route", "waiting", "oldest", "attempts", "last_error"),
    "last_runs": (
        "id",
        "job",
        "account_id",
        "integration",
        "account",
        "state",
        "started_at",
        "finished_at",
        "rows",
        "error",
        "note",
    ),
}
_DELIVERY = ("route", "delivered_at", "given_up_at", "attempts", "last_error")
_QUERIES = {
    "troubled": _TROUBLED,
    "failing": _FAILING,
    "failing_jobs": _FAILING_JOBS,
    "incidents": _INCIDENTS,
    "jobs": _SCHEDULE,
    "held": _HELD,
    "backfills": _BACKFILLS,
    "routes": _ROUTES,
    "last_runs": _LAST_RUNS,
}


def take(
    url: str, path: Path | None, limit: int, *, lock_wait: float = LOCK_WAIT, now: float | None = None
) -> dict[str, Any]:
    """Accounts by state, accounts in trouble, what is late or held, jobs and the last runs; at most `limit` of each.

    Times are seconds since the epoch. Raises StoreUnusable when there is no database, or none of ours,
    and what `driver_errors` makes of anything else that is wrong with the file.
    """
    with connected(url, path, lock_wait) as ask:
        counts = dict(ask(_COUNTS, ()))
        found: dict[str, Any] = {"accounts": {str(state): int(count) for state, count in counts.items()}}
        for name, query in _QUERIES.items():
            found[name] = [dict(zip(_FIELDS[name], row, strict=True)) for row in ask(query, (limit,))]
        late = ask(LATE, (time.time() if now is None else now, limit))
        return found | {"late": [dict(zip(_FIELDS["late"], row, strict=True)) for row in late]}


def outbox(url: str, path: Path | None, limit: int) -> list[dict[str, Any]]:
    """What people were told or are to be told, newest first, each with what became of it on the routes that tried.

    Times are seconds since the epoch. Raises StoreUnusable as `take` does.
    """
    told: dict[str, dict[str, Any]] = {}
    with connected(url, path, LOCK_WAIT) as ask:
        for uid, created_at, event, integration, account, facts, *delivery in ask(_OUTBOX, (limit,)):
            one = told.setdefault(
                uid,
                {
                    "id": uid,
                    "created_at": created_at,
                    "event": event,
                    "integration": integration,
                    "account": account,
                    "facts": json.loads(facts) if isinstance(facts, str) else facts,
                    "routes": [],
                },
            )
            if delivery[0] is not None:
                one["routes"].append(dict(zip(_DELIVERY, delivery, strict=True)))
    return list(told.values())


def cut_off(path: Path, runs: Sequence[Mapping[str, Any]]) -> set[str]:
    """Ids of those among the runs (as `take` answers them) whose process is gone, so that nobody will end them.

    Whatever the record says until the next start settles it. Raises as `take` does.
    """
    running = [run for run in runs if run["state"] == RunState.RUNNING]
    folder = lock_folder(path)
    gone = [run["id"] for run in running if holder_of(folder, run_lock(run["job"], run["account_id"])) is None]
    if not gone:
        return set()
    # One that has just ended let go of its lock, too, but not before its end was recorded.
    places = ", ".join("?" * len(gone))
    with connected("", path, LOCK_WAIT) as ask:
        return {number for (number,) in ask(f"{_STILL_RUNNING} AND id IN ({places})", gone)}


@contextmanager
def connected(
    url: str, path: Path | None, lock_wait: float
) -> Iterator[Callable[[str, Sequence[object]], list[tuple[Any, ...]]]]:
    """A function that asks the database one thing, with `?` for its parameters.

    Raises StoreUnusable when there is no database, and what `driver_errors` makes of the driver's errors.
    """
    try:
        with closing(_sqlite(path, lock_wait) if path is not None else _postgresql(url)) as connection:
            mark = "?" if path is not None else "%s"
            yield lambda query, parameters: _rows(connection, query.replace("?", mark), parameters)
    except (StoreUnusable, TryAgainLater):
        raise
    except Exception as error:  # noqa: BLE001 - two drivers, two error trees
        raise (_of_server(error, url, lock_wait) if path is None else _of_file(error, path, lock_wait)) from None


def _of_file(error: Exception, path: Path, lock_wait: float) -> WorkerError:
    if getattr(error, "sqlite_errorcode", _ANY_ERROR) & 0xFF != _ANY_ERROR:
        return of_sqlite(error, path, lock_wait)
    return StoreUnusable(f"{path} cannot be read: {error}", hint="worker store migrate")


def _of_server(error: Exception, url: str, lock_wait: float) -> WorkerError:
    found = of_postgresql(error, "the PostgreSQL store cannot be read", lock_wait)
    # Without the driver's own words as evidence.
    return type(found)(_without_password(found.message, url), hint=found.hint)


def _rows(connection: Any, query: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    try:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def _sqlite(path: Path, lock_wait: float) -> Any:
    import sqlite3  # noqa: PLC0415 - one of two drivers

    if look_at(path) is None:
        refuse_fresh_start(path)
        raise StoreUnusable(f"there is no database at {path} yet", hint="worker enroll INTEGRATION ACCOUNT")
    # Not mode=ro: after a crash in the middle of a transaction the first reader must be able to roll it back.
    connection = sqlite3.connect(f"file:{_quoted(path)}?mode=rw", uri=True, timeout=lock_wait)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _quoted(path: Path) -> str:
    from urllib.parse import quote  # noqa: PLC0415 - one of two drivers

    return quote(str(path))


def _without_password(words: str, url: str) -> str:
    """For libpq repeats a password that it cannot decode."""
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415 - rarely needed

    password = urlsplit(url).password or ""
    for spelling in filter(None, (password, unquote(password))):
        words = words.replace(spelling, "***")
    return words


def _postgresql(url: str) -> Any:
    import psycopg  # noqa: PLC0415 - one of two drivers

    return psycopg.connect(
        url.replace("postgresql+psycopg://", "postgresql://", 1), autocommit=True, connect_timeout=10
    )
