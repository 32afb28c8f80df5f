"""`worker keys escrow` and `worker keys recover`: the keyring's copy for the day when the keyring is lost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, say, tell
from worker.errors import KeyUnusable, UsageFault

if TYPE_CHECKING:
    from worker.crypto.keyring import Keyring
    from worker.redact import Secret
    from worker.store.key_proof import KeyProof
    from worker.wiring import Wiring

#: An escrow file has some hundred bytes for each key.
_LARGEST = 64 * 1024


def register(group: typer.Typer) -> None:
    """Add the commands to the group `keys`."""
    group.command("escrow")(escrow)
    group.command("recover")(recover)


def escrow(
    context: typer.Context, file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write it.")]
) -> None:
    """Write a copy of the keyring that is protected by a passphrase, to be kept offline.

    The passphrase is asked for twice, or read as one line of stdin. Make a new copy after each rotation.

    Example: worker keys escrow keyring-escrow.txt
    """
    from worker.crypto.escrow import check_passphrase, read_escrow, write_escrow
    from worker.crypto.keyring import create_private_file

    called = invocation(context)
    wiring = called.wiring()
    path = Path(file)
    if path.is_symlink() or path.exists():
        raise KeyUnusable(f"{path} exists already; an escrow copy is never overwritten")
    # The store is opened first: a copy of the wrong keyring would be found out on the worst of days.
    name = wiring.store.database.name
    keyring = wiring.sealer.keyring
    passphrase = _passphrase(twice=True)
    check_passphrase(passphrase)
    create_private_file(path, write_escrow(keyring, passphrase), "an escrow copy")
    read_escrow(path.read_text(encoding="ascii"), passphrase, str(path))
    keys = [key.id for key in keyring.keys]
    if called.as_json:
        print_json({"file": str(path), "keys": keys, "database": name})
    else:
        say(f"{path} holds {_named(keys)} for {name}")
        tell(f"Take it offline, keep the passphrase elsewhere, and try it once: worker keys recover {path}")


def recover(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The escrow copy.")],
    write: Annotated[str, typer.Option("--write", metavar="PATH", help="Also write the keyring file, there.")] = "",
) -> None:
    """Open an escrow copy, prove that its keys open the database, and write the keyring back where none exists.

    The passphrase is asked for, or read as one line of stdin. Without --write nothing is changed: a drill.

    Examples: worker keys recover keyring-escrow.txt; worker keys recover keyring-escrow.txt --write worker.key
    """
    from worker.crypto.escrow import read_escrow
    from worker.crypto.keyring import create_keyring_file

    called = invocation(context)
    wiring = called.wiring()
    text = _read(Path(file))
    keyring = read_escrow(text, _passphrase(twice=False), file)
    proof = _prove(wiring, keyring)
    if proof is not None and proof.wrong:
        raise KeyUnusable(
            f"{file} is the copy of another keyring: its {_named(proof.wrong)} did not seal {_database(wiring)}"
        )
    if write:
        create_keyring_file(Path(write), keyring.keys)
    keys = [key.id for key in keyring.keys]
    if called.as_json:
        print_json(_facts(file, keys, proof, write))
    else:
        _tell(wiring, keys, proof, write)
    if proof is not None and not proof.complete:
        raise typer.Exit(78)


def _prove(wiring: Wiring, keyring: Keyring) -> KeyProof | None:
    """What the keys open; None when there is no database, or nothing in it: the key comes before the restore."""
    from contextlib import closing

    from worker.crypto.sealing import Sealer
    from worker.store.database import Database
    from worker.store.files import look_at
    from worker.store.key_proof import prove_keys
    from worker.store.migrate import schema_version
    from worker.store.store import open_database

    path = wiring.config.store.sqlite_path
    if path is not None and look_at(path) is None:
        return None
    url = wiring.config.store.read_url(wiring.environ, wiring.config.base_dir)
    with closing(Database(url)) as present:
        if schema_version(present) is None:
            return None
    database, _ = open_database(url, wiring.state_folder, wiring.config.store.witness)
    return prove_keys(database, Sealer(keyring, wiring.scrubber))


def _tell(wiring: Wiring, keys: list[str], proof: KeyProof | None, write: str) -> None:
    if proof is None:
        say(f"the passphrase opens the copy: {_named(keys)}")
        tell(f"There is nothing in {_database(wiring)} yet, so whether they open it is not proven.")
    elif proof.complete:
        say(f"the copy ({_named(keys)}) opens {_database(wiring)}: all {proof.opened} sealed values")
    else:
        say(f"the copy ({_named(keys)}) opens {proof.opened} sealed values of {_database(wiring)}, but not all")
        for key_id, count in proof.missing.items():
            tell(f'{count} values are sealed with key "{key_id}", which the copy lacks: it is older than that key')
        for message in proof.damaged:
            tell(message)
    if write:
        say(f"{write} written")


def _facts(file: str, keys: list[str], proof: KeyProof | None, write: str) -> dict[str, Any]:
    return {
        "file": file,
        "keys": keys,
        "proven": proof is not None and proof.complete,
        "opened": None if proof is None else proof.opened,
        "missing_keys": None if proof is None else dict(proof.missing),
        "damaged": None if proof is None else list(proof.damaged),
        "written": write or None,
    }


def _named(keys: list[str] | tuple[str, ...]) -> str:
    return f"key{'' if len(keys) == 1 else 's'} {', '.join(keys)}"


def _database(wiring: Wiring) -> str:
    return str(wiring.config.store.sqlite_path or "the PostgreSQL store")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST or not content.isascii():
        raise KeyUnusable(f"{path} is no escrow file", hint="worker keys escrow FILE writes one")
    return content.decode("ascii")


def _passphrase(*, twice: bool) -> Secret:
    """The passphrase, from a prompt or one line of stdin. Raises UsageFault when there is none or they differ."""
    from getpass import getpass

    from worker.redact import Secret

    if not sys.stdin.isatty():
        try:
            line = sys.stdin.buffer.readline().decode()
        except UnicodeDecodeError:
            raise UsageFault("the passphrase on stdin is not UTF-8 text") from None
        if not line.rstrip("\r\n"):
            raise UsageFault("no passphrase on stdin")
        return Secret(line.rstrip("\r\n"))
    typed = Secret(getpass("Passphrase (not shown): ", stream=sys.stderr))
    if twice and Secret(getpass("Once more: ", stream=sys.stderr)) != typed:
        raise UsageFault("the two passphrases differ; nothing was written")
    return typed
