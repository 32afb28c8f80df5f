"""`worker secrets`: credentials of an integration, into the encrypted store and never out again."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table, say
from worker.errors import UsageFault

group = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Client secrets and other credentials, kept encrypted."
)

_Integration = Annotated[str, typer.Argument(help="As in the config: [integrations.NAME].")]
_Name = Annotated[str, typer.Argument(help="Which credential: client_secret.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="secrets")


@group.command("set")
def set_secret(context: typer.Context, integration: _Integration, name: _Name = "client_secret") -> None:
    """Store a credential, read from a prompt or from one line of stdin; never from the command line.

    Example: worker secrets set arlo client_secret < secret.txt
    """
    from getpass import getpass

    from worker.accounts.recovery import CLIENT_REFUSED
    from worker.engines.doorbell import ring
    from worker.redact import Secret

    if name != "client_secret":
        raise UsageFault(
            f'no integration uses a credential called "{name}"', hint=f"worker secrets set {integration} client_secret"
        )
    called = invocation(context)
    wiring = called.wiring()
    wiring.integration(integration)
    if sys.stdin.isatty():
        value = getpass(f"{name} of {integration} (not shown): ", stream=sys.stderr).strip()
    else:
        value = sys.stdin.readline().rstrip("\r\n")
    if not value:
        raise UsageFault("no value on stdin", hint=f"worker secrets set {integration} {name} < FILE")
    now = wiring.clock.now()
    replaced = wiring.store.secrets.set(integration, name, Secret(value), now)
    if wiring.store.incidents.release(integration, CLIENT_REFUSED, now):
        # What failed for want of the right secret is tried again at once.
        wiring.store.schedule.wake_integration(integration, now)
    ring(wiring.state_folder)
    if called.as_json:
        print_json({"integration": integration, "name": name, "replaced": replaced})
    else:
        say(f"{integration} {name} {'replaced' if replaced else 'stored'}")


@group.command("list")
def list_secrets(context: typer.Context) -> None:
    """Show which credentials are stored, and since when. Values are never shown.

    Example: worker secrets list
    """
    from worker.clock import rfc3339

    called = invocation(context)
    rows = [
        {"integration": integration, "name": name, "updated_at": rfc3339(updated_at)}
        for integration, name, updated_at in called.wiring().store.secrets.list()
    ]
    if called.as_json:
        print_json(rows)
    else:
        print_table(("integration", "name", "updated_at"), rows, empty="no credentials are stored")


@group.command("remove")
def remove_secret(context: typer.Context, integration: _Integration, name: _Name = "client_secret") -> None:
    """Delete a credential from the store.

    Example: worker secrets remove arlo client_secret
    """
    called = invocation(context)
    if not called.wiring().store.secrets.remove(integration, name):
        raise UsageFault(f"{integration} has no credential {name} in the store", hint="worker secrets list")
    if called.as_json:
        print_json({"integration": integration, "name": name, "removed": True})
    else:
        say(f"{integration} {name} removed")
