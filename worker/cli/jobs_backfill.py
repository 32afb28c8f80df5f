"""`worker jobs backfill`: a job for a window of time, beside its live runs and without touching their cursor.

The same function runs under a name of its own (`invoices@2026-01-01..2026-02-01`), so that cursor, lock, fence and
history are its own, and its rows go into the same tables. The same command goes on with a window that was cut off.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from worker.cli.invocation import invocation
from worker.cli.jobs_run import ByHand, accounts_of, run_by_hand


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("backfill")(backfill)


def backfill(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="As in the config: [jobs.NAME].")],
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="The first moment: a date, or RFC 3339.")],
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="The moment after the last; none: no end.")] = "",
    account: Annotated[list[str] | None, typer.Option(help="Only this account; may be given several times.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the rows, write nothing, not even a cursor.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Stop after so many rows.", min=1)] = None,
) -> None:
    """Run a job for a window of time, with a cursor of its own; the live one is not touched.

    What was cut off goes on when the same command is given again; what is done begins anew. It takes as long as it
    takes: the job's timeout does not hold. Exit codes as of worker jobs run.

    Example: worker jobs backfill invoices --from 2025-01-01 --to 2026-01-01 --account acme
    """
    from worker.jobs.window import read_window

    window = read_window(since, until)
    called = invocation(context)
    wiring = called.wiring()
    assignment = replace(wiring.assignments(job)[job], window=window)
    accounts = accounts_of(wiring, assignment.config, account or [])
    run_by_hand(called, wiring, ByHand(assignment, accounts, limit, trigger="backfill"), dry=dry_run)
