"""`worker status`: how everything is, at a glance."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table, say
from worker.clock import rfc3339, span
from worker.store.records import consent_remedy

if TYPE_CHECKING:
    from pathlib import Path

    from worker.config.model import Config

#: Entries of each list.
_LIMIT = 10
#: Seconds between two looks of --watch.
_PAUSE = 1.0
_TIMES = {
    "state_since", "failing_since", "alerted_at", "not_before", "opened_at", "last_at", "next_due", "last_started",
    "oldest_success", "last_success", "started_at", "finished_at", "oldest", "held_at", "late_since",
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second.")] = False,
    alive: Annotated[bool, typer.Option("--alive", help="Only whether the daemon works; for a probe.")] = False,
) -> None:
    """Show accounts by state, who needs consent, incidents, jobs with their next runs, and the last runs.

    Exit code 3 when an account needs consent, 1 when an incident is open, a job is late, deletions wait for an
    approval, the disk is full or the database is an old copy, else 0. With --alive: 0 when the daemon on this machine
    works, else 1, whatever the accounts need.

    Examples: worker status; worker status --watch
    """
    called = invocation(context)
    config = called.load_config()
    if alive:
        _tell_alive(config, as_json=called.as_json)
        return
    while True:
        found = _look(config)
        if called.as_json:
            print_json(_timed(found))
        else:
            if watch:
                say("\x1b[2J\x1b[H" + time.strftime("%H:%M:%S"))
            _show(found)
        if not watch:
            break
        time.sleep(_PAUSE)
    amiss = any(found[name] for name in ("incidents", "late", "held", "older", "faults"))
    raise typer.Exit(3 if found["accounts"].get("needs_consent") else 1 if amiss else 0)


def _tell_alive(config: Config, *, as_json: bool) -> None:
    from worker.engines.heartbeat import STOPPED, last_beat, last_fault

    last, fault = last_beat(config.worker.state_dir), last_fault(config.worker.state_dir)
    age = None if last is None else time.time() - last
    # A beat in the future is one from before the clock was set back.
    working = age is not None and abs(age) < STOPPED and not fault
    if as_json:
        print_json({"alive": working, "last_beat": rfc3339(last), "fault": fault or None})
    else:
        seen = "it leaves no sign of life" if age is None else f"last sign of life {_relative(last, time.time())}"
        found = fault or seen
        say(f"the daemon {'works' if working else 'does not work'}: {found}")
    if not working:
        raise typer.Exit(1)


def _look(config: Config) -> dict[str, Any]:
    from worker.store.age import older
    from worker.store.fresh_start import refuse_missing_file
    from worker.store.snapshot import take
    from worker.store.witness_file import WITNESS, WitnessFile

    path = config.store.sqlite_path
    witness = WitnessFile(config.store.witness or config.worker.state_dir / WITNESS)
    if path is not None:
        refuse_missing_file(path, witness)
    url = "" if path is not None else config.store.read_url(os.environ, config.base_dir)
    found = take(url, path, _LIMIT)
    _mark_cut_off(found["last_runs"], path)
    _note_progress(found["last_runs"], config.worker.state_dir)
    _mark_unfinished(found["backfills"], path)
    daemon = _daemon(config)
    return {
        "daemon": daemon,
        "faults": _faults(config, daemon),
        "older": older(url, path, witness) or None,
        **found,
    }


def _daemon(config: Config) -> str | None:
    """Who holds the daemon's lock; None when nobody does, or nobody on this machine can tell."""
    from worker.store.files import lock_folder
    from worker.store.locks import holder_of

    database = config.store.sqlite_path
    return None if database is None else holder_of(lock_folder(database), "daemon")


def _mark_cut_off(runs: list[dict[str, Any]], database: Path | None) -> None:
    """A run whose process is gone is no running one, whatever its record says until the next start settles it."""
    from worker.store.snapshot import cut_off

    gone = set() if database is None else cut_off(database, runs)
    for run in runs:
        del run["account_id"]
        if run["id"] in gone:
            run |= {"state": "interrupted", "error": "its process is gone; the daemon starts it again first"}


def _note_progress(runs: list[dict[str, Any]], state_dir: Path) -> None:
    """What a run under way on this machine has emitted so far, where the record knows only how it ends."""
    from worker.runner.watching import read_note

    for run in runs:
        if run["state"] == "running" and (note := read_note(state_dir, run["id"])):
            run["rows"] = note["rows"]


def _mark_unfinished(backfills: list[dict[str, Any]], database: Path | None) -> None:
    """A backfill whose process is gone waits for somebody to go on with it."""
    from worker.store.files import lock_folder
    from worker.store.locks import holder_of, run_lock

    for row in backfills:
        lock, runs = run_lock(row["job"], row.pop("account_id")), bool(row.pop("running"))
        gone = database is not None and holder_of(lock_folder(database), lock) is None
        row["state"] = "running" if runs and not gone else "unfinished"


