"""`worker config`: all faults at once, the configuration as it is read, and an example of every option."""

from __future__ import annotations

import os

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, say, tell

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Configuration: check, show, example.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="config")


@group.command("check")
def check(context: typer.Context) -> None:
    """Find every fault of the config file, the secrets' files and the jobs, each with its place and a hint.

    Example: worker config check --config /etc/worker/config.toml
    """
    from worker.config.check import check as check_config
    from worker.errors import JobUnusable
    from worker.jobs.loading import load_jobs
    from worker.runner.definitions import REST

    called = invocation(context)
    report = check_config(called.config_path, os.environ)
    if report.jobs_path:
        catalog = load_jobs(report.jobs_path)
        faults = []
        for job, uses in report.uses.items():
            try:
                if uses != REST:
                    catalog.get(uses)
            except JobUnusable as error:
                if not catalog.told_of(uses):
                    faults.append((f"jobs.{job}.uses", error.message))
        report = report.adding(faults, catalog.faults)
    if called.as_json:
        print_json(report.as_dict())
        raise typer.Exit(0 if report.sound else JobUnusable.exit_code)
    for place, what in report.warnings:
        tell(f"warning: {place}  {what}")
    report.raise_problems()
    say(f"{report.path}: no problems")


@group.command("show")
def show(context: typer.Context) -> None:
    """Show the configuration as it is read, defaults included. Secrets are not shown, only where they come from.

    Example: worker config show
    """
    from worker.config.describe import describe

    print_json(describe(invocation(context).load_config()))


@group.command("example")
def example(context: typer.Context) -> None:
    """Print every option, commented, with its default.

    Example: worker config example > config.toml
    """
    from worker.config.example import render_example

    text = render_example()
    if invocation(context).as_json:
        print_json({"example": text})
    else:
        say(text.rstrip("\n"))
