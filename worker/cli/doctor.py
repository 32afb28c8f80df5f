"""`worker doctor`: what is wrong, or will be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.cli.invocation import Invocation
    from worker.doctor.diagnosis import Diagnosis


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    offline: Annotated[bool, typer.Option("--offline", help="Leave out what needs the network.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only what is wrong.")] = False,
) -> None:
    """Examine config, key, disk, store, clients, accounts, endpoints and clocks; say what is wrong and what to do.

    Nothing is changed, and no token is sent. Exit code 78 when something must be changed, 75 when a pause may mend it,
    3 when an account needs consent, else 0.

    Examples: worker doctor; worker doctor --offline --json
    """
    from worker.doctor.diagnosis import Level, exit_code

    called = invocation(context)
    found: list[Diagnosis] = []
    for diagnosis in _diagnoses(called, offline=offline):
        found.append(diagnosis)
        if not called.as_json and not (quiet and diagnosis.level in {Level.OK, Level.NOTE}):
            _show(diagnosis)
    code = exit_code(found)
    if called.as_json:
        print_json({"ok": code == 0, "exit_code": code, "findings": [_as_dict(one) for one in found]})
    raise typer.Exit(code)


def _diagnoses(called: Invocation, *, offline: bool) -> Iterator[Diagnosis]:
    from worker.config.check import check
    from worker.doctor.configuration import of_jobs, of_report
    from worker.doctor.examination import examine

    report = check(called.config_path, os.environ)
    yield from of_report(report)
    if report.config is None:
        return
    wiring = called.wiring()
    yield from of_jobs(report.config, wiring.catalog())
    yield from examine(wiring, offline=offline)


def _show(diagnosis: Diagnosis) -> None:
    say(f"{diagnosis.level:8}{diagnosis.subject}  {diagnosis.message}")
    if diagnosis.hint:
        say(f"{'':8}Try: {diagnosis.hint}")


def _as_dict(diagnosis: Diagnosis) -> dict[str, str]:
    return {
        "subject": diagnosis.subject,
        "level": diagnosis.level,
        "message": diagnosis.message,
        "hint": diagnosis.hint,
    }
