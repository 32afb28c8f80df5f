"""`worker jobs run`: a job now, in this process; dry, limited, from another place, recorded."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table, tell
from worker.errors import AccountPaused, NeedsConsent, TryAgainLater, UsageFault, WorkerError
from worker.states import AccountState, RunState

if TYPE_CHECKING:
    from worker.cli.invocation import Invocation
    from worker.config.model import JobConfig
    from worker.jobs.listing import Swept
    from worker.runner.assignment import Assignment
    from worker.runner.attempt import Attempted
    from worker.store.records import Account, Due
    from worker.wiring import Wiring

#: Rows of a dry run that are shown when nobody says how many.
SHOWN = 20
#: Exit codes of several runs: the one that somebody has to act upon comes first.
_WORST_FIRST = (3, 78, 2, 1, 75)
#: Exit code after Ctrl-C, as shells have it: 128 + SIGINT.
_KEYBOARD = 130


@dataclass(frozen=True)
class ByHand:
    """How a job is to be run."""

    assignment: Assignment
    accounts: list[Account]
    limit: int | None = None
    #: The cursor to begin at; None: where the last run ended.
    begin: dict[str, Any] | None = None
    record: Path | None = None
    trigger: str = "manual"


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("run")(run_job)


def run_job(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="As in the config: [jobs.NAME].")],
    account: Annotated[list[str] | None, typer.Option(help="Only this account; may be given several times.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the rows, write nothing, not even a cursor.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Stop after so many rows.", min=1)] = None,
    since: Annotated[str, typer.Option(metavar="CURSOR", help="Begin there: name=value, or a JSON object.")] = "",
    record: Annotated[
        str, typer.Option(metavar="FILE", help="With --dry-run: keep the API's answers, without secrets, for a test.")
    ] = "",
) -> None:
    """Run a job now, in this process, for one account or all of them.

    Exit code 0 when all succeeded, 3 when an account needs consent, 75 when a pause may mend what failed (the provider
    is down, it is running already, SIGTERM), else 1, also for an account that is paused; 130 after Ctrl-C.

    Examples: worker jobs run arlo-registrations --account acme; worker jobs run first --dry-run --limit 20
    """
    from worker.runner.trial import read_since

    if record and not dry_run:
        raise UsageFault("--record goes with --dry-run", hint=f"worker jobs run {job} --dry-run --record {record}")
    called = invocation(context)
    wiring = called.wiring()
    assignment = wiring.assignments(job)[job]
    by_hand = ByHand(
        assignment,
        accounts_of(wiring, assignment.config, account or []),
        limit,
        read_since(since, _places_of(assignment.config)) if since else None,
        Path(record) if record else None,
    )
    run_by_hand(called, wiring, by_hand, dry=dry_run)


def run_by_hand(called: Invocation, wiring: Wiring, by_hand: ByHand, *, dry: bool) -> None:
    """Make the runs, show how they went, and leave with their exit code."""
    from worker.cli.progress_bar import ProgressBar

    wiring.watch = ProgressBar().watch
    if dry:
        trials, failed = _dry_runs(wiring, by_hand)
        _show_dry(trials, failed, by_hand.limit or SHOWN, as_json=called.as_json)
        return
    runs, code = _real_runs(wiring, by_hand)
    if called.as_json:
        print_json(runs)
    else:
        notes = ("note",) if any(run["note"] for run in runs) else ()
        columns = ("id", "job", "account", "state", "rows", "deleted", "held", "seconds", *notes, "error")
        print_table(columns, runs)
    raise typer.Exit(code)


def accounts_of(wiring: Wiring, job: JobConfig, names: list[str]) -> list[Account]:
    """The accounts that a command is for: those named, or all of the job's. Raises UsageFault when there is none."""
    known = [
        account
        for account in wiring.store.accounts.list(job.integration)
        if job.covers(account.integration, account.name)
    ]
    wanted = [name.rpartition("/")[2] for name in names]
    missing = sorted(set(wanted) - {account.name for account in known})
    if missing:
        raise UsageFault(
            f"job {job.name} has no account {', '.join(missing)}",
            hint=f"worker accounts list, or {_enroll(job)}",
        )
    chosen = [account for account in known if not wanted or account.name in wanted]
    if not chosen:
        raise UsageFault(f"{job.integration} has no account yet", hint=_enroll(job))
    return chosen


