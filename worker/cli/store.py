"""`worker store`: the database."""

from __future__ import annotations

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, say

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The database: check, migrate.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="store")


@group.command("migrate")
def migrate(context: typer.Context) -> None:
    """Bring the schema up to date (every start does the same).

    Example: worker store migrate
    """
    from worker.store.migrate import HEAD

    called = invocation(context)
    name = called.wiring().store.database.name
    if called.as_json:
        print_json({"database": name, "schema": HEAD})
    else:
        say(f"{name} has schema {HEAD}")


@group.command("check")
def check(context: typer.Context) -> None:
    """Check the database's integrity, its key, and that every sealed value opens.

    Example: worker store check
    """
    from worker.errors import NeedsConsent, StoreUnusable, TamperedSecret

    called = invocation(context)
    store = called.wiring().store
    faults = store.database.integrity_faults()
    for integration, name, _ in store.secrets.list():
        try:
            store.secrets.get(integration, name)
        except TamperedSecret as error:
            faults.append(error.message)
    for account in store.accounts.list():
        try:
            grant = store.grants.read(account.id)
            if grant.has_refresh_token:
                store.grants.read_refresh_token(grant)
            store.grants.read_identity(account.id)
        except NeedsConsent:
            continue
        except TamperedSecret as error:
            faults.append(error.message)
    if called.as_json:
        print_json({"database": store.database.name, "faults": faults})
        raise typer.Exit(78 if faults else 0)
    if faults:
        raise StoreUnusable(
            "\n".join([f"{store.database.name}: {len(faults)} faults", *faults]), hint="restore a backup"
        )
    say(f"{store.database.name}: sound")
