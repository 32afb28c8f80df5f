"""Real daemons: `worker run` as a process of its own, on a working folder, against a provider in this process.

Jobs and test talk through files: a job says that it has begun by making one, and waits for another.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from prepared_command import run_prepared

from worker.config.load import load
from worker.crypto.keyring import new_key, render_keyring
from worker.redact import Secret
from worker.sandbox import Sandbox, SandboxConfig
from worker.store.records import Account, Consent, NewTokens, Run
from worker.store.runs import RunFilter
from worker.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Seconds. No claim of any test: where a shared machine is this slow, something hangs.
PATIENCE = 90.0

JOBS = '''
"""Jobs that wait for files."""

import time
from pathlib import Path

from worker import job


def _meet(ctx, patience=0.02, ask=False):
    folder = Path(ctx.params["folder"])
    (folder / f"entered-{ctx.job}-{ctx.account}").touch()
    while not (folder / "go").exists():
        if ask:
            ctx.get("events/")
        time.sleep(patience)


@job
def quick(ctx):
    ctx.emit("quick", {"run": ctx.run_id})


@job
def waiting(ctx):
    """Ends when it is told to, and asks nobody meanwhile."""
    _meet(ctx)


@job
def asking(ctx):
    """Ends when it is told to, or at one of its many requests."""
    _meet(ctx, ask=True)


@job
def counting(ctx):
    """Rows without a key, checkpoint by checkpoint; stops half way the first time."""
    for number in range(ctx.cursor.get("next", 0), 6):
        ctx.emit("numbers", {"number": number})
        ctx.checkpoint(next=number + 1)
        if number == 2:
            ctx.emit("numbers", {"number": 99})
            _meet(ctx)


@job
def failing(ctx):
    raise ValueError("a bug")


@job
def events(ctx):
    for number in range(ctx.cursor.get("seen", 0) + 1, 6):
        ctx.emit("events", {"number": number}, key="number")
        ctx.checkpoint(seen=number)
    ctx.get("events/")
'''


def until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Wait for a condition and answer what it answered."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.02)
    return found


class Daemon:
    """One process of `worker run`."""

    def __init__(self, place: Place, number: int, **environ: str) -> None:
        self._log = place.folder / f"daemon-{number}.log"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                place.line("run"),
                cwd=place.folder,
                env=place.environment | environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self) -> str:
        """All that it has said."""
        return self._log.read_text()

    def lines(self, message: str) -> list[dict[str, Any]]:
        """Its log lines of one message."""
        found = (json.loads(line) for line in self.text.splitlines() if line.startswith("{"))
        return [line for line in found if line["message"] == message]

    def says(self, message: str) -> dict[str, Any]:
        """Wait for a message and answer its line."""

        def look() -> list[dict[str, Any]]:
            found = self.lines(message)
            assert found or self.process.poll() is None, f"it ended without saying {message!r}:\n{self.text}"
            return found

        return until(look, f"{message!r} in {self._log}")[-1]

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end and answer its exit code."""
        return self.process.wait(PATIENCE)

    def stop(self) -> int:
        """SIGTERM, and its end."""
        self.send(signal.SIGTERM)
        return self.end()

    def kill(self) -> None:
        """SIGKILL, if it lives."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)


class Place:
    """A working folder."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.meeting = folder / "meeting"
        self.meeting.mkdir()
        self._daemons: list[Daemon] = []
        (folder / "jobs").mkdir(mode=0o755)
        self.add_job_file("test", JOBS)
        key = folder / "worker.key"
        key.touch(0o600)
        key.write_text(render_keyring([new_key("k1")]))
        self.jobs: dict[str, dict[str, object]] = {}
        #: None: the file in the state folder.
        self.store_url: str | None = None
        self.options: dict[str, object] = {"drain_timeout": "60s", "timezone": "UTC", "log_format": "json"}
        self.write()
        self._wiring: Wiring | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What processes find around them."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return kept | {"HOME": str(self.folder), "NO_PROXY": "*"}

    def line(self, *arguments: str) -> list[str]:
        """A command line."""
        return [sys.executable, "-m", "worker", "--config", str(self.folder / "config.toml"), *arguments]

    def job(self, name: str, every: str | None = "1h", **options: object) -> None:
        """Add `[jobs.NAME]`; `uses` is the function of that name unless told otherwise."""
        settings = {"uses": f"test.{name}", "integration": "books", "sink": "local"}
        self.jobs[name] = settings | ({"every": every} if every else {}) | options
        self.write()

    def add_job_file(self, name: str, text: str) -> None:
        """Write jobs/NAME.py."""
        path = self.folder / "jobs" / f"{name}.py"
        path.write_text(text)
        path.chmod(0o644)

    def write(self) -> None:
        """Write the config as it stands."""
        sections = [f"[worker]\n{_toml(self.options)}", '[keyring]\nfile = "worker.key"']
        client = {
            "client_id": self.sandbox.client_id,
            "client_secret": self.sandbox.client_secret,
            "token_url": self.sandbox.token_url,
            "api_base": self.sandbox.api_base,
            "scopes": ["read", "all_claims", "offline_access"],
        }
        sections.append(f'[integrations.books]\n{_toml(client)}\nheaders = {{ Accept = "application/xml" }}')
        sections.append('[sinks.local]\ntype = "sqlite"\npath = "state/data.db"')
        if self.store_url is not None:
            sections.append(f"[store]\nurl = {json.dumps(self.store_url)}")
        for name, options in self.jobs.items():
            # The tests' own jobs meet their test there; Arlo's check what they are given.
            params = f"\nparams = {{ folder = {json.dumps(str(self.meeting))} }}"
            arlos = str(options["uses"]).startswith("arlo.")
            sections.append(f"[jobs.{name}]\n{_toml(options)}{'' if arlos else params}")
        path = self.folder / "config.toml"
        path.write_text("\n\n".join(sections))
        path.chmod(0o600)

    @property
    def wiring(self) -> Wiring:
        """The parts, in this process."""
        if self._wiring is None:
            self._wiring = Wiring(load(self.folder / "config.toml", {}), {})
        return self._wiring

    def enroll(self, name: str = "acme") -> Account:
        """An account that has consented."""
        granted = self.sandbox.grant(name, ["read", "all_claims", "offline_access"])
        now = self.wiring.clock.now()
        tokens = NewTokens(
            Secret(granted["access_token"]), Secret(granted["refresh_token"]), "Bearer", 3600.0, now, ("read",)
        )
        return self.wiring.store.grants.store_consent(Consent("books", name, tokens, ("read",)), now).account

    def daemon(self, **environ: str) -> Daemon:
        """Start a daemon."""
        self._daemons.append(Daemon(self, len(self._daemons), **environ))
        return self._daemons[-1]

    def ready(self, **environ: str) -> Daemon:
        """Start a daemon and wait until it is ready."""
        daemon = self.daemon(**environ)
        daemon.says("ready")
        return daemon

    def command(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        line = self.line(*arguments)[3:]
        return run_prepared(line, cwd=self.folder, env=self.environment, given=given, timeout=PATIENCE)

    def entered(self, job: str, account: str = "acme") -> None:
        """Wait until a job says that it has begun."""
        until((self.meeting / f"entered-{job}-{account}").exists, f"the beginning of {job}")

    def go(self) -> None:
        """Let jobs that wait go on."""
        (self.meeting / "go").touch()

    def runs(self, job: str | None = None) -> list[Run]:
        """The history, oldest first."""
        return list(reversed(self.wiring.store.runs.list(RunFilter(job, limit=1000))))

    def states(self, job: str | None = None) -> list[str]:
        """States of the history, oldest first."""
        return [str(run.state) for run in self.runs(job)]

    def close(self) -> None:
        """End everything."""
        self.go()
        for daemon in self._daemons:
            daemon.kill()
        if self._wiring is not None:
            self._wiring.store.close()


def _toml(options: dict[str, object]) -> str:
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in options.items())


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A provider and API for the whole session; each test has users of its own only in its own store."""
    with Sandbox(SandboxConfig(rows=30, rate_limit=0)) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, sandbox: Sandbox) -> Iterator[Place]:
    """A working folder without jobs and accounts."""
    sandbox.clear_faults()
    sandbox.reset_stats()
    made = Place(tmp_path, sandbox)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def either(place: Place, request: pytest.FixtureRequest) -> Place:
    """The same on each of the databases."""
    if request.param == "postgresql":
        place.store_url = request.getfixturevalue("new_postgresql")()
        place.write()
    return place


@pytest.fixture(name="until")
def waiting() -> Callable[..., Any]:
    """Waits for a condition."""
    return until
