"""`worker jobs`: what is configured. Its other commands stand in files of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from worker.cli import jobs_backfill, jobs_new, jobs_reset, jobs_run
from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table, say
from worker.clock import rfc3339
from worker.errors import JobUnusable

if TYPE_CHECKING:
    from worker.config.model import JobConfig
    from worker.store.records import Backfill, Due
    from worker.wiring import Wiring

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Jobs: list, new, run, backfill, reset.")

#: Backfills that are listed, newest first.
_BACKFILLS = 10


def register(app: typer.Typer) -> None:
    """Add the group."""
    for command in (jobs_new, jobs_run, jobs_backfill, jobs_reset):
        command.register(group)
    app.add_typer(group, name="jobs")


@group.command("list")
def list_jobs(context: typer.Context) -> None:
    """List the configured jobs with schedule, accounts and what is wrong with them.

    Example: worker jobs list
    """
    from worker.config.durations import format_duration
    from worker.runner.definitions import definition_of

    called = invocation(context)
    wiring = called.wiring()
    catalog = wiring.catalog()
    due: dict[str, list[Due]] = {}
    for entry in wiring.store.schedule.entries():
        due.setdefault(entry.job, []).append(entry)
    late: dict[str, list[str]] = {}
    for one in wiring.store.freshness.late(wiring.clock.now()):
        late.setdefault(one.job, []).append(one.account.name)
    backfills = _backfills(wiring)
    rows: list[dict[str, Any]] = []
    for job in wiring.config.jobs.values():
        try:
            definition, fault = definition_of(job, wiring.config, catalog), _sink_fault(wiring, job)
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
                "backfills": [one for one in backfills if one["of"] == job.name],
            }
        )
    if called.as_json:
        print_json(rows)
    else:
        columns = ("job", "uses", "integration", "schedule", "accounts", "next_due", "late", "fault")
        print_table(columns, rows, empty="no jobs are configured; worker config example")
        if backfills:
            say("")
            print_table(("backfill", "account", "state", "last_started", "done_at"), backfills)


def _sink_fault(wiring: Wiring, job: JobConfig) -> str | None:
    """What the job's sink lacks."""
    from worker.config.drivers import missing_driver

    missing = missing_driver(wiring.config.sinks[job.sink]) if job.sink is not None else None
    return f"sinks.{job.sink}: {missing}" if missing else None


def _backfills(wiring: Wiring) -> list[dict[str, Any]]:
    return [_backfill(wiring, found) for found in wiring.store.schedule.backfills()[:_BACKFILLS]]


def _backfill(wiring: Wiring, found: Backfill) -> dict[str, Any]:
    from worker.errors import Busy
    from worker.jobs.window import MARK
    from worker.store.locks import run_lock

    state = "done" if found.done_at is not None else "unfinished"
    if found.running:
        try:
            with wiring.store.locks.hold(run_lock(found.job, found.account.id), patience=0):
                pass  # the record says that it runs, and its process is gone
        except Busy:
            state = "running"
    return {
        "backfill": found.job,
        "of": found.job.partition(MARK)[0],
        "account": found.account.label,
        "state": state,
        "last_started": rfc3339(found.last_started),
        "done_at": rfc3339(found.done_at),
    }
