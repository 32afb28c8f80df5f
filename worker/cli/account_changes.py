"""What `worker accounts` changes: pause, resume, revoke, remove; and what becomes of refusals that are held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.account_facts import IntegrationArgument, NameArgument, describe, find
from worker.cli.invocation import invocation
from worker.cli.output import print_json, say, tell
from worker.errors import NeedsConsent, UsageFault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.store.holds import Moved
    from worker.store.records import Account
    from worker.wiring import Wiring

_Held = Annotated[str, typer.Argument(metavar="INTEGRATION", help="The integration whose refusals are held.")]


def register(group: typer.Typer) -> None:
    """Add the commands to the group `accounts`."""
    for command in (pause, resume, revoke, remove, release, confirm):
        group.command(command.__name__)(command)


def pause(
    context: typer.Context,
    integration: IntegrationArgument,
    name: NameArgument = "",
    reason: Annotated[str, typer.Option(help="Why; shown wherever the account is.")] = "",
) -> None:
    """Set an account aside: nothing runs for it until it is resumed.

    Example: worker accounts pause arlo acme --reason "contract under review"
    """
    called = invocation(context)
    wiring = called.wiring()
    account = wiring.store.accounts.pause(find(wiring, integration, name), wiring.clock.now(), reason)
    _answer(wiring, account, as_json=called.as_json)


def resume(context: typer.Context, integration: IntegrationArgument, name: NameArgument = "") -> None:
    """Take up a paused account where it stood.

    Example: worker accounts resume arlo acme
    """
    called = invocation(context)
    wiring = called.wiring()
    account = wiring.store.accounts.resume(find(wiring, integration, name), wiring.clock.now())
    _answer(wiring, account, as_json=called.as_json)


def revoke(
    context: typer.Context,
    integration: IntegrationArgument,
    name: NameArgument = "",
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


def remove(
    context: typer.Context,
    integration: IntegrationArgument,
    name: NameArgument = "",
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


def release(context: typer.Context, integration: _Held) -> None:
    """Let the accounts go on whose refusals are held: the provider has mended what refused them all.

    Each tries for itself at its next use. Without this command a canary decides.

    Example: worker accounts release arlo
    """
    called = invocation(context)
    wiring = called.wiring()
    _decided(wiring, integration, wiring.refresher.fleet.release, as_json=called.as_json)


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
