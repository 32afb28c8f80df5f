"""`worker changes`: deletions that wait for an approval."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table, say, tell
from worker.clock import rfc3339
from worker.errors import UsageFault, WorkerError

if TYPE_CHECKING:
    from worker.store.changes import HeldChange
    from worker.wiring import Wiring

group = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Deletions that are held because they are too many: list, show, approve, reject.",
)

_Id = Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="changes")


@group.command("list")
def list_changes(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were decided.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.", min=1)] = 50,
) -> None:
    """List the changes that wait for you, newest first.

    Example: worker changes list
    """
    called = invocation(context)
    found = called.wiring().store.changes.list(only_waiting=not everything, limit=limit)
    rows = [describe(change) for change in found]
    if called.as_json:
        print_json(rows)
        return
    columns = ("id", "job", "integration", "account", "table", "state", "gone", "present", "held_at", "reason")
    print_table(columns, rows, empty="no deletions are held")


@group.command("show")
def show(context: typer.Context, change: _Id) -> None:
    """Show one change: what the listing said, and some of the rows' keys.

    Example: worker changes show 4f1c
    """
    called = invocation(context)
    facts = describe(called.wiring().store.changes.get(change))
    if called.as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        if name != "sample":
            say(f"{name + ':':<14}{'-' if value in {None, ''} else value}")
    say(f"{'keys:':<14}{'; '.join(facts['sample']) or '-'}{', …' if facts['gone'] > len(facts['sample']) else ''}")
    if facts["state"] == "held":
        say(f"worker changes approve {facts['id']} deletes these rows, but for those that came back since;")
        say(f"worker changes reject {facts['id']} keeps them; the next listing that says so asks again")


@group.command("approve")
def approve(context: typer.Context, change: _Id, yes: _Yes = False) -> None:
    """Delete the rows of a held change, but for those that came back since.

    Exit code 0 also when it was carried out before; 1 when a newer listing has taken its place.
    Example: worker changes approve 4f1c
    """
    _decide(context, change, approving=True, yes=yes)


@group.command("reject")
def reject(context: typer.Context, change: _Id, yes: _Yes = False) -> None:
    """Drop a held change: the rows stay. The next listing that would delete as much is held anew.

    Example: worker changes reject 4f1c
    """
    _decide(context, change, approving=False, yes=yes)


def _decide(context: typer.Context, uid: str, *, approving: bool, yes: bool) -> None:
    from worker.store.changes import APPROVED, REJECTED, SUPERSEDED, Decision

    called = invocation(context)
    wiring = called.wiring()
    change = wiring.store.changes.get(uid)
    wanted = APPROVED if approving else REJECTED
    if change.state not in {"held", wanted}:
        raise WorkerError(f"change {change.id} was {change.state} by {change.decided_by}", hint=_next(wiring, change))
    decided_before = change.state == wanted
    if not decided_before:
        verb = "Delete" if approving else "Keep"
        _confirm(f"{verb} {change.gone} rows of {change.table} of {change.account.label}?", yes=yes or not approving)
        applied = _settle(wiring, change, approving=approving)
        # Rows that are gone were taken away by an approval that did not come to its record.
        state = SUPERSEDED if applied is None else APPROVED if applied else wanted
        decision = Decision(change.job, change.account, state, _who(), applied)
        wiring.store.changes.decide(change, decision, wiring.clock.now())
        wiring.deliverer.heard = True  # people were told that it waits
        change = wiring.store.changes.get(change.id)
    if change.state == SUPERSEDED:
        raise WorkerError(
            f"change {change.id} is not in the sink of {change.job}: a newer listing has taken its place there, "
            "or the job has another sink now",
            hint=_next(wiring, change),
        )
    if change.state != wanted:
        raise WorkerError(
            f"change {change.id} was {change.state} before: {change.applied or 0} rows deleted",
            hint="worker changes list --all",
        )
    if called.as_json:
        print_json(describe(change))
    elif decided_before:
        when = f"by {change.decided_by} at {rfc3339(change.decided_at)}"
        done = f"{_rows(change.applied or 0)} deleted then" if approving else "nothing was deleted"
        say(f"change {change.id} was already {change.state} {when}: {done}")
    else:
        done = f"{change.applied} rows deleted" if approving else "nothing deleted"
        say(f"change {change.id} {change.state}: {done}")


def _rows(count: int) -> str:
    return "1 row was" if count == 1 else f"{count} rows were"


def _next(wiring: Wiring, change: HeldChange) -> str:
    """The command that goes on from a change that was decided: to the one that is held in its place, if any."""
    for held in wiring.store.changes.list():
        if (held.job, held.account.id, held.table) == (change.job, change.account.id, change.table):
            return f"worker changes show {held.id}"
    return "worker changes list"


def _settle(wiring: Wiring, change: HeldChange, *, approving: bool) -> int | None:
    """Have the sink carry it out or drop it; None when the sink does not have it."""
    from worker.jobs.sinks import Stream, Sweeping

    sink = wiring.sink(wiring.job(change.job))
    if not isinstance(sink, Sweeping):
        raise WorkerError(f"the sink of {change.job} holds no deletions", hint="worker config show")
    stream = Stream(change.job, change.account.integration, change.account.name)
    return sink.settle(change.id, stream, change.table, approve=approving)


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageFault("this cannot be undone and nobody can be asked", hint="add --yes")
    typer.confirm(question, abort=True, err=True)


def _who() -> str:
    """Who decided, for the record."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        tell("this user has no name; the record says so")
        return "a user without a name"


def describe(change: HeldChange) -> dict[str, Any]:
    """A change for `--json`. Times are RFC 3339 in UTC."""
    return {
        "id": change.id,
        "job": change.job,
        "integration": change.account.integration,
        "account": change.account.name,
        "table": change.table,
        "state": change.state,
        "reason": change.reason,
        "gone": change.gone,
        "present": change.present,
        "seen": change.seen,
        "sample": list(change.sample),
        "run": change.run_id,
        "held_at": rfc3339(change.held_at),
        "decided_at": rfc3339(change.decided_at),
        "decided_by": change.decided_by or None,
        "applied": change.applied,
    }
