"""Where rows go. A sink keeps, for each stream, the cursor beside the rows it covers, and moves both at once.

May import `worker.errors`, `worker.clock` and the rest of `worker.jobs`. Start reading here: the protocol. `values` and
`columns` say what becomes of a value, `sqlite` and `jsonl` are the embedded sinks, `memory` serves dry runs and tests,
`dlt_sink` has a process of its own load with dlt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from worker.jobs.listing import Sweep, Swept


@dataclass(frozen=True)
class Stream:
    """One job for one account: what has a cursor of its own."""

    job: str
    integration: str
    account: str

    def __str__(self) -> str:
        return f"{self.job} for {self.integration}/{self.account}"


@dataclass(frozen=True)
class TableBatch:
    """Rows for one table. The values are plain (`values.plain_row`); the rows may be read more than once."""

    rows: Iterable[Mapping[str, Any]]
    #: Fields that identify a row within its integration and account; empty when rows are only ever added.
    key: tuple[str, ...] = ()
    #: A full listing of the table, of which these rows may be a part: what it does not name is taken away. The sink
    #: fills in its outcome.
    sweep: Sweep | None = None


class SinkSession(Protocol):
    """One run's way into a sink."""

    @property
    def cursor(self) -> dict[str, Any]:
        """The stream's cursor as it was when the session was opened, read after the fence was raised."""

    def write(self, batches: Mapping[str, TableBatch], cursor: Mapping[str, Any] | None) -> int:
        """Store rows by table, and the cursor (None: it stays), all or nothing. Answers the number of rows.

        Durable when it returns. Raises FenceLost when a newer run was opened or the stream was reset meanwhile, Busy
        when another process held the sink too long, WorkerError naming the place for anything else.

        A batch with a sweep: once its rows are stored, the account's rows that the sweep does not name are deletions,
        but not those that another job has delivered since this session was opened. Those that its brake objects to are
        held: kept as a change, under the sweep's id, in place of an older one of this stream and table. All of it
        happens in the same transaction.
        """

    def close(self) -> None:
        """Let go. What was not written is gone; may be called twice."""


@runtime_checkable
class Heeding(Protocol):
    """A session whose writes may take long enough to outlast their run."""

    def heed(self, check: Callable[[], None]) -> None:
        """Call this now and then during a write; what it raises ends the write."""


class Sink(Protocol):
    """A place for rows and cursors. Its methods may be called from several threads and processes at once."""

    def open(self, stream: Stream, fence: int) -> SinkSession:
        """Begin a run. From now on a session with a lower fence is refused. Raises FenceLost for one itself."""

    def read_cursor(self, stream: Stream) -> dict[str, Any]:
        """The stream's cursor; empty when it has none. Writes and creates nothing."""

    def reset(self, stream: Stream) -> None:
        """Forget the stream's cursor; its rows stay. A run under way is refused from now on."""


@runtime_checkable
class Sweeping(Protocol):
    """A sink that takes sweeps: it can be asked to settle what it holds, and what a sweep would do."""

    def settle(self, change: str, stream: Stream, table: str, *, approve: bool) -> int | None:
        """Take away the rows of a held change, but for those that came back since; or drop it.

        Answers how many are gone, the same once more when asked again; None when the change is not there (any more).
        """

    def preview(self, stream: Stream, table: str, sweep: Sweep) -> Swept | None:
        """What a sweep would take away or hold now. Changes nothing; None when there is no such table."""
