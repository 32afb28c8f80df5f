"""`worker runs`: the run history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table, say, tell
from worker.clock import rfc3339
from worker.errors import UsageFault

if TYPE_CHECKING:
    from worker.store.records import Account, Run

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Run history: list, show.")

_FIELDS = (
    "id", "job", "integration", "account", "state", "trigger", "attempt", "due_at", "started_at", "finished_at",
    "seconds", "rows", "deleted", "held", "requests", "refreshes", "error", "note", "drift", "holder",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="runs")


@group.command("list")
def list_runs(
    context: typer.Context,
    job: Annotated[str, typer.Option(help="Only this job's.")] = "",
    account: Annotated[str, typer.Option(help="Only this account's: ACCOUNT or INTEGRATION/ACCOUNT.")] = "",
    state: Annotated[str, typer.Option(help="Only these: succeeded, failed, retrying, skipped, …")] = "",
    limit: Annotated[int, typer.Option(help="At most so many, newest first.", min=1)] = 50,
) -> None:
    """List runs, newest first.

    Example: worker runs list --state failed --limit 5
    """
    from worker.jobs.window import MARK
    from worker.states import RunState
    from worker.store.runs import RunFilter

    if state and state not in set(RunState):
        raise UsageFault(f'there is no run state "{state}"', hint=f"one of {', '.join(RunState)}")
    called = invocation(context)
    integration, _, name = account.rpartition("/")
    wanted = RunFilter(job or None, integration or None, name or None, state or None, limit)
    wiring = called.wiring()
    rows = [describe(run) for run in wiring.store.runs.list(wanted)]
    if job and not rows and job.partition(MARK)[0] not in wiring.config.jobs:
        tell(f'no job "{job}" is configured; worker jobs list')
    if called.as_json:
        print_json(rows)
        return
    columns = (
        "id", "job", "integration", "account", "state", "trigger", "started_at", "seconds", "rows", "deleted", "held",
        "note", "error",
    )  # fmt: skip
    print_table(columns, rows, empty="no runs")


@group.command("show")
def show(
    context: typer.Context, run_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning.")]
) -> None:
    """Show one run.

    Example: worker runs show 1a20a180cf4d
    """
    from worker.runner.watching import read_note
    from worker.states import RunState

    called = invocation(context)
    wiring = called.wiring()
    facts = describe(wiring.store.runs.get(run_id))
    if facts["state"] == RunState.RUNNING and (note := read_note(wiring.state_folder, facts["id"])):
        facts["progress"] = note | {"at": rfc3339(note["at"])}
    if called.as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        shown = "; ".join(value) if isinstance(value, list) else value
        say(f"{name + ':':<14}{'-' if shown in {None, ''} else shown}")


def describe_skipped(job: str, account: Account, reason: str) -> dict[str, Any]:
    """A run that was asked for and not made, with the same fields."""
    from worker.states import RunState

    facts = {"job": job, "integration": account.integration, "account": account.name}
    return {
        **dict.fromkeys(_FIELDS),
        **facts,
        "state": RunState.SKIPPED,
        "trigger": "manual",
        "rows": 0,
        "deleted": 0,
        "held": 0,
        "drift": [],
        "error": reason,
    }


def describe(run: Run) -> dict[str, Any]:
    """A run for `--json`. Times are RFC 3339 in UTC, `seconds` is the time from first start to end."""
    seconds = None
    if run.started_at is not None and run.finished_at is not None:
        seconds = round(run.finished_at - run.started_at, 3)
    return {
        "id": run.id,
        "job": run.job,
        "integration": run.integration,
        "account": run.account,
        "state": run.state,
        "trigger": run.trigger,
        "attempt": run.attempt,
        "due_at": rfc3339(run.due_at),
        "started_at": rfc3339(run.started_at),
        "finished_at": rfc3339(run.finished_at),
        "seconds": seconds,
        "rows": run.counts.rows,
        "deleted": run.counts.deleted,
        "held": run.counts.held,
        "requests": run.counts.requests,
        "refreshes": run.counts.refreshes,
        "error": run.error,
        "note": run.note or None,
        "drift": list(run.drift),
        "holder": run.holder or None,
    }
