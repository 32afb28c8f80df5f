"""`worker accounts`: who is enrolled, how they are, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli import account_changes
from worker.cli.account_facts import (
    IntegrationArgument,
    NameArgument,
    describe,
    describe_entry,
    find,
    line_of,
    remedy,
)
from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table, say, tell
from worker.clock import rfc3339

group = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Accounts: list, show, why, pause, resume, revoke, remove; release or confirm held refusals.",
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    account_changes.register(group)
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
def show(context: typer.Context, integration: IntegrationArgument, name: NameArgument = "") -> None:
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
    integration: IntegrationArgument,
    name: NameArgument = "",
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
            "timeline": [describe_entry(entry) for entry in entries],
        }
        print_json(document)
        return
    for entry in entries:
        say(line_of(entry))
        for field, value in entry.evidence.items():
            say(f"    {field}: {value}")
    since = rfc3339(account.state_since)
    say(f"Now: {account.state} since {since}" + (f": {account.reason}" if account.reason else ""))
    for message in facts["unreadable"]:
        say(f"Does not open: {message}")
    if advice:
        say(f"To do: {advice}")
