"""Running a job by hand: a dry run that writes nothing, not even a cursor, and a run from another place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from worker.errors import UsageFault
from worker.jobs.sinks import Heeding, Sweeping
from worker.jobs.sinks.memory import MemorySink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.jobs.listing import Sweep, Swept
    from worker.jobs.sinks import Sink, SinkSession, Stream, TableBatch


def read_since(text: str, known: Sequence[str] | None = None) -> dict[str, Any]:
    """A cursor from the command line: a JSON object, or `name=value` pairs separated by commas.

    `known`: the names that the job reads in it; None when only its code knows. Raises UsageFault when the text is
    neither, or has another name.
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
    strange = [name for name in found if known is not None and name not in known]
    if strange:
        raise UsageFault(
            f"--since {text!r}: no resource with a place is called {', '.join(strange)}",
            hint=f"those with incremental: {', '.join(known or ()) or 'none, all are read whole each time'}",
        )
    return found


def dry_sink(sink: Sink, stream: Stream, since: Mapping[str, Any] | None) -> TrialSink:
    """A sink in memory that begins where the real one stands, or at `since`, and looks there for what would go."""
    preview = sink.preview if isinstance(sink, Sweeping) else None
    return TrialSink({stream: dict(since) if since is not None else sink.read_cursor(stream)}, preview)


class TrialSink(MemorySink):
    """A sink in memory that also tells what came: the types of each column, and each table's key."""

    def __init__(
        self,
        cursors: Mapping[Stream, Mapping[str, Any]],
        preview: Callable[[Stream, str, Sweep], Swept | None] | None = None,
    ) -> None:
        super().__init__(cursors, preview=preview)
        #: By table and column: the types that came, in the order of their first appearance; `None` among them.
        self.types: dict[str, dict[str, list[str]]] = {}
        self.keys: dict[str, tuple[str, ...]] = {}

    def put(
        self,
        stream: Stream,
        mark: tuple[int, int],
        batches: Mapping[str, TableBatch],
        cursor: Mapping[str, Any] | None,
    ) -> int:
        """See MemorySink."""
        count = super().put(stream, mark, batches, cursor)
        for table, batch in batches.items():
            self.keys[table] = batch.key
            columns = self.types.setdefault(table, {})
            for row in batch.rows:
                for name, value in row.items():
                    seen = columns.setdefault(name, [])
                    if (kind := type(value).__name__.replace("NoneType", "None")) not in seen:
                        seen.append(kind)
        return count


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

    def heed(self, check: Callable[[], None]) -> None:
        if isinstance(self._session, Heeding):
            self._session.heed(check)

    def write(self, batches: Mapping[str, TableBatch], cursor: Mapping[str, Any] | None) -> int:
        return self._session.write(batches, cursor)

    def close(self) -> None:
        self._session.close()
