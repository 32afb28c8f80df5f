"""`worker metrics`: figures for Prometheus."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.invocation import invocation
from worker.cli.output import print_json, say
from worker.errors import WorkerError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("metrics")(metrics)


def metrics(
    context: typer.Context,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead, whole or not at all.")
    ] = None,
) -> None:
    """Print the store's figures in the text format of Prometheus: accounts, runs, freshness, what is late or held.

    Needs neither the daemon nor the key. With --output, from a timer, it feeds node_exporter's textfile collector.

    Example: worker metrics --output /var/lib/node_exporter/textfile/worker.prom
    """
    from worker.metrics import MOST_ACCOUNTS, exposition
    from worker.store.figures import read_figures

    called = invocation(context)
    config = called.load_config()
    path = config.store.sqlite_path
    url = "" if path is not None else config.store.read_url(os.environ, config.base_dir)
    text = exposition(lambda: read_figures(url, path, time.time(), MOST_ACCOUNTS))
    if output is not None:
        _replace(output, text)
    if called.as_json:
        print_json({"metrics": text.decode(), "written_to": str(output) if output else None})
    elif output is None:
        sys.stdout.write(text.decode())
    else:
        say(f"written to {output}")


def _replace(path: Path, text: bytes) -> None:
    """Put the text in place in one step, readable by all: a collector of another user reads it at any moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(text)
        temporary.chmod(0o644)
        temporary.rename(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WorkerError(
            f"{path} cannot be written: {error.strerror}", hint="name a folder that this user may write"
        ) from None
