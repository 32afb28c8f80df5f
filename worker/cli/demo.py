"""`worker demo`: the whole story on a local provider."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json

if TYPE_CHECKING:
    from worker.cli.demo_story.narrator import Narrator
    from worker.cli.demo_story.story import Tale


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the folder behind, to look around in.")] = False,
) -> None:
    """Play the whole story on a local provider, in half a minute: enrol, run, expire, revoke, flag, consent, catch up.

    Needs no set-up, reads no configuration and leaves nothing behind. Every step is checked; the exit code is 1, and
    the step is named, if one did not happen. With --json the story goes to standard error.

    Examples: worker demo; worker demo --keep; worker demo --json > what-happened.json
    """
    from worker.cli.demo_story.story import tell

    called = invocation(context)
    narrator = _narrator(as_json=called.as_json)
    try:
        tale = tell(narrator, keep=keep)
    except KeyboardInterrupt:
        narrator.ending("Interrupted. Everything that was started has been ended.", good=False)
        raise
    good = tale.failed_step is None
    place = f" The folder is still there, with daemon.log and provider.log: {tale.folder}" if tale.kept else ""
    if good:
        told = f"{len(tale.steps)} steps, {tale.facts} facts checked, {tale.seconds:.0f} s."
    else:
        told = f'The step "{tale.failed_step}" did not happen.'
    narrator.ending(told + place, good=good)
    if called.as_json:
        print_json(_document(tale))
    raise typer.Exit(0 if good else 1)


def _narrator(*, as_json: bool) -> Narrator:
    if as_json:
        from worker.cli.demo_story.narrator import Narrator

        return Narrator(sys.stderr)
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}:
        from worker.cli.demo_story.live import LiveNarrator

        return LiveNarrator(sys.stdout)
    from worker.cli.demo_story.narrator import Narrator

    return Narrator(sys.stdout)


def _document(tale: Tale) -> dict[str, object]:
    return {
        "ok": tale.failed_step is None,
        "failed_step": tale.failed_step,
        "error": tale.error,
        "seconds": round(tale.seconds, 1),
        "folder": str(tale.folder) if tale.kept else None,
        "steps": [
            asdict(step) | {"began": round(step.began, 1), "seconds": round(step.seconds, 1)} for step in tale.steps
        ],
        "accounts": tale.accounts,
    }
