"""`worker jobs reset`: forget where a job stood, so that its next run begins anew."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.jobs_run import accounts_of
from worker.cli.output import print_json, say, tell
from worker.errors import UsageFault

if TYPE_CHECKING:
    from worker.jobs.sinks import Sink, Stream
    from worker.store.records import Account
    from worker.wiring import Wiring


@dataclass(frozen=True)
class _Place:
    """A cursor that is to be forgotten."""

    account: Account
    stream: Stream
    sink: Sink
    cursor: dict[str, Any]


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("reset")(reset)


def reset(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="As in the config, or a backfill as worker jobs list names it.")],
    account: Annotated[list[str] | None, typer.Option(help="Only this account; may be given several times.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget a job's cursor: its next run begins anew. Rows stay, and those with a key are replaced as they come again.

    A run under way is refused at its next checkpoint, and starts again. On a terminal it asks; elsewhere --yes has to
    be given.

    Example: worker jobs reset invoices --account acme
    """
    called = invocation(context)
    wiring = called.wiring()
    places = _places(wiring, job, account or [])
    moved = [place for place in places if place.cursor]
    if not yes and moved:
        for place in moved:
            tell(f"{place.stream}: {json.dumps(place.cursor, ensure_ascii=False)}")
        _confirm(job, len(moved))
    for place in places:
        place.sink.reset(place.stream)
        wiring.store.schedule.forget_backfill(job, place.account.id)
    if called.as_json:
        print_json([{"job": job, "account": one.account.label, "cursor_before": one.cursor} for one in places])
        return
    for place in places:
        say(f"{place.stream}: {'forgotten' if place.cursor else 'had no cursor'}")


def _places(wiring: Wiring, job: str, names: list[str]) -> list[_Place]:
    from worker.jobs.sinks import Stream
    from worker.jobs.window import MARK

    config = wiring.job(job.partition(MARK)[0])
    sink, accounts = wiring.sink(config), accounts_of(wiring, config, names)
    if MARK in job:
        known = {(one.job, one.account.id) for one in wiring.store.schedule.backfills()}
        accounts = [account for account in accounts if (job, account.id) in known]
        if not accounts:
            raise UsageFault(f"there is no backfill {job}", hint="worker jobs list")
    streams = {account: Stream(job, account.integration, account.name) for account in accounts}
    return [_Place(account, stream, sink, sink.read_cursor(stream)) for account, stream in streams.items()]


def _confirm(job: str, count: int) -> None:
    """Raise UsageFault unless somebody says yes."""
    if not sys.stdin.isatty():
        raise UsageFault(
            f"{count} cursor{'' if count == 1 else 's'} of {job} would be forgotten; nothing was changed",
            hint=f"worker jobs reset {job} --yes",
        )
    typer.confirm("Forget?", abort=True, err=True)
