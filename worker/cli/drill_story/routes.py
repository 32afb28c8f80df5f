"""The operator's routes, as the drill's own config names them: the same ways, every subject marked as a drill.

Secrets are read here, and handed to the drill's daemon in its environment: they stand in no file and on no command
line. A route's filter by integration is left out: the drill's integration is nobody's.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.config.sections.notify import EVENTS
from worker.config.toml_text import to_toml
from worker.notify.routes import signing_secret

if TYPE_CHECKING:
    from pathlib import Path

    from worker.config.model import Config, NotifyConfig
    from worker.wiring import Wiring

MARK = "[drill]"
#: The route of a worker that has none.
BUILT_IN = "built-in receiver"
#: Runs the operator's command in his folder, and with room on the disk: that is full for the drill's daemon alone.
_ELSEWHERE = (
    "import os, resource, sys; hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1];"
    " resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)); os.chdir(sys.argv[1]);"
    " os.execvp(sys.argv[2], sys.argv[2:])"
)


@dataclass
class DrillRoutes:
    """Who is told, for the drill's config and for its report."""

    #: Name -> the events that it takes.
    events: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: For config.toml.
    lines: list[str] = field(default_factory=list)
    #: For the daemon.
    environ: dict[str, str] = field(default_factory=dict, repr=False)

    def taking(self, event: str) -> list[str]:
        """The routes that are told of an event."""
        return [name for name, events in self.events.items() if event in events]

    def add(self, name: str, events: tuple[str, ...], mark: str, **options: object) -> None:
        """One more route."""
        self.events[name] = events
        shown = {"name": name, "events": list(events), "remind": "0s", "mark": mark, **options}
        self.lines += ["", "[[notify]]", *(f"{option} = {to_toml(value)}" for option, value in shown.items())]

    def hide(self, secret: str) -> str:
        """Put a secret into the daemon's environment; the name of its variable."""
        name = f"WORKER_DRILL_SECRET_{len(self.environ) + 1}"
        self.environ[name] = secret
        return name


def built_in(url: str) -> DrillRoutes:
    """The routes of a worker that has none: one receiver in this process."""
    routes = DrillRoutes()
    routes.add(BUILT_IN, EVENTS, MARK, webhook=url, sign=False)
    return routes


def operators(wiring: Wiring) -> DrillRoutes:
    """The routes of a config. Raises Misconfigured when a secret of theirs cannot be read."""
    routes = DrillRoutes()
    for item in wiring.config.notify:
        mark = f"{MARK} {item.mark}".strip()
        routes.add(item.name, item.events, mark, **_way(item, wiring, routes))
    return routes


def _way(item: NotifyConfig, wiring: Wiring, routes: DrillRoutes) -> dict[str, object]:
    config, environ = wiring.config, wiring.environ
    if item.command is not None:
        return {"command": _in_folder(item.command, config)}
    if item.url is not None:
        return {"url_env": routes.hide(item.url.read(environ, config.base_dir).reveal())}
    assert item.webhook is not None
    if not item.sign:
        return {"webhook": item.webhook, "sign": False}
    return {"webhook": item.webhook, "secret_env": routes.hide(signing_secret(item, wiring.around_routes()).reveal())}


def _in_folder(argv: tuple[str, ...], config: Config) -> list[str]:
    program: Path | str = config.base_dir / argv[0] if "/" in argv[0] else argv[0]
    return [sys.executable, "-c", _ELSEWHERE, str(config.base_dir), str(program), *argv[1:]]
