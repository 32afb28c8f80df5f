"""An engine over a real store, with real threads and jobs that do what the test tells them to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from worker.clock import SystemClock
from worker.config.load import load
from worker.config.model import JobConfig
from worker.crypto.keyring import new_key, render_keyring
from worker.engines.embedded import EmbeddedEngine, EngineSettings
from worker.jobs.decorator import JobDefinition
from worker.jobs.sinks.memory import MemorySink
from worker.redact import Secret
from worker.runner.assignment import Assignment
from worker.sandbox import Sandbox, SandboxConfig
from worker.store.records import Account, Consent, NewTokens, Run
from worker.store.runs import RunFilter
from worker.testing import ManualClock
from worker.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from worker.clock import Clock
    from worker.store.records import Due
    from worker.store.store import Store

#: Seconds. No claim of any test: where a shared machine is this slow, something hangs.
PATIENCE = 60.0
SCOPES = ("read",)


def until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Wait for a condition and answer what it answered."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.01)
    return found


class House:
    """One store, one runner, and as many engines as the test wants. Jobs are plain functions."""

    def __init__(self, folder: Path, clock: Clock, sandbox: Sandbox | None = None) -> None:
        self.clock = clock
        self.sandbox = sandbox
        base = sandbox.api_base if sandbox is not None else "http://127.0.0.1:9/"
        token = sandbox.token_url if sandbox is not None else "http://127.0.0.1:9/token"
        config = folder / "config.toml"
        config.write_text(
            f"""
            [keyring]
            file = "worker.key"
            [integrations.books]
            client_id = "sandbox-client"
            client_secret = "sandbox-secret"
            token_url = "{token}"
            api_base = "{base}"
            scopes = ["read"]
            headers = {{ Accept = "application/xml" }}
            """
        )
        key = folder / "worker.key"
        key.touch(0o600)
        key.write_text(render_keyring([new_key("k1")]))
        self.wiring = Wiring(load(config, {}), {}, clock)
        self.store: Store = self.wiring.store
        self.sink = MemorySink()
        self.jobs: dict[str, Assignment] = {}
        self.engines: list[EmbeddedEngine] = []

    def add_job(self, function: Callable[[Any], None], name: str = "invoices", **options: Any) -> Assignment:
        """A job that runs `function`, every minute unless told otherwise; the next engine has it."""
        settings: dict[str, Any] = {
            "name": name,
            "uses": f"test.{name}",
            "integration": "books",
            "every": 60.0,
            "cron": None,
            "timezone": "UTC",
            "jitter": 0.0,
            "timeout": 3600.0,
            "retries": 3,
            "accounts": None,
            "sink": None,
            "params": {},
            "catch_up": True,
        }
        if options.get("cron"):
            settings["every"] = None
        limiter = options.pop("limiter", None)
        scopes = options.pop("scopes", ())
        config = JobConfig(**(settings | options))
        definition = JobDefinition(name, function, scopes, "")
        self.jobs[name] = Assignment(config, definition, self.sink, self.wiring.client("books"), limiter)
        return self.jobs[name]

    def enroll(self, name: str = "acme", scopes: tuple[str, ...] = SCOPES) -> Account:
        """An account that has just consented (again); at the sandbox too, if there is one."""
        access, refresh = "access-token", "refresh-token"
        if self.sandbox is not None:
            granted = self.sandbox.grant(name, [*scopes, "all_claims", "offline_access"])
            access, refresh = granted["access_token"], granted["refresh_token"]
        tokens = NewTokens(Secret(access), Secret(refresh), "Bearer", 3600.0, self.clock.now(), scopes)
        return self.store.grants.store_consent(Consent("books", name, tokens, scopes), self.clock.now()).account

    def engine(self, concurrency: int = 4, history: float = 90 * 86400.0) -> EmbeddedEngine:
        """An engine for the jobs so far; its pool's threads and dispatcher end with the test."""
        made = EmbeddedEngine(
            self.store, self.wiring.runner, self.jobs, self.clock, EngineSettings(concurrency, history)
        )
        self.engines.append(made)
        return made

    def turn(self, engine: EmbeddedEngine) -> int:
        """One look at the schedule, and the runs that come of it to their end; answers the rows dealt with."""
        handled = engine.dispatch()
        assert engine.wait_idle(PATIENCE)
        if isinstance(self.clock, ManualClock):
            self.clock.advance(0.002)  # the history is sorted by milliseconds
        return handled

    def runs(self, **wanted: Any) -> list[Run]:
        """The history, oldest first."""
        return list(reversed(self.store.runs.list(RunFilter(limit=1000, **wanted))))

    def states(self, **wanted: Any) -> list[str]:
        """States of the history, oldest first."""
        return [str(run.state) for run in self.runs(**wanted)]

    def row(self, account: Account, job: str = "invoices") -> Due:
        """The schedule's row."""
        found = self.store.schedule.entry(job, account.id)
        assert found is not None
        return found

    def close(self) -> None:
        """End everything."""
        self.wiring.stopping.draining.set()
        self.wiring.stopping.aborting.set()
        for engine in self.engines:
            engine.stop_dispatching()
            engine.wait_idle(PATIENCE)
        self.store.close()


@pytest.fixture
def house(tmp_path: Path, clock: ManualClock) -> Iterator[House]:
    """A house whose time stands still until it is moved."""
    made = House(tmp_path, clock)
    yield made
    made.close()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[House]:
    """A house on the machine's clock, for the dispatcher's own thread."""
    made = House(tmp_path, SystemClock())
    yield made
    made.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A provider and API."""
    with Sandbox(SandboxConfig(rows=30, rate_limit=0)) as running:
        yield running


@pytest.fixture
def online(tmp_path: Path, sandbox: Sandbox) -> Iterator[House]:
    """A house on the machine's clock whose integration is the sandbox."""
    made = House(tmp_path, SystemClock(), sandbox)
    yield made
    made.close()


@pytest.fixture
def staged(tmp_path: Path, clock: ManualClock, sandbox: Sandbox) -> Iterator[House]:
    """A house whose integration is the sandbox, and whose time stands still until it is moved."""
    made = House(tmp_path, clock, sandbox)
    yield made
    made.close()


@pytest.fixture
def settle(tmp_path: Path, clock: ManualClock) -> Iterator[Callable[..., House]]:
    """Makes a house at an API that the test has started; its time stands still unless it is given another clock."""
    made: list[House] = []

    def make(api: Any, its_clock: Clock = clock) -> House:
        made.append(House(tmp_path, its_clock, api))
        return made[-1]

    yield make
    for house in made:
        house.close()


@pytest.fixture(name="until")
def waiting() -> Callable[..., Any]:
    """Waits for a condition."""
    return until


@pytest.fixture
def idle_job() -> Callable[[Any], None]:
    """A job that does nothing, well."""
    return lambda _context: None
