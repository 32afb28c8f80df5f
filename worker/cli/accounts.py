"""`worker accounts`: who is enrolled, how they are, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table, say, tell
from worker.clock import rfc3339
from worker.errors import NeedsConsent, UsageFault

if TYPE_CHECKING:
    from worker.store.records import Account, TimelineEntry
    from worker.wiring import Wiring

group = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Accounts: list, show, why, pause, resume, revoke, remove."
)

_Integration = Annotated[str, typer.Argument(help="The integration, or INTEGRATION/ACCOUNT in one word.")]
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
    advice = remedy(account)
    if called.as_json:
        document = {
            **describe(wiring, account),
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


def find(wiring: Wiring, integration: str, name: str) -> Account:
    """The account that two words, or one with a slash, mean."""
    if not name:
        integration, _, name = integration.partition("/")
    if not name:
        raise UsageFault("which account?", hint="worker accounts list")
    return wiring.store.accounts.get(integration, name)


def describe(wiring: Wiring, account: Account) -> dict[str, Any]:
    """An account for `--json`. Times are RFC 3339 in UTC."""
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
        grant = wiring.store.grants.read(account.id)
    except NeedsConsent:
        nothing = ("access_token_expires_at", "last_refreshed_at", "consented_at", "failing_since", "subject")
        return facts | {"scopes": [], "requested_scopes": [], "generation": 0} | dict.fromkeys(nothing)
    return facts | {
        "scopes": list(grant.scopes),
        "requested_scopes": list(grant.requested_scopes),
        "generation": grant.generation,
        "access_token_expires_at": rfc3339(grant.expires_at),
        "last_refreshed_at": rfc3339(grant.refreshed_at),
        "consented_at": rfc3339(grant.consented_at),
        "failing_since": rfc3339(grant.failing_since),
        "subject": wiring.store.grants.read_identity(account.id).get("subject"),
    }


def remedy(account: Account) -> str:
    """What a human has to do for this account; empty when nothing."""
    names = f"{account.integration} {account.name}"
    if account.cause == "insufficient_scope":
        return f"add the scope to [integrations.{account.integration}] scopes, then: worker enroll {names}"
    return {
        "needs_consent": f"worker enroll {names}",
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
