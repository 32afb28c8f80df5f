"""`worker accounts`: who is enrolled, how they are, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table, say, tell
from worker.clock import rfc3339
from worker.errors import NeedsConsent, UsageFault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.store.holds import Moved
    from worker.store.records import Account, TimelineEntry
    from worker.wiring import Wiring

group = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Accounts: list, show, why, pause, resume, revoke, remove; release or confirm held refusals.",
)

_Integration = Annotated[str, typer.Argument(help="The integration, or INTEGRATION/ACCOUNT in one word.")]
_Held = Annotated[str, typer.Argument(metavar="INTEGRATION", help="The integration whose refusals are held.")]
_Name = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="accounts")


@group.command("list")
def list_accounts(
    context: typer.Context,
    integration: Annotated[str, typer.Option("--integration", help="Only this integration's.")] = "",
) -> None:
    """List the accounts with state and reason.

    Example: worker accounts list --integration arlo
    """
    called = invocation(context)
    wiring = called.wiring()
    rows = [describe(wiring, account) for account in wiring.store.accounts.list(integration or None)]
    if called.as_json:
        print_json(rows)
        return
    columns = ("integration", "account", "state", "reason", "generation", "access_token_expires_at")
    print_table(columns, rows, empty="no accounts are enrolled; worker enroll INTEGRATION ACCOUNT")
    for message in (message for row in rows for message in row["unreadable"]):
        tell(message)


@group.command("show")
def show(context: typer.Context, integration: _Integration, name: _Name = "") -> None:
    """Show everything about one account, except its tokens.

    Example: worker accounts show arlo acme
    """
    called = invocation(context)
    wiring = called.wiring()
    account = find(wiring, integration, name)
    facts = describe(wiring, account)
    facts["jobs"] = [
        {
            "job": due.job,
            "next_due": rfc3339(due.next_due),
            "last_success": rfc3339(due.last_success),
            "missed_since": rfc3339(due.missed_since),
            "parked": due.parked or None,
        }
        for due in wiring.store.schedule.entries()
        if due.account.id == account.id
    ]
    if called.as_json:
        print_json(facts)
        return
    for field, value in facts.items():
        if field != "jobs":
            shown = " ".join(value) if isinstance(value, list) else value
            say(f"{field + ':':<26}{'-' if shown in (None, '') else shown}")
    say("")
    print_table(("job", "next_due", "last_success", "missed_since", "parked"), facts["jobs"], empty="no jobs")


@group.command("why")
def why(
    context: typer.Context,
    integration: _Integration,
    name: _Name = "",
    limit: Annotated[int, typer.Option(help="Only the newest so many entries.", min=1)] = 50,
) -> None:
    """Tell the account's story: what happened, the evidence, what to do.

    Example: worker accounts why arlo/acme --limit 10
    """
    called = invocation(context)
    wiring = called.wiring()
    account = find(wiring, integration, name)
    entries = wiring.store.timeline.of(account, limit)
    facts = describe(wiring, account)
    lacking = wiring.store.schedule.lacking(account.id).values()
    advice = remedy(account, list(dict.fromkeys(scope for scopes in lacking for scope in scopes)))
    if facts["unreadable"] and not advice:
        advice = f"worker store check; then restore a backup, or: worker enroll {account.integration} {account.name}"
    if called.as_json:
        document = {
            **facts,
            "remedy": advice or None,
            "timeline": [_entry(entry) for entry in entries],
        }
        print_json(document)
        return
    for entry in entries:
        say(_line(entry))
        for field, value in entry.evidence.items():
            say(f"    {field}: {value}")
    since = rfc3339(account.state_since)
    say(f"Now: {account.state} since {since}" + (f": {account.reason}" if account.reason else ""))
    for message in facts["unreadable"]:
        say(f"Does not open: {message}")
    if advice:
        say(f"To do: {advice}")


@group.command("pause")
def pause(
    context: typer.Context,
    integration: _Integration,
    name: _Name = "",
    reason: Annotated[str, typer.Option(help="Why; shown wherever the account is.")] = "",
) -> None:
    """Set an account aside: nothing runs for it until it is resumed.

    Example: worker accounts pause arlo acme --reason "contract under review"
    """
    called = invocation(context)
    wiring = called.wiring()
    account = wiring.store.accounts.pause(find(wiring, integration, name), wiring.clock.now(), reason)
    _answer(wiring, account, as_json=called.as_json)


@group.command("resume")
def resume(context: typer.Context, integration: _Integration, name: _Name = "") -> None:
    """Take up a paused account where it stood.

    Example: worker accounts resume arlo acme
    """
    called = invocation(context)
    wiring = called.wiring()
    account = wiring.store.accounts.resume(find(wiring, integration, name), wiring.clock.now())
    _answer(wiring, account, as_json=called.as_json)


@group.command("revoke")
def revoke(
    context: typer.Context,
    integration: _Integration,
    name: _Name = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give the grant back to the provider, and keep the account's history. It can be enrolled again.

    Example: worker accounts revoke arlo acme --yes
    """
    called = invocation(context)
    wiring = called.wiring()
    account = find(wiring, integration, name)
    _confirm(f"Revoke the grant of {account.label}?", yes=yes)
    tell(wiring.enrolment.revoke(wiring.client(account.integration), account))
    _answer(wiring, wiring.store.accounts.by_id(account.id), as_json=called.as_json)