def _faults(config: Config, daemon: str | None) -> list[dict[str, str]]:
    """What keeps things from being written, or the daemon from working."""
    from worker.doctor.diagnosis import Level
    from worker.doctor.ground import of_room
    from worker.engines.heartbeat import last_fault

    folders = {config.worker.state_dir} | ({config.store.sqlite_path.parent} if config.store.sqlite_path else set())
    rooms = [found for folder in sorted(folders) if folder.is_dir() for found in of_room(folder)]
    found = [{"fault": room.message, "remedy": room.hint} for room in rooms if room.level in {Level.FAULT, Level.LATER}]
    if daemon is not None and (fault := last_fault(config.worker.state_dir)):
        found.append({"fault": f"the daemon's store does not work: {fault}", "remedy": "worker doctor"})
    return found


def _timed(found: dict[str, Any]) -> dict[str, Any]:
    """The same with times as RFC 3339."""
    return {
        name: [{field: rfc3339(value) if field in _TIMES else value for field, value in row.items()} for row in part]
        if isinstance(part, list)
        else part
        for name, part in found.items()
    }


def _show(found: dict[str, Any]) -> None:
    now = time.time()
    counts = ", ".join(f"{count} {state}" for state, count in found["accounts"].items()) or "none enrolled"
    say(f"daemon    {found['daemon'] or 'not running here: nothing runs by itself until worker run does'}")
    for row in found["faults"]:
        say(f"FAULT     {row['fault']}")
        say(f"    mend it: {row['remedy']}")
    say(f"accounts  {counts}")
    if found["older"]:
        say(f"  OLD COPY: the database is older than its witness: {found['older']}")
        say("    what opens it next marks what is stale, and never sends it: worker store check, or worker run")
    for row in found["troubled"]:
        since = span(now - row["state_since"])
        say(f"  {row['integration']}/{row['account']}: {row['state']} for {since}: {row['reason']}")
        if row["state"] == "needs_consent":
            say(f"    mend it: {consent_remedy(row['integration'], row['account'], row['cause'])}")
    troubled = sum(count for state, count in found["accounts"].items() if state != "active")
    if troubled > len(found["troubled"]):
        say(f"  and {troubled - len(found['troubled'])} more: worker accounts list")
    for row in found["failing"]:
        failing = span(now - row["failing_since"])
        attempts = "1 attempt" if row["failures"] == 1 else f"{row['failures']} attempts"
        told = ", told" if row["alerted_at"] is not None else ""
        say(f"  {row['integration']}/{row['account']}: refresh failing for {failing}, {attempts}{told}")
        say(f"    last answer: {row['last_answer']}")
    _show_troubled_jobs(found, now)
    _show_backfills(found["backfills"], now)
    for row in found["incidents"]:
        say(f"incident  {row['integration']} {row['kind']}, {span(now - row['opened_at'])}: {row['cause']}")
        say(f"    mend it: {row['remedy']}")
    for row in found["routes"]:
        late = span(now - row["oldest"])
        say(f"notify    {row['route']} has not taken {row['waiting']} for {late}: {row['last_error']}")
        say("    mend it: worker notify test")
    say("")
    jobs = [
        {
            **row,
            "next": _relative(row["next_due"], now),
            "last_run": _relative(row["last_started"], now),
            "oldest_success": _relative(row["oldest_success"], now),
        }
        for row in found["jobs"]
    ]
    print_table(
        ("job", "accounts", "running", "parked", "next", "last_run", "oldest_success"), jobs, empty="no jobs scheduled"
    )
    say("")
    runs = [
        {**row, "started": _relative(row["started_at"], now), "remark": row["error"] or row["note"]}
        for row in found["last_runs"]
    ]
    columns = ("id", "job", "integration", "account", "state", "started", "rows", "remark")
    print_table(columns, runs, empty="no runs yet")


def _show_troubled_jobs(found: dict[str, Any], now: float) -> None:
    for row in found["failing_jobs"]:
        label, failing = f"{row['integration']}/{row['account']}", span(now - row["failing_since"])
        say(f"job       {row['job']} of {label} failed {row['failures']} times in a row, for {failing}")
        say(f"    last error: {row['last_error'] or '-'}")
    for row in found["late"]:
        label, late = f"{row['integration']}/{row['account']}", span(now - row["late_since"])
        say(f"LATE      {row['job']} of {label}, for {late}: last success {_relative(row['last_success'], now)}")
        say(f"    look: worker runs list --job {row['job']} --account {label}")
    for row in found["held"]:
        label = f"{row['integration']}/{row['account']}"
        say(f"HELD      {row['job']} of {label} deletes nothing of {row['table']}: {row['reason']}")
        say(f"    decide: worker changes show {row['id']}")


def _show_backfills(backfills: list[dict[str, Any]], now: float) -> None:
    for row in backfills:
        began = span(now - row["last_started"])
        say(f"backfill  {row['job']} of {row['integration']}/{row['account']} {row['state']}, begun {began} ago")


def _relative(moment: float | None, now: float) -> str:
    if moment is None:
        return "-"
    return f"in {span(moment - now)}" if moment > now else f"{span(now - moment)} ago"
