"""`worker jobs`: what is configured, and running a job now, in this process."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table, say, tell
from worker.clock import rfc3339
from worker.errors import AccountPaused, JobUnusable, NeedsConsent, TryAgainLater, UsageFault, WorkerError
from worker.states import AccountState

if TYPE_CHECKING:
    from worker.jobs.listing import Swept
    from worker.runner.assignment import Assignment
    from worker.runner.attempt import Attempted
    from worker.store.records import Account, Due
    from worker.wiring import Wiring

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Jobs: list, run.")

#: Rows of a dry run that are shown when nobody says how many.
_SHOWN = 20
#: Exit codes of several runs: the one that somebody has to act upon comes first.
_WORST_FIRST = (3, 78, 1, 75)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="jobs")


@group.command("list")
def list_jobs(context: typer.Context) -> None:
    """List the configured jobs with schedule, accounts and what is wrong with them.

    Example: worker jobs list
    """
    from worker.config.durations import format_duration

    called = invocation(context)
    wiring = called.wiring()
    catalog = wiring.catalog()
    due: dict[str, list[Due]] = {}
    for entry in wiring.store.schedule.entries():
        due.setdefault(entry.job, []).append(entry)
    late: dict[str, list[str]] = {}
    for one in wiring.store.freshness.late(wiring.clock.now()):
        late.setdefault(one.job, []).append(one.account.name)
    rows: list[dict[str, Any]] = []
    for job in wiring.config.jobs.values():
        try:
            definition, fault = catalog.get(job.uses), None
        except JobUnusable as error:
            definition, fault = None, error.message
        entries = due.get(job.name, [])
        rows.append(
            {
                "job": job.name,
                "uses": job.uses,
                "integration": job.integration,
                "schedule": f"every {format_duration(job.every)}" if job.every else job.cron,
                "accounts": len(entries),
                "next_due": rfc3339(entries[0].next_due) if entries else None,
                "parked": [entry.account.name for entry in entries if entry.parked],
                "late": late.get(job.name, []),
                "description": definition.doc if definition else None,
                "fault": fault,
            }
        )
    if called.as_json:
        print_json(rows)
    else:
        columns = ("job", "uses", "integration", "schedule", "accounts", "next_due", "late", "fault")
        print_table(columns, rows, empty="no jobs are configured; worker config example")


@group.command("run")
def run_job(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="As in the config: [jobs.NAME].")],
    account: Annotated[list[str] | None, typer.Option(help="Only this account; may be given several times.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the rows, write nothing, not even a cursor.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Stop after so many rows.", min=1)] = None,
    since: Annotated[str, typer.Option(metavar="CURSOR", help="Begin there: name=value, or a JSON object.")] = "",
) -> None:
    """Run a job now, in this process, for one account or all of them.

    Exit code 0 when all succeeded, 3 when an account needs consent, 75 when a pause may mend what failed (the provider
    is down, it is running already), else 1, also for an account that is paused.

    Examples: worker jobs run arlo-registrations --account acme; worker jobs run first --dry-run --limit 20
    """
    from worker.runner.trial import read_since

    called = invocation(context)
    wiring = called.wiring()
    assignment = wiring.assignments(job)[job]
    accounts = _accounts(wiring, assignment, account or [])
    begin = read_since(since) if since else None
    if dry_run:
        _dry_run(wiring, assignment, accounts, (limit or _SHOWN, begin), as_json=called.as_json)
        return
    _real_run(wiring, assignment, accounts, (limit, begin), as_json=called.as_json)


def _accounts(wiring: Wiring, assignment: Assignment, names: list[str]) -> list[Account]:
    known = [
        account
        for account in wiring.store.accounts.list(assignment.config.integration)
        if assignment.covers(account.integration, account.name)
    ]
    wanted = [name.rpartition("/")[2] for name in names]
    missing = sorted(set(wanted) - {account.name for account in known})
    if missing:
        raise UsageFault(
            f"job {assignment.name} has no account {', '.join(missing)}",
            hint=f"worker accounts list, or {_enroll(assignment)}",
        )
    chosen = [account for account in known if not wanted or account.name in wanted]
    if not chosen:
        raise UsageFault(f"{assignment.config.integration} has no account yet", hint=_enroll(assignment))
    return chosen


def _enroll(assignment: Assignment) -> str:
    return f"worker enroll {assignment.config.integration} ACCOUNT"


def _dry_run(
    wiring: Wiring,
    assignment: Assignment,
    accounts: list[Account],
    how: tuple[int, dict[str, Any] | None],
    *,
    as_json: bool,
) -> None:
    from worker.jobs.sinks import Stream
    from worker.runner.attempt import Work
    from worker.runner.trial import dry_sink

    limit, begin = how
    shown: list[dict[str, Any]] = []
    failed: WorkerError | None = None
    for account in accounts:
        stream = Stream(assignment.name, account.integration, account.name)
        sink = dry_sink(assignment.sink, stream, begin)
        attempted = wiring.runner.attempt(assignment, Work(account, "dry-run", 1, sink, limit, dry=True))
        fault = _told(wiring, account, attempted)
        failed = fault or failed
        shown.append(
            {
                "account": account.label,
                "tables": sink.tables,
                "deletions": [_deletions(swept) for swept in sink.swept],
                "cursor": sink.read_cursor(stream),
                "error": fault.message if fault else None,
            }
        )
    if as_json:
        print_json({"dry_run": True, "accounts": shown, "error": failed.message if failed else None})
    else:
        for item in shown:
            for table, rows in item["tables"].items():
                say(f"{item['account']} {table}: {len(rows)} rows")
                print_table(list(dict.fromkeys(name for row in rows for name in row)), rows)
            for gone in item["deletions"]:
                would = f"would be held ({gone['held']})" if gone["held"] else "would be deleted"
                say(f"{item['account']} {gone['table']}: {gone['rows']} rows {would}: {'; '.join(gone['sample'])}")
            if item["error"]:
                say(f"{item['account']}: {item['error']}")
            elif not item["tables"]:
                say(f"{item['account']}: no rows")
        tell("A dry run: nothing was written, and no cursor moved.")
    if failed is not None:
        raise failed if not as_json else typer.Exit(failed.exit_code)


def _deletions(swept: Swept) -> dict[str, Any]:
    """What a complete listing would take away."""
    rows, held = swept.gone.rows, swept.objection or None
    return {"table": swept.table, "rows": rows, "sample": list(swept.sample), "held": held}


def _told(wiring: Wiring, account: Account, attempted: Attempted) -> WorkerError | None:
    """The attempt's error as one of ours, or None."""
    error = attempted.error
    if error is None or isinstance(error, WorkerError):
        return error
    import traceback

    tell(wiring.scrubber("".join(traceback.format_exception(error))))
    return WorkerError(wiring.scrubber(f"{account.label}: {type(error).__name__}: {error}"), hint="mend the job's file")


