"""`worker keys`: the keyring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_error, print_json, print_table, say, tell

if TYPE_CHECKING:
    from pathlib import Path

    from worker.store.key_standing import KeyStanding
    from worker.store.rotation import Rotated
    from worker.wiring import Wiring

group = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The keyring: new, verify, list, rotate, retire, escrow, recover.",
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    from worker.cli import escrow

    escrow.register(group)
    app.add_typer(group, name="keys")


@group.command("new")
def new(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="Where to write it; default: as in the config.")] = "",
    key_id: Annotated[str, typer.Option("--id", metavar="NAME", help="What to call the key.")] = "k1",
) -> None:
    """Write a new keyring file for a new database. An existing file is never overwritten.

    A database that exists was sealed with another key and will refuse this one: restore its keyring instead. Where the
    keyring is not a file of ours (environment, credential, command), a file with one more key is how a rotation begins.

    Examples: worker keys new worker.key; worker keys new k2.key --id k2
    """
    from pathlib import Path

    from worker.crypto.keyring import check_key_id, create_keyring_file, new_key
    from worker.errors import Misconfigured, UsageFault

    called = invocation(context)
    path = Path(file)
    key_id = check_key_id(key_id)
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
        if known is not None and path.absolute() == known:
            _refuse_beside(config.store.sqlite_path)
    create_keyring_file(path, [new_key(key_id)])
    if called.as_json:
        print_json({"file": str(path), "id": key_id})
    else:
        say(f"{path}: keep a copy of it somewhere else")


def _refuse_beside(database: Path | None) -> None:
    """Raise KeyUnusable where a database is: it was sealed with another key than a new one."""
    from worker.errors import KeyUnusable
    from worker.store.files import look_at

    found = None if database is None else look_at(database)
    if found is not None and found.st_size:
        raise KeyUnusable(
            f"{database} exists and was sealed with another key; a new one cannot open it",
            hint="restore the keyring from your copy, or: worker keys recover FILE",
        )


@group.command("verify")
def verify(context: typer.Context) -> None:
    """Prove that the keyring opens the database: every key is the right one, and none that is needed is missing.

    That each single value is intact is another question: worker store check. Example: worker keys verify
    """
    from worker.errors import KeyUnusable
    from worker.store.key_standing import key_standings

    called = invocation(context)
    wiring = called.wiring()
    name = wiring.store.database.name
    standings = key_standings(wiring.store.database, wiring.sealer)
    missing = [standing for standing in standings if standing.values and not standing.on_keyring]
    if missing:
        ids = ", ".join(f"{standing.id} ({standing.values} values)" for standing in missing)
        raise KeyUnusable(
            f"{wiring.keyring_place} lacks keys that {name} is sealed with: {ids}",
            hint="put them back as lines of the keyring; worker keys recover FILE",
        )
    keys = [key.id for key in wiring.sealer.keyring.keys]
    if called.as_json:
        print_json({"database": name, "keys": keys, "ok": True})
    else:
        say(f"the keyring ({', '.join(keys)}) opens {name}")


@group.command("list")
def list_keys(context: typer.Context) -> None:
    """List the keys, oldest first, with how many values each one seals; also keys that the keyring lacks.

    The newest one seals. One that seals nothing may be retired. Works without the right keyring, and without any.

    Example: worker keys list
    """
    from worker.errors import Misconfigured, TryAgainLater
    from worker.store.key_standing import key_standings
    from worker.store.store import open_database

    called = invocation(context)
    wiring = called.wiring()
    sealer, fault = None, None
    try:
        sealer = wiring.sealer
    except (Misconfigured, TryAgainLater) as error:
        fault = error
    url = wiring.config.store.read_url(wiring.environ, wiring.config.base_dir)
    database, _ = open_database(url, wiring.state_folder, wiring.config.store.witness)
    standings = key_standings(database, sealer)
    if called.as_json:
        print_json([_facts(standing) for standing in standings])
    else:
        rows = [{**_facts(standing), **standing.counts, "note": standing.note} for standing in standings]
        print_table(("id", "seals", "on_keyring", "values", *_kinds(), "note"), rows, empty="no key was ever used here")
    if fault is not None:
        # Not raised: with --json, its message would be a second document.
        print_error(fault.message, fault.hint, fault.exit_code, as_json=False)
        raise typer.Exit(fault.exit_code)
    if any(standing.values and not standing.on_keyring for standing in standings):
        tell("Values sealed with a key that is not on the keyring cannot be read: put its line back.")


@group.command("rotate")
def rotate(
    context: typer.Context,
    key_id: Annotated[
        str, typer.Option("--id", metavar="NAME", help="What to call the new key; default: k2, k3 …")
    ] = "",
    more: Annotated[bool, typer.Option("--new-key", help="Add a key even if an older one still seals values.")] = False,
) -> None:
    """Add a fresh key to the keyring and seal every value anew with it, while the daemon runs.

    Stopped anywhere, the same command goes on: as long as an older key seals values, it adds no other. Where the
    keyring is not a file of ours, add the key there first (worker keys new FILE --id NAME) and start the daemon again.

    Example: worker keys rotate
    """
    from worker.crypto.keyring import check_key_id
    from worker.engines.doorbell import ring
    from worker.store.rotation import Rotation

    called = invocation(context)
    wiring = called.wiring()
    rotation = Rotation(
        wiring.store,
        wiring.sealer,
        wiring.keyring_file,
        wiring.keyring_place,
        wiring.state_folder,
        lambda: ring(wiring.state_folder),
    )
    rotated = rotation.run(wiring.clock.now(), key_id=check_key_id(key_id) if key_id else "", more=more)
    if called.as_json:
        print_json(_outcome(rotated))
    else:
        _tell_rotated(rotated, wiring)
    if rotated.unopened:
        raise typer.Exit(78)


@group.command("retire")
def retire(context: typer.Context, key_id: Annotated[str, typer.Argument(metavar="KEY", help="Its id.")]) -> None:
    """Take a key's line out of the keyring file, if it seals nothing in the database any more.

    Backups from before the rotation still need it: keep a copy as long as you keep them. Example: worker keys retire k1
    """
    from worker.engines.doorbell import ring
    from worker.store.retirement import Retirement

    called = invocation(context)
    wiring = called.wiring()
    retirement = Retirement(
        wiring.store,
        wiring.sealer,
        wiring.keyring_file,
        wiring.keyring_place,
        wiring.state_folder,
        lambda: ring(wiring.state_folder),
    )
    retirement.run(key_id, wiring.clock.now())
    if called.as_json:
        print_json({"id": key_id, "retired": True})
    else:
        say(f'key "{key_id}" is off the keyring; backups from before now may still need it')


def _kinds() -> tuple[str, ...]:
    from worker.store.sealed_values import KINDS

    return KINDS


def _facts(standing: KeyStanding) -> dict[str, Any]:
    from worker.clock import rfc3339

    return {
        "id": standing.id,
        "seals": standing.seals,
        "on_keyring": standing.on_keyring,
        "genuine": standing.genuine,
        "values": standing.values,
        "by_kind": dict(standing.counts),
        "registered_at": rfc3339(standing.registered_at),
        "unused_since": rfc3339(standing.unused_since),
        "note": standing.note,
    }


def _outcome(rotated: Rotated) -> dict[str, Any]:
    return {
        "added": rotated.added,
        "newest": rotated.newest,
        "resealed": rotated.values,
        "remaining": len(rotated.unopened),
        "unopened": [fault.message for fault in rotated.unopened],
        "unused": list(rotated.unused),
    }


def _tell_rotated(rotated: Rotated, wiring: Wiring) -> None:
    begun = f'key "{rotated.added}" was added' if rotated.added else f'a rotation to key "{rotated.newest}" goes on'
    say(f"{begun}; {rotated.values} values sealed anew, {len(rotated.unopened)} remain")
    for fault in rotated.unopened:
        tell(f"not sealed anew: {fault.message}")
    for key_id in rotated.unused:
        retiring = f"worker keys retire {key_id}" if wiring.keyring_file else "take its line out of the keyring"
        tell(
            f'Nothing is sealed with key "{key_id}" any more; backups from before now need it.'
            f" To be rid of it: {retiring}"
        )
    if rotated.added:
        tell("Copy the keyring to where you keep its copy, or: worker keys escrow FILE")
    if not wiring.store.database.is_sqlite:
        tell("Other machines on this store need the same keyring; a command or daemon there reads its own.")
