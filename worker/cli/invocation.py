"""What a command was called with, and the parts it asks for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

    from worker.config.model import Config, WorkerSection
    from worker.wiring import Wiring


#: Seconds that a command takes, after its work, to tell people what it has caused.
_LAST_NEWS = 5.0


@dataclass(frozen=True)
class Invocation:
    """The global options."""

    config_file: str | None
    as_json: bool
    verbose: bool
    _wirings: list[Wiring] = field(default_factory=list, repr=False)

    @property
    def config_path(self) -> Path | None:
        """The file named by `--config` or $WORKER_CONFIG, or None."""
        return Path(self.config_file) if self.config_file else None

    def load_config(self) -> Config:
        """The configuration. Raises ConfigProblems, Misconfigured."""
        from worker.config.load import load

        return load(self.config_path, os.environ)

    def wiring(self, *, service: bool = False) -> Wiring:
        """The parts, with logging set up: to stdout for the daemon, to stderr for everything else."""
        from worker import log
        from worker.config.trust import refuse_open_to_all, writable_by_others
        from worker.wiring import Wiring

        wiring = Wiring(self.load_config())
        if service:
            refuse_open_to_all(wiring.config.path)

        def set_up_log(section: WorkerSection) -> None:
            level = "debug" if self.verbose else section.log_level if service else "warning"
            style = section.log_format if service else "text"
            log.configure(wiring.scrubber, level=level, style=style, stream=sys.stdout if service else sys.stderr)

        set_up_log(wiring.config.worker)
        wiring.set_up_log = set_up_log
        for place, what in wiring.config.warnings if service else ():
            log.warn_config(place, what)
        if service and (open_to_some := writable_by_others(wiring.config.path)):
            log.warn_config("file", open_to_some)
        self._wirings.append(wiring)
        return wiring

    def close(self) -> None:
        """The command has ended: what it has caused is told, unless a daemon listens that will do so."""
        for wiring in self._wirings:
            wiring.tell_people(_LAST_NEWS)


def invocation(context: typer.Context) -> Invocation:
    """The invocation that a command's context belongs to."""
    found = context.find_object(Invocation)
    assert found is not None
    return found
