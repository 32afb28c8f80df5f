"""Running a job by hand: a dry run that writes nothing, not even a cursor, and a run from another place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from worker.errors import UsageFault
from worker.jobs.sinks import Sweeping
from worker.jobs.sinks.memory import MemorySink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.jobs.sinks import Sink, SinkSession, Stream, TableBatch


def read_since(text: str) -> dict[str, Any]:
    """A cursor from the command line: a JSON object, or `name=value` pairs separated by commas.

    Raises UsageFault when it is neither.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = dict(part.partition("=")[::2] for part in text.split(","))
        if not all(name and "=" in part for name, part in zip(found, text.split(","), strict=False)):
            found = None
    if not isinstance(found, dict):
        raise UsageFault(
            f"--since {text!r} is no cursor", hint="--since changed=2026-01-01T00:00:00Z, or a JSON object in quotes"
        )
    return found


def dry_sink(sink: Sink, stream: Stream, since: Mapping[str, Any] | None) -> MemorySink:
    """A sink in memory that begins where the real one stands, or at `since`, and looks there for what would go."""
    preview = sink.preview if isinstance(sink, Sweeping) else None
    return MemorySink({stream: dict(since) if since is not None else sink.read_cursor(stream)}, preview=preview)


class SinceSink:
    """A sink whose runs begin at another cursor. What they write, cursor included, goes to the real one."""

    def __init__(self, sink: Sink, since: Mapping[str, Any]) -> None:
        self._sink = sink
        self._since = dict(since)

    def open(self, stream: Stream, fence: int) -> SinkSession:
        """See Sink."""
        return _SinceSession(self._sink.open(stream, fence), self._since)

    def read_cursor(self, stream: Stream) -> dict[str, Any]:
        """See Sink."""
        return self._sink.read_cursor(stream)

    def reset(self, stream: Stream) -> None:
        """See Sink."""
        self._sink.reset(stream)


class _SinceSession:
    def __init__(self, session: SinkSession, since: dict[str, Any]) -> None:
        self._session = session
        self.cursor = since

    def write(self, batches: Mapping[str, TableBatch], cursor: Mapping[str, Any] | None) -> int:
        return self._session.write(batches, cursor)

    def close(self) -> None:
        self._session.close()