def _places_of(job: JobConfig) -> list[str] | None:
    """The names in the job's cursor; None when only its code knows them."""
    from worker.runner.definitions import REST

    return [one.name for one in job.resources if one.incremental] if job.uses == REST else None


def _enroll(job: JobConfig) -> str:
    return f"worker enroll {job.integration} ACCOUNT"


def _dry_runs(wiring: Wiring, by_hand: ByHand) -> tuple[list[dict[str, Any]], WorkerError | None]:
    """What each account's has brought, and the last error."""
    if by_hand.record is not None and len(by_hand.accounts) > 1:
        names = ", ".join(account.name for account in by_hand.accounts)
        raise UsageFault("a recording is one account's", hint=f"add --account, one of {names}")
    trials: list[dict[str, Any]] = []
    failed: WorkerError | None = None
    for account in by_hand.accounts:
        trial, fault = _dry_run(wiring, by_hand, account)
        failed = fault or failed
        trials.append(trial)
    return trials, failed


def _show_dry(trials: list[dict[str, Any]], failed: WorkerError | None, limit: int, *, as_json: bool) -> None:
    from worker.cli.dry_run import show

    if as_json:
        print_json({"dry_run": True, "accounts": trials, "error": failed.message if failed else None})
    else:
        for trial in trials:
            show(trial, limit)
        tell("A dry run: nothing was written, and no cursor moved.")
    if failed is None:
        return
    if not as_json and failed.hint:
        tell(f"Try: {failed.hint}")
    raise typer.Exit(failed.exit_code)


def _dry_run(wiring: Wiring, by_hand: ByHand, account: Account) -> tuple[dict[str, Any], WorkerError | None]:
    """One account's, as `--json` shows it, and the error that ended it."""
    from worker.cli.dry_run import types_of
    from worker.runner.attempt import Work
    from worker.runner.recording import Recorder
    from worker.runner.trial import dry_sink

    assignment, limit = by_hand.assignment, by_hand.limit or SHOWN
    stream = assignment.stream(account)
    sink = dry_sink(assignment.sink, stream, by_hand.begin)
    before = sink.read_cursor(stream)
    recorder = None
    if by_hand.record is not None:
        recorder = Recorder(by_hand.record, assignment.client.integration, wiring.scrubber)
    work = Work(account, "dry-run", 1, sink, limit, dry=True, recorder=recorder)
    fault = _told(wiring, wiring.runner.attempt(assignment, work))
    if recorder is not None:
        recorder.save(assignment.described(before, limit))
        tell(f"{by_hand.record}: {len(recorder)} exchange{'' if len(recorder) == 1 else 's'} recorded")
    return {
        "account": account.label,
        "tables": sink.tables,
        "keys": {table: list(key) for table, key in sink.keys.items()},
        "columns": {table: types_of(columns) for table, columns in sink.types.items()},
        "deletions": [_deletions(swept) for swept in sink.swept],
        "cursor_before": before,
        "cursor": sink.read_cursor(stream),
        "error": fault.message if fault else None,
    }, fault


def _deletions(swept: Swept) -> dict[str, Any]:
    """What a complete listing would take away."""
    return {
        "table": swept.table,
        "rows": swept.gone.rows,
        "sample": list(swept.sample),
        "held": swept.objection or None,
    }


def _told(wiring: Wiring, attempted: Attempted) -> WorkerError | None:
    """The attempt's error as one of ours, or None."""
    error = attempted.error
    if error is None or isinstance(error, WorkerError):
        return error
    import traceback

    tell(wiring.scrubber("".join(traceback.format_exception(error))))
    return WorkerError(wiring.scrubber(f"{type(error).__name__}: {error}"), hint="mend the job's file")


