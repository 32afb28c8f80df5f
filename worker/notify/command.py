"""A command: the document on its standard input, the outline in its environment. Exit code 0: it was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.config.commands import run_command
from worker.errors import WorkerError
from worker.notify.route import NotDelivered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.notify.message import Message
    from worker.redact import Scrubber


class Command:
    """One command, run without a shell in the folder of the config file."""

    def __init__(self, argv: tuple[str, ...], environ: Mapping[str, str], folder: Path, scrubber: Scrubber) -> None:
        self._argv = argv
        self._environ = environ
        self._folder = folder
        self._scrubber = scrubber

    def send(self, message: Message, timeout: float) -> None:
        """See Way. A command that takes too long is killed, with all that it started in its process group."""
        environ = {**self._environ, **outline(message)}
        try:
            run_command(self._argv, "command", environ, self._folder, timeout, given=message.body + b"\n")
        except WorkerError as error:
            raise NotDelivered(self._scrubber(error.message.removeprefix("command: "))) from None


def outline(message: Message) -> dict[str, str]:
    """The message in environment variables, for a command that reads no JSON."""
    items = message.document["data"]["items"]
    first = items[0]
    return {
        "WORKER_ID": message.id,
        "WORKER_EVENT": message.event,
        "WORKER_TITLE": message.title,
        "WORKER_TEXT": message.text,
        "WORKER_COUNT": str(len(items)),
        "WORKER_INTEGRATION": first["integration"],
        "WORKER_ACCOUNT": first["account"] or "",
        "WORKER_CAUSE": first["cause"],
        "WORKER_REMEDY": first["remedy"],
    }
