"""`worker drill`: breaks things on purpose, and shows that alerts arrive and work resumes."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table
from worker.errors import ConfigProblems, Misconfigured, UsageFault

if TYPE_CHECKING:
    from worker.cli.drill_story.drill import Outcome
    from worker.cli.drill_story.routes import DrillRoutes
    from worker.cli.invocation import Invocation

_COLUMNS = ("fault", "detected", "told", "recovered", "result")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drill")(drill)


def drill(
    context: typer.Context,
    fault: Annotated[str, typer.Argument(help="revoke, rotate-crash, timeout, 403, 429, disk-full, or all.")] = "",
    only_list: Annotated[bool, typer.Option("--list", help="Show the faults that can be played.")] = False,
    limit: Annotated[float, typer.Option("--limit", help="Seconds that any step may take.", min=1.0)] = 60.0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the folder behind, to look around in.")] = False,
) -> None:
    """Play a fault against a local provider, and measure how soon it is known, told and recovered from.

    A worker with a store of its own is set up for it in a temporary folder; of yours, it takes the notification routes:
    the messages arrive where real ones would, marked [drill]. Without routes a receiver in this process stands in.
    Exit code 1, with the step named, if anything did not happen as promised.

    Examples: worker drill revoke; worker drill all --json; worker drill --list
    """
    from worker.cli.drill_story.drill import FAULTS

    called = invocation(context)
    if only_list:
        _list({name: what for name, (what, _) in FAULTS.items()}, as_json=called.as_json)
        return
    if fault != "all" and fault not in FAULTS:
        what = f'there is no drill "{fault}"' if fault else "which fault?"
        raise UsageFault(f"{what}; known: {', '.join(FAULTS)}, all", hint="worker drill --list")
    outcomes, routes = _play(called, list(FAULTS) if fault == "all" else [fault], limit=limit, keep=keep)
    if called.as_json:
        print_json(_document(outcomes, routes))
    if not all(outcome.good for outcome in outcomes):
        raise typer.Exit(1)


def _list(faults: dict[str, str], *, as_json: bool) -> None:
    rows = [{"fault": name, "what_happens": what} for name, what in faults.items()]
    if as_json:
        print_json(rows)
    else:
        print_table(("fault", "what_happens"), rows)


def _play(
    called: Invocation, faults: list[str], *, limit: float, keep: bool
) -> tuple[list[Outcome], dict[str, tuple[str, ...]]]:
    from worker.cli.demo_story.narrator import Narrator
    from worker.cli.drill_story.drill import Conditions, play
    from worker.cli.drill_story.receiver import Receiver
    from worker.cli.drill_story.routes import built_in

    narrator = Narrator(sys.stderr if called.as_json else sys.stdout)
    outcomes: list[Outcome] = []
    with ExitStack() as held:
        routes = _routes(called)
        if routes is None:
            narrator.opening("No notification routes are configured:", "a receiver in this process stands in for them.")
            routes = built_in(held.enter_context(Receiver()).url)
        for fault in faults:
            narrator.opening(f"\nworker drill {fault}", "Half a minute, on this machine, in a folder of its own.")
            outcomes.append(play(fault, narrator, Conditions(routes, limit, keep)))
    narrator.closing("What was measured, in seconds", _COLUMNS, [_row(outcome) for outcome in outcomes])
    bad = [f'{one.fault} ("{one.failed_step}")' for one in outcomes if not one.good]
    kept = [str(one.folder) for one in outcomes if one.kept]
    place = f" Left behind, with daemon.log and provider.log: {', '.join(kept)}." if kept else ""
    said = f"Not as promised: {', '.join(bad)}." if bad else "Detected, told and recovered from, as promised."
    narrator.ending(said + place, good=not bad)
    return outcomes, routes.events


def _routes(called: Invocation) -> DrillRoutes | None:
    """The operator's routes; None when there is no config, or none in it."""
    from worker.cli.drill_story.routes import operators

    try:
        wiring = called.wiring()
    except ConfigProblems:
        raise
    except Misconfigured:
        if called.config_path is not None:
            raise
        return None
    return operators(wiring) if wiring.config.notify else None


def _row(outcome: Outcome) -> dict[str, Any]:
    times = outcome.times
    return {
        "fault": outcome.fault,
        "detected": _seconds(times.detected),
        "told": _seconds(max(times.told.values(), default=None)),
        "recovered": _seconds(times.recovered),
        "result": "as promised" if outcome.good else f'failed at "{outcome.failed_step}"',
    }


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _document(outcomes: list[Outcome], routes: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    from worker.cli.drill_story.routes import BUILT_IN

    return {
        "ok": all(outcome.good for outcome in outcomes),
        "routes": [{"route": name, "events": list(events)} for name, events in routes.items()],
        "built_in_receiver": BUILT_IN in routes,
        "drills": [
            {
                "fault": one.fault,
                "ok": one.good,
                "failed_step": one.failed_step,
                "error": one.error,
                "detected_seconds": one.times.detected,
                "told_seconds": one.times.told,
                "recovered_seconds": one.times.recovered,
                "folder": str(one.folder) if one.kept else None,
                "steps": [asdict(step) for step in one.steps],
            }
            for one in outcomes
        ],
    }
