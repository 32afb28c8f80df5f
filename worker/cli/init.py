"""`worker init`: a working folder to start from."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.invocation import invocation
from worker.cli.new_files import write_new
from worker.cli.output import print_json, say, tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(
    context: typer.Context, folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder to fill.")] = "."
) -> None:
    """Write config.toml, a keyring (readable by you alone) and a jobs/ folder with a first job.

    Nothing that exists is overwritten. Example: worker init /etc/worker
    """
    from pathlib import Path

    from worker.config.initial import INITIAL_FILES, KEYRING_FILE, next_steps
    from worker.crypto.keyring import create_keyring_file, new_key
    from worker.errors import UsageFault

    root = Path(folder)
    targets = [root / name for name in (*INITIAL_FILES, KEYRING_FILE)]
    standing = [str(path) for path in targets if path.exists()]
    if standing:
        raise UsageFault(
            f"{', '.join(standing)} {'exists' if len(standing) == 1 else 'exist'} already; nothing was written",
            hint="worker init in an empty folder",
        )
    for name, text in INITIAL_FILES.items():
        write_new(root / name, text)
    create_keyring_file(root / KEYRING_FILE, [new_key("k1")])
    if invocation(context).as_json:
        print_json({"folder": str(root), "files": [str(path) for path in targets]})
        return
    for path in targets:
        say(str(path))
    tell(next_steps(folder))
