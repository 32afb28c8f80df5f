"""`worker once`: everything that is due, then exit."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, say
from worker.errors import NeedsConsent, TryAgainLater, UsageFault
from worker.states import RunState

if TYPE_CHECKING:
    from worker.wiring import Wiring

#: Ends of attempts that make the command fail.
_BAD = ("failed", "timed_out", "interrupted", "retrying")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("once")(once)


def once(context: typer.Context, job: Annotated[str, typer.Option("--job", help="Only this job.")] = "") -> None:
    """Run every due job once, then exit: for cron, or a Kubernetes CronJob. Fails if any run failed.

    Exit code 3 when nothing failed but firings were skipped for accounts that need consent. SIGTERM lets the runs under
    way finish, as with the daemon, and starts no more; the exit code is then 75, or 1 if a run was cut short.
    Example: worker once --job arlo-registrations
    """
    from worker.config.trust import refuse_open_to_all

    called = invocation(context)
    wiring = called.wiring()
    refuse_open_to_all(wiring.config.path)
    if job:
        wiring.job(job)
    if not wiring.config.jobs:
        raise UsageFault("no jobs are configured", hint="worker config example")
    ended, flagged, stopped = _run(wiring, job or None)
    if called.as_json:
        print_json({"runs": ended})
    else:
        say(", ".join(f"{count} {state}" for state, count in ended.items()) or "nothing was due")
    if any(ended.get(state) for state in _BAD):
        raise typer.Exit(1)
    if stopped:
        raise typer.Exit(TryAgainLater.exit_code)
    if flagged:
        raise typer.Exit(NeedsConsent.exit_code)


def _run(wiring: Wiring, job: str | None) -> tuple[dict[str, int], int, bool]:
    """How many attempts ended in which state, how many await consent, and whether we were told to stop meanwhile."""
    from worker.daemon import SETTLE, drain

    engine = wiring.engine()
    # The handler takes no lock: it runs between any two instructions of this very thread.
    stops: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stops.append(received))
    engine.run_due(job, told_to_stop=lambda: bool(stops))
    if stops:
        left = drain(engine, wiring.stopping, wiring.config.worker.drain_timeout, lambda: len(stops) > 1)
        if left:
            engine.ended[RunState.INTERRUPTED] += left
    wiring.refresher.wait_settled(SETTLE)
    # Where no daemon runs, this is when a route that failed is tried again, and when people are reminded.
    wiring.deliverer.heard = True
    return {str(state): count for state, count in sorted(engine.ended.items())}, engine.awaiting_consent, bool(stops)
