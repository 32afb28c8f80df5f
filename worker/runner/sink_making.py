"""The sink that a table of the configuration describes. A job pays only for the kind that it uses."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from worker.config.sections.sink import default_dataset
from worker.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.clock import Clock
    from worker.config.model import SinkConfig
    from worker.jobs.sinks import Sink
    from worker.redact import Scrubber

_TELLING = re.compile("key|secret|pass|token", re.IGNORECASE)


@dataclass(frozen=True)
class SinkMaker:
    """What sinks need besides their configuration."""

    environ: Mapping[str, str]
    #: The config file's folder.
    base_dir: Path
    scrubber: Scrubber
    clock: Clock
    #: Where parts that need files of their own keep them.
    state_dir: Path
    #: Names of environment variables that no other program is to see.
    withheld: frozenset[str] = frozenset()

    def make(self, config: SinkConfig) -> Sink:
        """The sink; nothing is opened and no server is asked yet. Raises Misconfigured when its driver is missing."""
        if config.type == "postgresql":
            return self._on_a_server(config)
        if config.type == "dlt":
            return self._by_dlt(config)
        assert config.path is not None
        if config.type == "sqlite":
            from worker.jobs.sinks.sqlite import SqliteSink  # noqa: PLC0415 - see the module's docstring

            return SqliteSink(config.path, self.clock, mark_deleted=config.deletions == "mark")
        from worker.jobs.sinks.jsonl import JsonlSink  # noqa: PLC0415 - as above
        from worker.jobs.sinks.jsonl_segments import Rotation  # noqa: PLC0415 - as above

        return JsonlSink(config.path, self.clock, Rotation(config.rotate_bytes, config.rotate_every))

    def _on_a_server(self, config: SinkConfig) -> Sink:
        place = f"sinks.{config.name}"
        try:
            from worker.jobs.sinks.postgresql import PostgresqlSink  # noqa: PLC0415 - as above
        except ImportError as error:
            raise Misconfigured(
                f"{place}: psycopg is not installed ({error})", hint='pip install "headless-worker[postgresql]"'
            ) from None

        def read_url() -> str:
            url = config.read_url(self.environ, self.base_dir)
            if password := urlsplit(url).password:
                self.scrubber.learn(password, unquote(password))
            return url

        mark = config.deletions == "mark"
        return PostgresqlSink(place, read_url, self.clock, schema=config.schema, mark_deleted=mark)

    def _by_dlt(self, config: SinkConfig) -> Sink:
        from importlib.util import find_spec  # noqa: PLC0415 - as above

        from worker.jobs.sinks.dlt_process import DltProcess  # noqa: PLC0415 - as above
        from worker.jobs.sinks.dlt_sink import DltSink, DltTarget  # noqa: PLC0415 - as above
        from worker.jobs.sinks.durable import make_folder  # noqa: PLC0415 - as above
        from worker.jobs.sinks.sqlite import SqliteSink  # noqa: PLC0415 - as above

        place = f"sinks.{config.name}"
        if find_spec("dlt") is None:
            raise Misconfigured(f"{place}: dlt is not installed", hint='pip install "headless-worker[dlt]"')

        def credentials() -> str | None:
            if config.path is not None:
                make_folder(config.path.parent)
                return str(config.path)
            if config.credentials is None:
                return None
            found = config.credentials.read(self.environ, self.base_dir)
            self.scrubber.learn(found, *secrets_within(found.reveal()))
            return found.reveal()

        folder = self.state_dir / "dlt" / config.name
        target = DltTarget(
            # What dlt makes of names with other characters is its own affair.
            pipeline="worker_" + re.sub(r"[^A-Za-z0-9]", "_", config.name),
            folder=str(folder),
            destination=config.destination or "",
            dataset=config.dataset or default_dataset(config.name),
            credentials=credentials,
            settings=config.settings or {},
            flat=config.nested == "json",
        )
        # dlt reads settings of its own from the environment; our secrets are none of them.
        environ = {name: value for name, value in self.environ.items() if name not in self.withheld}
        process = DltProcess(place, folder, environ, self.scrubber)
        return DltSink(target, process, SqliteSink(folder / "cursors.db", self.clock))


def secrets_within(credentials: str) -> list[str]:
    """What must not be seen of credentials, besides the whole: a URL's password, or what a JSON object calls a key."""
    try:
        found = json.loads(credentials)
    except ValueError:
        password = _password(credentials)
        return [password, unquote(password)] if password else []
    fields = found.items() if isinstance(found, dict) else ()
    return [value for name, value in fields if isinstance(value, str) and _TELLING.search(name)]


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:  # half an IPv6 address
        return ""
