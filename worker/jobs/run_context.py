"""The Context that a job is really handed, by the runner and by `worker.testing` alike: it joins a session, a buffer
and the facts of the run, and has no opinion on where they come from.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from worker.jobs.addresses import origin, resolve
from worker.jobs.answers import require_success
from worker.jobs.pages import Collection, paginate
from worker.jobs.progress import ProgressMeter
from worker.jobs.validators import NOT_MODIFIED, conditions
from worker.jobs.window import MARK, Bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import requests

    from worker.clock import Clock
    from worker.jobs.job_log import JobLog
    from worker.jobs.page_rows import RowsFrom
    from worker.jobs.pages import Page
    from worker.jobs.paging import Style
    from worker.jobs.sinks import Stream
    from worker.jobs.streams import Streams
    from worker.jobs.window import Window


def _never_ends() -> None:
    """A run without a deadline."""


@dataclass(frozen=True)
class RunFacts:
    """What a run knows of itself."""

    stream: Stream
    run_id: str
    #: Where paths begin; None when the integration has none.
    api_base: str | None = None
    #: Further places to which a next link may lead, as origins or URLs.
    api_origins: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    #: Seconds left, None without a limit.
    remaining: Callable[[], float | None] = lambda: None
    #: Called before each request, emit and checkpoint; raises RunEnded (DeadlineExceeded, Interrupted) to end the run.
    check: Callable[[], None] = _never_ends
    #: What a backfill covers; None in any other run.
    window: Window | None = None
    meter: ProgressMeter = field(default_factory=ProgressMeter)


class RunContext:
    """See `worker.jobs.context.Context`. One for the run, and one for each of its streams."""

    def __init__(
        self,
        facts: RunFacts,
        session: requests.Session,
        streams: Streams,
        log: JobLog,
        clock: Clock,
    ) -> None:
        self._facts = facts
        self._streams = streams
        self._buffer = streams.buffer()
        self._bounds = Bounds(facts.window, resumed=streams.resumed)
        self._clock = clock
        self.session = session
        self.log = log
        self.params: Mapping[str, Any] = MappingProxyType(dict(facts.params))
        self.integration = facts.stream.integration
        self.account = facts.stream.account
        self.job = facts.stream.job.partition(MARK)[0]
        self.run_id = facts.run_id

    @property
    def cursor(self) -> Mapping[str, Any]:
        """See Context."""
        return MappingProxyType(self._buffer.cursor)

    @property
    def since(self) -> str | None:
        """See Context."""
        return self._bounds.since

    @property
    def until(self) -> str | None:
        """See Context."""
        return self._bounds.until

    @property
    def deadline(self) -> float | None:
        """See Context."""
        return self._facts.remaining()

    def url(self, path: str) -> str:
        """See Context."""
        return resolve(self._facts.api_base, path)

    def get(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        explain: Callable[[requests.Response], str] | None = None,
        changed_since: Mapping[str, Any] | None = None,
    ) -> requests.Response:
        """See Context."""
        self._facts.check()
        url = self.url(path)
        headers = {**conditions(changed_since, self.session, url, params), **(headers or {})}
        response = self.session.get(url, params=params, headers=headers)
        if changed_since is not None and response.status_code == NOT_MODIFIED:
            return response
        return require_success(response, now=self._clock.now(), explain=explain)

    def pages(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        rows: RowsFrom = None,
        style: str | Style = "auto",
    ) -> Iterator[Page]:
        """See Context."""
        origins = frozenset(origin(place) for place in self._facts.api_origins)
        collection = Collection(self.url(path), params or {}, rows, style, origins)
        return self._counted(paginate(lambda url, parameters: self.get(url, params=parameters), collection))

    def emit(
        self,
        table: str,
        rows: Iterable[Mapping[str, Any]] | Mapping[str, Any],
        key: str | Sequence[str] | None = None,
    ) -> None:
        """See Context."""
        self._facts.check()
        self._bounds.require_beginning(self.job, table)
        try:
            self._buffer.emit(table, rows, key)
        finally:
            self._facts.meter.rows(self._streams.emitted)

    def stream(self, name: str) -> RunContext:
        """See Context."""
        part = copy(self)
        part._buffer = self._streams.buffer(name)  # noqa: SLF001 - our own copy
        part.log = self.log.of_stream(name)
        return part

    def progress(self, done: float, total: float | None = None) -> None:
        """See Context."""
        self._facts.meter.told(done, total)

    def seen(self, table: str, keys: Iterable[Any], key: str | Sequence[str] = "id") -> None:
        """See Context."""
        self._facts.check()
        self._buffer.seen(table, keys, key)

    def complete(self, table: str) -> None:
        """See Context."""
        self._facts.check()
        if self._facts.window is not None:
            self.log.info("a backfill sees a part only: nothing is taken away", extra={"table": table})
            return
        self._streams.complete(table, self._buffer)

    def checkpoint(self, **values: Any) -> None:
        """See Context."""
        self._facts.check()
        self._bounds.require_heeded(self.job)
        self._buffer.checkpoint(**values)

    def finish(self) -> None:
        """The job has ended well: commit what it emitted since its last checkpoints."""
        self._bounds.require_heeded(self.job)
        self._streams.finish()

    def _counted(self, pages: Iterator[Page]) -> Iterator[Page]:
        before = 0
        for page in pages:
            self._facts.meter.page(page, before)
            before += len(page.rows)
            yield page
