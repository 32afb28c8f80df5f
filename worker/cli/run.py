"""`worker run`: the daemon."""

from __future__ import annotations

import os

import typer

from worker.cli.invocation import invocation


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(context: typer.Context) -> None:
    """Run the daemon: every job on its schedule, until SIGTERM. SIGHUP reads the configuration anew.

    Logs go to standard output: JSON in a service, readable on a terminal. Example: worker --config FILE run
    """
    from worker.daemon import leave, run_daemon

    wiring = invocation(context).wiring(service=True)
    leave(run_daemon(wiring.daemonic(), os.environ))