def _real_run(
    wiring: Wiring,
    assignment: Assignment,
    accounts: list[Account],
    how: tuple[int | None, dict[str, Any] | None],
    *,
    as_json: bool,
) -> None:
    from worker.daemon import SETTLE
    from worker.runner.trial import SinceSink

    _end_on_signals(wiring)
    limit, begin = how
    if begin is not None:
        assignment = replace(assignment, sink=SinceSink(assignment.sink, begin))
    runs: list[dict[str, Any]] = []
    codes: set[int] = set()
    for account in accounts:
        run, code = _run_once(wiring, assignment, account, limit)
        runs.append(run)
        codes.add(code)
        if wiring.stopping.aborting.is_set():
            break  # not meant for this account alone
    wiring.refresher.wait_settled(SETTLE)
    if as_json:
        print_json(runs)
    else:
        print_table(("id", "job", "account", "state", "rows", "seconds", "error"), runs)
    raise typer.Exit(next((code for code in _WORST_FIRST if code in codes), 0))


def _run_once(
    wiring: Wiring, assignment: Assignment, account: Account, limit: int | None
) -> tuple[dict[str, Any], int]:
    """The run as it was recorded, or why there was none; and what a command that made it alone answers."""
    from worker.cli.runs import describe, describe_skipped
    from worker.engines.timetable import Timetable

    due = wiring.store.schedule.open_entry(assignment.name, account)
    reason = wiring.runner.skip_reason(due)
    if reason:
        return describe_skipped(assignment.name, account, reason), _code_of_skip(due)
    following = partial(Timetable(assignment.config).after, account.label)
    ended = wiring.runner.run(assignment, due, following, trigger="manual", limit=limit)
    if ended is None:
        return describe_skipped(assignment.name, account, "it is running already"), TryAgainLater.exit_code
    try:
        return describe(wiring.store.runs.get(ended.run_id)), ended.exit_code
    except UsageFault:
        return describe_skipped(assignment.name, account, "the account was removed while its job ran"), 1


def _code_of_skip(due: Due) -> int:
    """A pause is an operator's decision: to try again later is no use, and there is nothing to consent to."""
    if due.parked or due.account.state in {AccountState.NEEDS_CONSENT, AccountState.REVOKED}:
        return NeedsConsent.exit_code
    return AccountPaused.exit_code if due.account.state is AccountState.PAUSED else TryAgainLater.exit_code


def _end_on_signals(wiring: Wiring) -> None:
    """Let SIGTERM and Ctrl-C end the run at its next request: cutting a refresh off would lose the tokens it brings."""
    import signal
    import threading

    def end() -> None:
        wiring.stopping.draining.set()
        wiring.stopping.aborting.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        # On a thread of its own: the handler runs between any two instructions, also while an event's lock is held.
        signal.signal(number, lambda _number, _frame: threading.Thread(target=end, daemon=True).start())
