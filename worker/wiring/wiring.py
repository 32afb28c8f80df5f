"""The parts of one process, each made when it is first asked for: a command pays only for what it uses."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from worker import __version__
from worker.clock import SystemClock
from worker.config.load import load
from worker.config.model import SinkConfig
from worker.config.secret_sources import variables
from worker.config.trust import refuse_open_to_all
from worker.errors import Misconfigured
from worker.events import Events
from worker.redact import Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from worker.accounts.client import Client
    from worker.accounts.enrolment import Enrolment
    from worker.accounts.refresh import Refresher
    from worker.clock import Clock
    from worker.config.model import Config, Integration, JobConfig, WorkerSection
    from worker.crypto.sealing import Sealer
    from worker.engines.embedded import EmbeddedEngine, EngineSettings
    from worker.jobs.loading import JobCatalog
    from worker.jobs.sinks import Sink
    from worker.notify.deliverer import Deliverer
    from worker.notify.route import Route
    from worker.notify.routes import Surroundings
    from worker.redact import Secret
    from worker.runner.assignment import Assignment
    from worker.runner.pace import Stopping
    from worker.runner.rate import RateLimiter
    from worker.runner.runner import Runner
    from worker.runner.watching import Watch
    from worker.store.restore import Place
    from worker.store.store import Store
    from worker.wiring.daemonic import Daemonic


class Wiring:
    """The parts of one process."""

    def __init__(self, config: Config, environ: Mapping[str, str] | None = None, clock: Clock | None = None) -> None:
        self.config = config
        self.environ = os.environ if environ is None else environ
        self.clock = clock or SystemClock()
        self.scrubber = Scrubber()
        self.clients: dict[str, Client] = {}
        self._limiters: dict[str, RateLimiter] = {}
        self._sinks: dict[SinkConfig, Sink] = {}
        #: Called when another configuration is taken up.
        self.set_up_log: Callable[[WorkerSection], None] = lambda _section: None
        #: Who watches runs; set it before the first. None: the notes that other commands read.
        self.watch: Watch | None = None

    @property
    def state_folder(self) -> Path:
        """Where the doorbell, the witness and, by default, the database (with its locks) lie."""
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
        events.subscribe(self.deliverer.hear)
        return events

    @cached_property
    def deliverer(self) -> Deliverer:
        """Tells people what is in the outbox."""
        from worker.notify.deliverer import Deliverer  # noqa: PLC0415 - as above
        from worker.notify.message import Composer  # noqa: PLC0415 - as above
        from worker.notify.sender import Desk  # noqa: PLC0415 - as above

        composer = Composer(
            self.scrubber, self.store.notifications.jobs_waiting, os.uname().nodename, str(self.config.path)
        )
        desk = Desk(self.store, self.clock, composer, state_folder=self.state_folder)
        return Deliverer(desk, self.routes())

    def tell_people(self, seconds: float) -> None:
        """Deliver what this process has caused, before it ends; a daemon that listens does it instead."""
        from worker.engines.doorbell import ring  # noqa: PLC0415 - as above

        if "deliverer" in self.__dict__ and self.deliverer.heard and not ring(self.state_folder):
            self.deliverer.deliver_now(seconds)

    def routes(self) -> list[Route]:
        """The ways to reach people."""
        from worker.notify.routes import make_routes  # noqa: PLC0415 - as above

        return make_routes(self.around_routes())

    def around_routes(self) -> Surroundings:
        """What the routes need besides their configuration."""
        from worker.notify.routes import SIGNING, Surroundings  # noqa: PLC0415 - as above

        def stored_secret(route: str) -> Secret | None:
            return self.store.secrets.get(SIGNING, route)

        return Surroundings(self.config, self.environ, self.scrubber, self.clock, self.user_agent, stored_secret)

    @cached_property
    def sealer(self) -> Sealer:
        """The keyring, ready to seal. Raises KeyUnusable, Misconfigured, TryAgainLater (its command does not end)."""
        from worker.wiring.keyring import make_sealer  # noqa: PLC0415 - as above

        return make_sealer(self.config, self.environ, self.scrubber)

    @property
    def keyring_file(self) -> Path | None:
        """The keyring's file, if it is one that may change."""
        from worker.wiring.keyring import find_keyring_file  # noqa: PLC0415 - as above

        return find_keyring_file(self.config, self.environ)

    @property
    def keyring_place(self) -> str:
        """Where the keyring comes from, for messages."""
        source = self.config.keyring.source
        return f"the {source.kind} {self.keyring_file or source.value}"

    @cached_property
    def store(self) -> Store:
        """The store, migrated, checked against the key, and compared with its witness."""
        from worker.store.files import create_private_folder  # noqa: PLC0415 - as above
        from worker.store.store import open_store  # noqa: PLC0415 - as above

        create_private_folder(self.state_folder)
        url, witness = self._store_url(), self.config.store.witness
        return open_store(url, self.state_folder, self.sealer, self.clock.now(), witness)

    def _store_url(self) -> str:
        return self.config.store.read_url(self.environ, self.config.base_dir)

    def store_place(self) -> Place:
        """Where the store is, for a restore, which opens it itself."""
        from worker.store.restore import Place  # noqa: PLC0415 - as above

        return Place(self._store_url(), self.state_folder, self.witness, self.sealer)

    @property
    def witness(self) -> Path:
        """Where the store's witness is."""
        from worker.store.witness_file import WITNESS  # noqa: PLC0415 - as above

        return self.config.store.witness or self.state_folder / WITNESS

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
        from worker.accounts.clock_watch import ClockWatch  # noqa: PLC0415 - as above
        from worker.accounts.refresh import Refresher  # noqa: PLC0415 - as above

        for name in self.config.integrations:
            self.client(name)
        self.events.subscribe(ClockWatch(self.store, self.clients, self.clock, self.events).hear)
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
        from worker.runner.runner import Runner  # noqa: PLC0415 - as above
        from worker.runner.services import Services  # noqa: PLC0415 - as above
        from worker.runner.watching import NoteKeeper  # noqa: PLC0415 - as above

        return Runner(
            Services(
                self.store,
                self.refresher,
                self.clock,
                self.events,
                self.scrubber,
                self.stopping,
                self.user_agent,
                self.state_folder,
                self.watch or NoteKeeper(self.state_folder, self.clock).watch,
            )
        )

    def catalog(self) -> JobCatalog:
        """The job files, loaded anew."""
        from worker.jobs.loading import load_jobs  # noqa: PLC0415 - as above

        return load_jobs(self.config.worker.jobs_path)

    def assignments(self, only: str | None = None) -> dict[str, Assignment]:
        """All configured jobs (or one), ready to run. Raises JobUnusable, Misconfigured."""
        from worker.runner.assignment import Assignment  # noqa: PLC0415 - as above
        from worker.runner.definitions import definition_of  # noqa: PLC0415 - as above

        catalog = self.catalog()
        jobs = self.config.jobs if only is None else {only: self.job(only)}
        return {
            name: Assignment(
                job,
                definition_of(job, self.config, catalog),
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
        from worker.runner.sink_making import SinkMaker  # noqa: PLC0415 - as above

        config = SinkConfig("", "sqlite", self.state_folder / "data.db")
        if job.sink is not None:
            config = self.config.sinks[job.sink]
        # dlt keeps cursors and a working folder under the sink's name.
        place = config if config.type == "dlt" else replace(config, name="")
        if place not in self._sinks:
            withheld = variables(self.config)
            maker = SinkMaker(
                self.environ, self.config.base_dir, self.scrubber, self.clock, self.state_folder, withheld
            )
            self._sinks[place] = maker.make(config)
        return self._sinks[place]

    def _limiter(self, integration: str) -> RateLimiter:
        """One for each integration, with what the API has said of itself; begun anew only when the limits change."""
        from worker.runner.rate import RateLimiter  # noqa: PLC0415 - as above

        limits, known = self.integration(integration).rate_limit, self._limiters.get(integration)
        if known is None or known.limits != limits:
            known = self._limiters[integration] = RateLimiter(
                limits, self.clock, None if known is None else known.counts
            )
        return known

    def engine(self, only: str | None = None) -> EmbeddedEngine:
        """An engine for all configured jobs, or for one."""
        from worker.engines.embedded import EmbeddedEngine  # noqa: PLC0415 - as above

        return EmbeddedEngine(self.store, self.runner, self.assignments(only), self.clock, self.engine_settings())

    def engine_settings(self) -> EngineSettings:
        """How an engine works."""
        from worker.engines.embedded import EngineSettings  # noqa: PLC0415 - as above

        return EngineSettings(self.config.worker.concurrency, self.config.worker.history)

    def daemonic(self) -> Daemonic:
        """What the daemon drives."""
        from worker.wiring.daemonic import Daemonic  # noqa: PLC0415 - as above

        return Daemonic(self, self.store, self.engine(), self.stopping, self.state_folder)

    def reload(self, engine: EmbeddedEngine) -> None:
        """Take up the file as it stands now. Raises, and changes nothing, on faults.

        Where the store, the key and the state folder lie is fixed for the life of a process.
        """
        refuse_open_to_all(self.config.path)
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
        # What was counted stays; begun anew, a limit would let twice as many requests through.
        fresh._limiters.update({name: one for name, one in self._limiters.items() if name in config.integrations})
        fresh._sinks.update(self._sinks)
        assignments, routes = fresh.assignments(), fresh.routes()
        for name in config.integrations:
            fresh.client(name)
        before, self.config = self.config.worker, config
        self._limiters, self._sinks = fresh._limiters, fresh._sinks
        if (before.log_level, before.log_format) != (config.worker.log_level, config.worker.log_format):
            self.set_up_log(config.worker)
        # The refresher looks clients up at any moment: none that stays may be missing in between.
        self.clients.update(fresh.clients)
        for name in set(self.clients) - set(fresh.clients):
            del self.clients[name]
        engine.use(assignments, self.engine_settings())
        self.deliverer.use(routes)
