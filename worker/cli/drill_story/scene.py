"""What a drill works with: the scene, the daemon's log, and the three times that it takes.

detected   from the fault to the line of the log in which the worker knows of it
told       from the fault to the line in which a route has taken the message
recovered  from what mends it to the moment at which everything missed is in the sink
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from worker.cli.demo_story.folder import INTEGRATION, add_jobs, add_settings
from worker.cli.demo_story.processes import Child, environment
from worker.cli.demo_story.rows import sink_prints, source_prints
from worker.cli.demo_story.scene import Scene, StepRecord
from worker.cli.drill_story.daemon_log import DaemonLog
from worker.store.snapshot import outbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.cli.demo_story.narrator import Narrator
    from worker.cli.drill_story.routes import DrillRoutes

#: Whose account it is, and what is copied.
PERSON = "alice"
LABEL = f"{INTEGRATION}/{PERSON}"
COLLECTION = "events"
#: Rows at the source.
_ROWS = 50
#: More than a drill has to tell.
_RECENT = 50
#: How long the token endpoint is waited for, and a run may take: the defaults are meant for slow providers.
_SETTINGS = {"integrations": 'read_timeout = "2s"', "jobs": 'timeout = "10s"'}


@dataclass
class Times:
    """What was measured, in seconds; None: it did not come to that."""

    detected: float | None = None
    #: Route -> when it had taken the alarm. Empty where the promise is that nobody is bothered.
    told: dict[str, float] = field(default_factory=dict)
    recovered: float | None = None


class DrillScene(Scene):
    """One drill's scene."""

    def __init__(self, folder: Path, narrator: Narrator, limit: float, routes: DrillRoutes) -> None:
        super().__init__(folder, narrator, limit)
        self.routes = routes
        self.log = DaemonLog(self.daemon_log)
        self.times = Times()
        #: When the fault was played, and how long the log was then.
        self._injected = (0.0, 0)

    def begin(self, name: str, title: str) -> None:
        """A step begins."""
        self._end_step()
        self.steps.append(StepRecord(name, title, self.narrator.seconds))
        self.narrator.step(title)

    def _end_step(self) -> None:
        if self.steps and not self.steps[-1].done:
            self.steps[-1].seconds = self.narrator.seconds - self.steps[-1].began
            self.steps[-1].done = True

    def finish(self) -> None:
        """The last step has been made."""
        self._end_step()

    def set_up(self) -> None:
        """A provider, a folder, one account, a daemon that copies what there is."""
        self.begin("set up", "A worker of its own: one account, one job every second")
        self.launch_provider(["--rows", str(_ROWS)])
        self.commands.run("init", ".")
        add_jobs(self.folder)
        add_settings(self.folder, self.addresses, {COLLECTION: "1s"}, _SETTINGS)
        with (self.folder / "config.toml").open("a", encoding="utf-8") as file:
            file.write("\n".join(self.routes.lines) + "\n")
        secret = self.addresses["client_secret"] + "\n"
        self.commands.run("secrets", "set", INTEGRATION, "client_secret", given=secret)
        self.consent(INTEGRATION, PERSON)
        self.start_daemon()
        self.wait(self.level, f"{LABEL} is enrolled and copied, and the routes are {', '.join(self.routes.events)}")

    def start_daemon(self) -> None:
        """The daemon, as a service would run it, with the routes' secrets in its environment."""
        self.narrator.command("worker run")
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "run"],
            cwd=self.folder,
            env=environment(os.environ) | self.routes.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.daemon = Child("the daemon", process)
        assert process.stdout is not None
        before = len(self.log)
        self.log.follow(process.stdout)
        self.wait(lambda: self.log.find("ready", before) is not None, f"the daemon works (process {process.pid})")

    def kill_daemon(self) -> None:
        """Leave it no instruction more."""
        assert self.daemon is not None
        daemon, self.daemon = self.daemon, None
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait()

    def inject(self, fault: Callable[[], object]) -> None:
        """Play the fault, with rows at the source that will be missed."""
        self.control.insert(COLLECTION, 3)
        self.mark()
        fault()

    def mark(self) -> None:
        """The fault is played now: times count from here."""
        self._injected = (time.time(), len(self.log))

    def detect(self, message: str, claim: str, **facts: object) -> None:
        """Wait for the line of the log in which the worker knows."""
        moment, length = self._injected
        self.wait(lambda: self.log.find(message, length, **facts) is not None, claim)
        self.times.detected = max((self.log.find(message, length, **facts) or moment) - moment, 0.0)

    def expect_told(self, event: str) -> None:
        """Wait until every route that takes an event has taken its message."""
        taking = self.routes.taking(event)
        for name in taking:
            self.wait(partial(self._was_told, name, event), f"{name} has taken {event}")
            told = self._told(name, event)
            if event != "recovered" and told is not None:
                self.times.told[name] = max(told - self._injected[0], 0.0)
        for name in self.routes.events:
            if name not in taking:
                self.narrator.note(f"{name} takes no {event}: see events in its [[notify]]")

    def _was_told(self, route: str, event: str) -> bool:
        return self._told(route, event) is not None

    def _told(self, route: str, event: str) -> float | None:
        return self.log.find("people were told", self._injected[1], route=route, event=event)

    def expect_nobody_told(self, claim: str) -> None:
        """Nothing was sent since the fault, and nothing waits to be."""
        written = outbox("", self.folder / "state" / "worker.db", _RECENT)
        events = [one["event"] for one in written if one["created_at"] >= self._injected[0]]
        self.check(not events, claim, events)

    def recover(self, mend: Callable[[], object], claim: str, since: float | None = None) -> None:
        """Do what mends it, and wait until everything missed has been made up.

        `since` is the monotonic second at which the fault ended by itself, where it did.
        """
        mended = since or time.monotonic()
        mend()
        self.wait(self.level, claim)
        self.times.recovered = time.monotonic() - mended

    def consent_again(self) -> None:
        """What the notification asks for."""
        self.consent(INTEGRATION, PERSON)

    def level(self) -> bool:
        """Whether the sink holds exactly what the source does."""
        if not self.sink.exists():
            return False
        source = source_prints(self.control.rows(COLLECTION), COLLECTION)
        return source == sink_prints(self.sink, COLLECTION, PERSON)

    def account(self) -> dict[str, Any]:
        """The account, as `worker accounts show` has it."""
        found: dict[str, Any] = self.commands.read("accounts", "show", LABEL)
        return found

    def check_flagged(self, cause: str) -> None:
        """Cause, evidence and remedy are on record."""
        story = self.commands.read("accounts", "why", LABEL)
        flagged = [entry for entry in story["timeline"] if entry["after"] == "needs_consent"][-1]
        self.check(flagged["cause"] == cause, f'the cause on record is "{cause}"', flagged["cause"])

    def token_calls(self) -> dict[str, int]:
        """Refreshes that were asked for, by what the provider answered."""
        found: dict[str, int] = self.stats()["token_calls"].get("refresh_token", {})
        return found
