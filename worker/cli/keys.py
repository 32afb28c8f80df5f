"""`worker keys`: the keyring."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, print_table, say

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The keyring: new, verify, list.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="keys")


@group.command("new")
def new(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="Where to write it; default: as in the config.")] = "",
) -> None:
    """Write a new keyring file for a new database. An existing file is never overwritten.

    A database that exists was sealed with another key and will refuse this one: restore its keyring instead.

    Example: worker keys new worker.key
    """
    from pathlib import Path

    from worker.crypto.keyring import create_keyring_file, new_key
    from worker.errors import KeyUnusable, Misconfigured, UsageFault

    called = invocation(context)
    path = Path(file)
    try:
        config = called.load_config()
    except Misconfigured:
        if not file:
            raise
    else:
        if not file and config.keyring.path is None:
            raise UsageFault("the config names no keyring file", hint="worker keys new FILE")
        known = config.keyring.path
        path = known if not file and known is not None else path
        database = config.store.sqlite_path
        ours = known is not None and path.absolute() == known
        if ours and database is not None and database.exists() and database.stat().st_size:
            raise KeyUnusable(
                f"{database} exists and was sealed with another key; a new one cannot open it",
                hint="restore the keyring from your copy",
            )
    create_keyring_file(path, [new_key("k1")])
    if called.as_json:
        print_json({"file": str(path)})
    else:
        say(f"{path}: keep a copy of it somewhere else")


@group.command("verify")
def verify(context: typer.Context) -> None:
    """Prove that the keyring opens the database.

    Example: worker keys verify
    """
    called = invocation(context)
    wiring = called.wiring()
    name = wiring.store.database.name
    keys = [key.id for key in wiring.sealer.keyring.keys]
    if called.as_json:
        print_json({"database": name, "keys": keys, "ok": True})
    else:
        say(f"the keyring ({', '.join(keys)}) opens {name}")


@group.command("list")
def list_keys(context: typer.Context) -> None:
    """List the keys, oldest first. The newest one seals.

    Example: worker keys list
    """
    called = invocation(context)
    keyring = called.wiring().sealer.keyring
    rows = [{"id": key.id, "seals": key is keyring.newest} for key in keyring.keys]
    if called.as_json:
        print_json(rows)
    else:
        print_table(("id", "seals"), rows)
