"""The generated pages of docs/: the command line and the errors, from the code that is run."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from typer.main import get_command

from worker import errors
from worker.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLI_HEAD = """\
# The command line

Generated from the commands themselves (`python tools/generate.py`).

`worker [--config FILE] [--json] COMMAND`. Results go to standard output, logs and progress to standard error; `--json`
gives one JSON document. `--json` and `--config` may stand anywhere on the line. The config file is `--config`, else
`$WORKER_CONFIG`, else `./config.toml`, else `/etc/worker/config.toml`.

Exit codes: 0 done, 1 failed, 2 usage, 3 a human must consent, 75 try again later, 78 configuration.

Shell completion: `worker --install-completion`.
"""
_ERRORS_HEAD = """\
# Errors

Generated from `worker/errors.py` (`python tools/generate.py`). Every message names the place, what was found and, after
`Try:`, what to type.

| error | exit code | meaning |
|---|---|---|
"""


def render_cli() -> str:
    """docs/cli.md: the help of every command, as a terminal of 100 columns shows it."""
    parts = [_CLI_HEAD]
    for path, command in _commands(get_command(app), "worker"):
        context: Any = command.make_context(path, [], resilient_parsing=True)
        context.terminal_width = 100
        help_text = command.get_help(context).strip()
        parts.append(f"## {path}\n\n```text\n{_trimmed(help_text)}\n```\n")
    return "\n".join(parts)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if getattr(child, "commands", None):
            yield from _commands(child, f"{path} {name}")
        else:
            yield f"{path} {name}", child


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines())


def render_errors() -> str:
    """docs/errors.md: every error class with its exit code and message."""
    classes = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.WorkerError) and value.__module__ == errors.__name__
    ]
    rows = [f"| {value.__name__} | {value.exit_code} | {_first_line(value)} |\n" for value in classes]
    return _ERRORS_HEAD + "".join(rows)


def _first_line(value: type) -> str:
    return inspect.cleandoc(value.__doc__ or "").splitlines()[0]
