"""The entry: global options, the commands, and what becomes of an error.

`--json` and `--config` may stand anywhere on the line; they are moved to its front, where the parser knows them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from worker import __version__
from worker.cli import (
    accounts,
    changes,
    config,
    demo,
    doctor,
    drill,
    enroll,
    init,
    jobs,
    keys,
    metrics,
    notify,
    once,
    run,
    runs,
    secrets,
    status,
    store,
)
from worker.cli.invocation import Invocation
from worker.cli.output import print_error, tell
from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERRUPTED = 130
_USAGE = 2

app = typer.Typer(
    name="worker",
    help="Keeps headless OAuth integrations alive: enrols accounts, runs sync jobs, refreshes lazily, says who must"
    " consent again.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 a human must consent, 75 try again later, 78 configuration."
    " --json and --config may stand anywhere.",
    # Help without rich starts in half the time and can be piped anywhere.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headless-worker {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    context: typer.Context,
    config_file: Annotated[
        str | None, typer.Option("--config", "-c", help="The config file.", envvar="WORKER_CONFIG", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log everything, to standard error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.obj = Invocation(config_file, as_json, verbose)
    context.call_on_close(context.obj.close)


COMMANDS = (
    init, enroll, secrets, accounts, jobs, run, once, status, runs, changes, metrics, keys,
    store, config, notify, demo, drill, doctor,
)  # fmt: skip
for module in COMMANDS:
    module.register(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    line = hoist(sys.argv[1:] if arguments is None else list(arguments))
    as_json = "--json" in line[:3]
    try:
        code = app(line, standalone_mode=False, prog_name="worker")
    except WorkerError as error:
        print_error(error.message, error.hint, error.exit_code, as_json=as_json)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(_INTERRUPTED)
    except typer.Exit as leaving:
        sys.exit(leaving.exit_code)
    except Exception as error:
        shown = getattr(error, "format_message", None)
        if shown is None:
            raise
        # The parser's own complaints: unknown commands and options, missing arguments.
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "worker"
        complain(str(shown()), path, as_json=as_json)
        sys.exit(_USAGE)
    sys.exit(code if isinstance(code, int) else 0)


def complain(message: str, path: str, *, as_json: bool) -> None:
    """Tell what the parser found. Of a group without a command it says nothing but the group's help."""
    if not message.startswith("Usage: "):
        print_error(message, f"{path} --help", _USAGE, as_json=as_json)
    elif as_json:
        print_error("which command?", f"{path} --help", _USAGE, as_json=True)
    else:
        tell(message)


def hoist(line: list[str]) -> list[str]:
    """The line with `--json` and `--config FILE` moved to its front, as far as `--` and no further."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(line)
    for word in words:
        if word == "--":
            rest.append(word)
            rest.extend(words)
        elif word == "--json":
            front.insert(0, word)
        elif word == "--config":
            value = next(words, None)
            front += [word] if value is None else [word, value]
        elif word.startswith("--config="):
            front.append(word)
        else:
            rest.append(word)
    return [*front, *rest]