@group.command("remove")
def remove(
    context: typer.Context,
    integration: _Integration,
    name: _Name = "",
    keep_grant: Annotated[bool, typer.Option("--keep-grant", help="Do not revoke it at the provider first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Revoke the grant, then delete the account, its schedule and its history. Rows and cursors in sinks stay.

    Example: worker accounts remove arlo acme --yes
    """
    called = invocation(context)
    wiring = called.wiring()
    account = find(wiring, integration, name)
    _confirm(f"Delete {account.label} and its history?", yes=yes)
    if not keep_grant and account.state != "revoked":
        try:
            tell(wiring.enrolment.revoke(wiring.client(account.integration), account))
        except NeedsConsent:
            tell("there was no grant to revoke")
    wiring.store.accounts.remove(account)
    if called.as_json:
        print_json({"integration": account.integration, "account": account.name, "removed": True})
    else:
        say(f"{account.label} removed")


@group.command("release")
def release(context: typer.Context, integration: _Held) -> None:
    """Let the accounts go on whose refusals are held: the provider has mended what refused them all.

    Each tries for itself at its next use. Without this command a canary decides.

    Example: worker accounts release arlo
    """
    called = invocation(context)
    wiring = called.wiring()
    _decided(wiring, integration, wiring.refresher.fleet.release, as_json=called.as_json)


@group.command("confirm")
def confirm(context: typer.Context, integration: _Held) -> None:
    """Let the refusals count that are held: each account needs its owner's consent.

    Without this command a canary decides.

    Example: worker accounts confirm arlo
    """
    called = invocation(context)
    wiring = called.wiring()
    _decided(wiring, integration, wiring.refresher.fleet.confirm, as_json=called.as_json)


def _decided(wiring: Wiring, integration: str, decide: Callable[[str, str], Sequence[Moved]], *, as_json: bool) -> None:
    from worker.engines.doorbell import ring
    from worker.store.holds import GRANTS_REFUSED

    wiring.integration(integration)
    if wiring.store.incidents.find_open(integration, GRANTS_REFUSED) is None:
        raise UsageFault(f"no refusals of {integration} are held", hint="worker status")
    moved = decide(integration, "decided by the operator")
    ring(wiring.state_folder)
    if as_json:
        print_json([{"account": one.account.name, "state": one.account.state} for one in moved])
        return
    for one in moved:
        say(f"{one.account.label} is {one.account.state}")


def find(wiring: Wiring, integration: str, name: str) -> Account:
    """The account that two words, or one with a slash, mean."""
    if not name:
        integration, _, name = integration.partition("/")
    if not name:
        raise UsageFault("which account?", hint="worker accounts list")
    return wiring.store.accounts.get(integration, name)


def describe(wiring: Wiring, account: Account) -> dict[str, Any]:
    """An account for `--json`. Times are RFC 3339 in UTC. A value that does not open is told in `unreadable`."""
    from worker.store.sealed_values import find_unopened_of

    facts: dict[str, Any] = {
        "integration": account.integration,
        "account": account.name,
        "state": account.state,
        "cause": account.cause or None,
        "reason": account.reason or None,
        "state_since": rfc3339(account.state_since),
        "enrolled_at": rfc3339(account.created_at),
    }
    try:
        grant = wiring.store.grants.look(account.id)
    except NeedsConsent:
        times = ("access_token_expires_at", "last_refreshed_at", "consented_at", "failing_since", "alerted_at")
        return (
            facts
            | {"scopes": [], "requested_scopes": [], "generation": 0, "failures": 0, "subject": None, "unreadable": []}
            | dict.fromkeys(times)
        )
    faults = find_unopened_of(wiring.store.database, wiring.sealer, account.id)
    hidden = any(fault.kind == "identity" for fault in faults)
    return facts | {
        "scopes": list(grant.scopes),
        "requested_scopes": list(grant.requested_scopes),
        "generation": grant.generation,
        "access_token_expires_at": rfc3339(grant.expires_at),
        "last_refreshed_at": rfc3339(grant.refreshed_at),
        "consented_at": rfc3339(grant.consented_at),
        "failing_since": rfc3339(grant.failing_since),
        "failures": grant.failures,
        "alerted_at": rfc3339(grant.alerted_at),
        "subject": None if hidden else wiring.store.grants.read_identity(account.id).get("subject"),
        "unreadable": [fault.message for fault in faults],
    }


def remedy(account: Account, scopes: Sequence[str] = ()) -> str:
    """What a human has to do for this account, whose jobs lack these scopes; empty when nothing."""
    from worker.store.records import consent_remedy

    names = f"{account.integration} {account.name}"
    if account.cause == "held":
        decide = f"worker accounts release {account.integration}, or worker accounts confirm {account.integration}"
        return f"nothing yet: a canary account decides; or you do: {decide}"
    return {
        "needs_consent": consent_remedy(account.integration, account.name, account.cause, scopes),
        "paused": f"worker accounts resume {names}",
        "revoked": f"worker enroll {names}, or worker accounts remove {names}",
        "in_doubt": "nothing yet: the next use settles it",
    }.get(account.state, "")


def _answer(wiring: Wiring, account: Account, *, as_json: bool) -> None:
    from worker.engines.doorbell import ring

    ring(wiring.state_folder)
    if as_json:
        print_json(describe(wiring, account))
    else:
        say(f"{account.label} is {account.state}")


def _confirm(question: str, *, yes: bool) -> None:
    import sys

    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageFault("this cannot be undone and nobody can be asked", hint="add --yes")
    typer.confirm(question, abort=True, err=True)


def _entry(entry: TimelineEntry) -> dict[str, Any]:
    return {
        "at": rfc3339(entry.at),
        "kind": entry.kind,
        "before": entry.before,
        "after": entry.after,
        "cause": entry.cause,
        "message": entry.message,
        "evidence": entry.evidence,
        "generation": entry.generation,
        "run_id": entry.run_id,
    }


def _line(entry: TimelineEntry) -> str:
    moved = f"{entry.before} -> {entry.after}" if entry.after and entry.before != entry.after else entry.kind
    generation = f" (generation {entry.generation})" if entry.generation is not None else ""
    text = f": {entry.message}" if entry.message else ""
    cause = f" [{entry.cause}]" if entry.cause and entry.cause != entry.kind else ""
    return f"{rfc3339(entry.at)}  {moved}{cause}{text}{generation}"
