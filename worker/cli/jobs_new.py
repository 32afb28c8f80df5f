"""`worker jobs new`: a job to begin with, its test beside it, and the lines that the config needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.invocation import invocation
from worker.cli.new_files import write_new
from worker.cli.output import print_json, say, tell
from worker.errors import Misconfigured, UsageFault

if TYPE_CHECKING:
    from pathlib import Path

    from worker.config.model import Config


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("new")(new)


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Of the job, its file and its function: letters, digits, - and _.")],
    integration: Annotated[str, typer.Option(help="As in the config; not needed when there is only one.")] = "",
) -> None:
    """Write a job and its test into the first folder of jobs_path. Nothing that exists is overwritten.

    What the config needs is printed, and nothing else on stdout: append it to the file if you like it as it is.

    Example: worker jobs new invoices >> config.toml
    """
    from worker.config.scaffold import scaffold

    called = invocation(context)
    config = called.load_config()
    folder = _folder(config)
    made = scaffold(name, folder, config, _integration(config, integration))
    present = [str(place / path.name) for path in made.files for place in config.worker.jobs_path]
    standing = [path for path in present if _exists(path)]
    if standing:
        raise UsageFault(f"{', '.join(standing)} exists already; nothing was written", hint="choose another name")
    for path, text in made.files.items():
        write_new(path, text)
    files = [str(path) for path in made.files]
    configured = name in config.jobs
    if called.as_json:
        print_json({"files": files, "config": str(config.path), "configured": configured, "toml": made.toml})
        return
    for file in files:
        tell(file)
    if not configured:
        say(f"\n{made.toml}")
        tell(f"These lines belong in {config.path}.")
    tell(f"Next: pytest {files[-1]}; then: worker jobs run {name} --dry-run")


def _folder(config: Config) -> Path:
    from worker.jobs.job_file import FileRefused, trust_folder

    folder = next(iter(config.worker.jobs_path), None)
    if folder is None:
        raise Misconfigured(f"{config.path} names no folder for jobs", hint='[worker] jobs_path = ["jobs"]')
    try:
        trust_folder(folder)
    except FileRefused as error:
        raise Misconfigured(f"the jobs folder {folder} {error}") from None
    except OSError as error:
        raise Misconfigured(f"the jobs folder {folder}: {error.strerror}", hint=f"mkdir -m 755 {folder}") from None
    return folder


def _integration(config: Config, named: str) -> str:
    known = ", ".join(config.integrations)
    if named and named not in config.integrations:
        raise UsageFault(
            f'there is no integration "{named}"', hint=f"one of {known}" if known else "worker config example"
        )
    if not named and len(config.integrations) > 1:
        raise UsageFault(f"which integration? there are {known}", hint="--integration NAME")
    return named or known or "example"


def _exists(path: str) -> bool:
    import os

    return os.path.lexists(path)
