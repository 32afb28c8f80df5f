"""`worker once`: everything that is due, then exit."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, say

#: Ends of attempts that make the command fail.
_BAD = ("failed", "timed_out", "interrupted", "retrying")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("once")(once)


def once(context: typer.Context, job: Annotated[str, typer.Option("--job", help="Only this job.")] = "") -> None:
    """Run every due job once, then exit: for cron, or a Kubernetes CronJob. Fails if any run failed.

    Exit code 3 when nothing failed but firings were skipped for accounts that need consent.
    Example: worker once --job arlo-registrations
    """
    import signal

    from worker.errors import UsageFault

    called = invocation(context)
    wiring = called.wiring()
    if job:
        wiring.job(job)
    engine = wiring.engine()

    def stop(_number: int, _frame: object) -> None:
        wiring.stopping.draining.set()
        wiring.stopping.aborting.set()

    signal.signal(signal.SIGTERM, stop)
    if not wiring.config.jobs:
        raise UsageFault("no jobs are configured", hint="worker config example")
    engine.run_due(job or None)
    ended = {str(state): count for state, count in sorted(engine.ended.items())}
    if called.as_json:
        print_json({"runs": ended})
    else:
        say(", ".join(f"{count} {state}" for state, count in ended.items()) or "nothing was due")
    if any(ended.get(state) for state in _BAD):
        raise typer.Exit(1)
    if ended.get("skipped") and any(account.state == "needs_consent" for account in wiring.store.accounts.list()):
        raise typer.Exit(3)
