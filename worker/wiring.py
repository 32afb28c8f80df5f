"""Where everything is put together from the configuration. The only place that knows how the parts fit.

Each part is made when it is first asked for, so a command pays only for what it uses.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from worker import __version__
from worker.clock import SystemClock
from worker.config.load import load
from worker.errors import KeyUnusable, Misconfigured
from worker.events import Events
from worker.redact import Scrubber

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.accounts.client import Client
    from worker.accounts.enrolment import Enrolment
    from worker.accounts.refresh import Refresher
    from worker.clock import Clock
    from worker.config.model import Config, Integration, JobConfig
    from worker.crypto.sealing import Sealer
    from worker.engines.embedded import EmbeddedEngine
    from worker.jobs.loading import JobCatalog
    from worker.jobs.sinks import Sink
    from worker.redact import Secret
    from worker.runner.assignment import Assignment
    from worker.runner.pace import Stopping
    from worker.runner.rate import RateLimiter
    from worker.runner.runner import Runner
    from worker.store.store import Store


class Wiring:
    """The parts of one process."""

    def __init__(self, config: Config, environ: Mapping[str, str] | None = None, clock: Clock | None = None) -> None:
        self.config = config
        self.environ = os.environ if environ is None else environ
        self.clock = clock or SystemClock()
        self.scrubber = Scrubber()
        self.clients: dict[str, Client] = {}
        self._limiters: dict[str, RateLimiter] = {}
        self._sinks: dict[Path, Sink] = {}

    @property
    def state_folder(self) -> Path:
        """Where locks, the doorbell and, by default, the database lie."""
        return self.config.worker.state_dir

    @property
    def user_agent(self) -> str:
        """What we call ourselves towards APIs and providers."""
        return self.config.worker.user_agent or f"headless-worker/{__version__}"

    @cached_property
    def events(self) -> Events:
        """The event bus, with its listeners."""
        from worker.notify import journal  # noqa: PLC0415 - see the module's docstring

        events = Events(journal.complain)
        events.subscribe(journal.write)
        return events

    @cached_property
    def sealer(self) -> Sealer:
        """The keyring, ready to seal. Raises KeyUnusable or Misconfigured."""
        from worker.crypto.keyring import parse_keyring  # noqa: PLC0415 - as above
        from worker.crypto.sealing import Sealer  # noqa: PLC0415 - as above

        keyring = self.config.keyring
        path = keyring.source.path(self.environ, self.config.base_dir)
        if path is not None and not path.exists():
            raise KeyUnusable(
                f"there is no keyring at {path}",
                hint="restore it from your copy; only for a new database: worker keys new",
            )
        text = keyring.source.read(self.environ, self.config.base_dir)
        return Sealer(
            parse_keyring(text.reveal(), f"the keyring ({keyring.source.kind} {keyring.source.value})"), self.scrubber
        )

    @cached_property
    def store(self) -> Store:
        """The store, migrated and checked against the key."""
        from worker.store.database import create_private_folder  # noqa: PLC0415 - as above
        from worker.store.store import open_store  # noqa: PLC0415 - as above

        create_private_folder(self.state_folder)
        url = self.config.store.read_url(self.environ, self.config.base_dir)
        return open_store(url, self.state_folder, self.sealer, self.clock.now())

    def integration(self, name: str) -> Integration:
        """An integration of the config. Raises Misconfigured when there is none of that name."""
        found = self.config.integrations.get(name)
        if found is None:
            known = ", ".join(self.config.integrations) or "none"
            raise Misconfigured(
                f'there is no integration "{name}"; configured: {known}',
                hint=f"add [integrations.{name}] to {self.config.path}",
            )
        return found

    def client(self, name: str) -> Client:
        """The OAuth client of an integration."""
        from worker.accounts.client import Client, ClientSettings  # noqa: PLC0415 - as above

        if name not in self.clients:
            integration = self.integration(name)
            settings = ClientSettings(self.clock, self.user_agent)
            self.clients[name] = Client(integration, lambda: self._client_secret(integration), settings)
        return self.clients[name]

    def _client_secret(self, integration: Integration) -> Secret | None:
        source = integration.secrets.get("client_secret")
        if source is None:
            return self.store.secrets.get(integration.name, "client_secret")
        secret = source.read(self.environ, self.config.base_dir)
        self.scrubber.learn(secret)
        return secret

    @cached_property
    def refresher(self) -> Refresher:
        """The one that refreshes, for all integrations of the config."""
        from worker.accounts.refresh import Refresher  # noqa: PLC0415 - as above

        for name in self.config.integrations:
            self.client(name)
        return Refresher(self.store, self.clients, self.clock, self.events)

    @cached_property
    def enrolment(self) -> Enrolment:
        """Begins and finishes enrolments."""
        from worker.accounts.enrolment import Enrolment  # noqa: PLC0415 - as above

        return Enrolment(self.store, self.clock, self.events, self.scrubber)

    @cached_property
    def stopping(self) -> Stopping:
        """How far a shutdown has come."""
        from worker.runner.pace import Stopping  # noqa: PLC0415 - as above

        return Stopping()

    @cached_property
    def runner(self) -> Runner:
        """Makes runs."""
        from worker.runner.runner import Runner, Services  # noqa: PLC0415 - as above

        return Runner(
            Services(self.store, self.refresher, self.clock, self.events, self.scrubber, self.stopping, self.user_agent)
        )

    def catalog(self) -> JobCatalog:
        """The job files, loaded anew."""
        from worker.jobs.loading import load_jobs  # noqa: PLC0415 - as above

        return load_jobs(self.config.worker.jobs_path)

    def assignments(self, only: str | None = None) -> dict[str, Assignment]:
        """All configured jobs (or one), ready to run. Raises JobUnusable, Misconfigured."""
        from worker.runner.assignment import Assignment  # noqa: PLC0415 - as above

        catalog = self.catalog()
        jobs = self.config.jobs if only is None else {only: self.job(only)}
        return {
            name: Assignment(
                job,
                catalog.get(job.uses),
                self.sink(job),
                self.client(job.integration),
                self._limiter(job.integration),
            )
            for name, job in jobs.items()
        }

    def job(self, name: str) -> JobConfig:
        """A job of the config. Raises Misconfigured when there is none of that name."""
        found = self.config.jobs.get(name)
        if found is None:
            known = ", ".join(self.config.jobs) or "none"
            raise Misconfigured(f'there is no job "{name}"; configured: {known}', hint="worker jobs list")
        return found

    def sink(self, job: JobConfig) -> Sink:
        """Where a job's rows go; `data.db` in the state folder when the job names no sink. One object for one place."""
        from worker.jobs.sinks.jsonl import JsonlSink  # noqa: PLC0415 - as above
        from worker.jobs.sinks.sqlite import SqliteSink  # noqa: PLC0415 - as above

        config = None if job.sink is None else self.config.sinks[job.sink]
        path = self.state_folder / "data.db" if config is None else config.path
        kind = JsonlSink if config is not None and config.type == "jsonl" else SqliteSink
        if path not in self._sinks:
            self._sinks[path] = kind(path, self.clock)
        return self._sinks[path]

    def _limiter(self, integration: str) -> RateLimiter | None:
        from worker.runner.rate import RateLimiter  # noqa: PLC0415 - as above

        limit = self.integration(integration).rate_limit
        if limit is None:
            return None
        return self._limiters.setdefault(integration, RateLimiter(limit))

    def engine(self, only: str | None = None) -> EmbeddedEngine:
        """An engine for all configured jobs, or for one."""
        from worker.engines.embedded import EmbeddedEngine, EngineSettings  # noqa: PLC0415 - as above

        section = self.config.worker
        settings = EngineSettings(section.concurrency, section.history)
        return EmbeddedEngine(self.store, self.runner, self.assignments(only), self.clock, settings)

    def daemonic(self) -> Daemonic:
        """What the daemon drives."""
        engine = self.engine()
        return Daemonic(self, self.store, engine, self.stopping, self.state_folder, self.config.worker.drain_timeout)

    def reload(self, engine: EmbeddedEngine) -> None:
        """Take up integrations, jobs and sinks from the file as it stands now. Raises, and changes nothing, on faults.

        Where the store, the key and the state folder lie is fixed for the life of a process.
        """
        config = load(self.config.path, self.environ)
        fixed = ("worker.state_dir", "store", "keyring")
        if (config.worker.state_dir, config.store, config.keyring) != (
            self.config.worker.state_dir,
            self.config.store,
            self.config.keyring,
        ):
            raise Misconfigured(f"{', '.join(fixed)} cannot change while the daemon runs", hint="restart the daemon")
        fresh = Wiring(config, self.environ, self.clock)
        # The parts that live on are handed over before anything could make them a second time.
        fresh.__dict__.update({name: self.__dict__[name] for name in ("scrubber", "store", "events", "sealer")})
        # A limit that is the same goes on counting; begun anew, it would let twice as many requests through.
        fresh._limiters.update(
            {
                name: limiter
                for name, limiter in self._limiters.items()
                if name in config.integrations and config.integrations[name].rate_limit == limiter.limit
            }
        )
        assignments = fresh.assignments()
        for name in config.integrations:
            fresh.client(name)
        self.config, self._limiters = config, fresh._limiters
        # The refresher looks clients up at any moment: none that stays may be missing in between.
        self.clients.update(fresh.clients)
        for name in set(self.clients) - set(fresh.clients):
            del self.clients[name]
        engine.use(assignments)


@dataclass(frozen=True)
class Daemonic:
    """What the daemon drives."""

    wiring: Wiring
    store: Store
    engine: EmbeddedEngine
    stopping: Stopping
    state_folder: Path
    drain_timeout: float

    @property
    def assignments(self) -> Mapping[str, Assignment]:
        """The jobs being worked for."""
        return self.engine.assignments

    def reload(self) -> None:
        """Read the configuration anew. Raises WorkerError, and changes nothing, when it has faults."""
        self.wiring.reload(self.engine)
