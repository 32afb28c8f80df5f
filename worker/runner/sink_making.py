"""The sink that a table of the configuration describes. A job pays only for the kind that it uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from worker.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.clock import Clock
    from worker.config.model import SinkConfig
    from worker.jobs.sinks import Sink
    from worker.redact import Scrubber


@dataclass(frozen=True)
class SinkMaker:
    """What sinks need besides their configuration."""

    environ: Mapping[str, str]
    #: The config file's folder.
    base_dir: Path
    scrubber: Scrubber
    clock: Clock

    def make(self, config: SinkConfig) -> Sink:
        """The sink; nothing is opened and no server is asked yet. Raises Misconfigured when its driver is missing."""
        if config.type == "postgresql":
            return self._on_a_server(config)
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