def _real_runs(wiring: Wiring, by_hand: ByHand) -> tuple[list[dict[str, Any]], int]:
    """The runs as they were recorded, and the exit code of them all."""
    from worker.daemon import SETTLE
    from worker.runner.trial import SinceSink

    received = _end_on_signals(wiring)
    if by_hand.begin is not None:
        sink = SinceSink(by_hand.assignment.sink, by_hand.begin)
        by_hand = replace(by_hand, assignment=replace(by_hand.assignment, sink=sink))
    runs: list[dict[str, Any]] = []
    codes: set[int] = set()
    for account in by_hand.accounts:
        run, code = _run_once(wiring, by_hand, account)
        runs.append(run)
        codes.add(code)
        if wiring.stopping.aborting.is_set():
            break  # not meant for this account alone
    wiring.refresher.wait_settled(SETTLE)
    if received and (len(runs) < len(by_hand.accounts) or runs[-1]["state"] == RunState.INTERRUPTED):
        tell("Stopped. The same command goes on from the last checkpoint.")
        return runs, _KEYBOARD if signal.SIGINT in received else TryAgainLater.exit_code
    return runs, next((code for code in _WORST_FIRST if code in codes), 0)


def _run_once(wiring: Wiring, by_hand: ByHand, account: Account) -> tuple[dict[str, Any], int]:
    """The run as it was recorded, or why there was none; and what a command that made it alone answers."""
    from worker.cli.runs import describe, describe_skipped
    from worker.engines.timetable import Timetable

    assignment = by_hand.assignment
    due = wiring.store.schedule.open_entry(assignment.name, account)
    reason = wiring.runner.skip_reason(due)
    if reason:
        return describe_skipped(assignment.name, account, reason), _code_of_skip(due)
    scheduled = partial(Timetable(assignment.config).after, account.label)
    following = scheduled if assignment.window is None else _never
    ended = wiring.runner.run(assignment, due, following, trigger=by_hand.trigger, limit=by_hand.limit)
    if ended is None:
        return describe_skipped(assignment.name, account, "it is running already"), TryAgainLater.exit_code
    if assignment.window is not None and ended.state is RunState.SUCCEEDED and ended.whole:
        assignment.forget_place(account)  # it is done: who asks for the same window again wants it again
    if ended.exit_code == UsageFault.exit_code and assignment.window is not None and not assignment.place(account):
        wiring.store.schedule.forget_backfill(assignment.name, account.id)  # it cannot be gone on with
    try:
        return describe(wiring.store.runs.get(ended.run_id)), ended.exit_code
    except UsageFault:
        return describe_skipped(assignment.name, account, "the account was removed while its job ran"), 1


def _never(_now: float) -> None:
    """A backfill is on no schedule."""


def _code_of_skip(due: Due) -> int:
    """A pause is an operator's decision: to try again later is no use, and there is nothing to consent to."""
    if due.parked or due.account.state in {AccountState.NEEDS_CONSENT, AccountState.REVOKED}:
        return NeedsConsent.exit_code
    return AccountPaused.exit_code if due.account.state is AccountState.PAUSED else TryAgainLater.exit_code


def _end_on_signals(wiring: Wiring) -> list[int]:
    """Let SIGTERM and Ctrl-C end the run at its next request: cutting a refresh off would lose the tokens it brings.

    Answers what holds the signals that came.
    """
    import threading

    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        wiring.stopping.draining.set()
        wiring.stopping.aborting.set()
        tell("Stopping at the next request or checkpoint.")

    for number in (signal.SIGTERM, signal.SIGINT):
        # On a thread of its own: the handler runs between any two instructions, also while an event's lock is held.
        signal.signal(number, lambda came, _frame: threading.Thread(target=end, args=(came,), daemon=True).start())
    return received
