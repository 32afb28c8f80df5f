"""What a job is handed. Rows and cursor belong together: `emit` only remembers rows, `checkpoint` commits them with the
place reached, in one transaction. A job that raises keeps its last checkpoint, and what it emitted after that is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import requests

    from worker.jobs.pages import Page
    from worker.jobs.paging import Style


class Context(Protocol):
    """One run of one job for one account."""

    @property
    def session(self) -> requests.Session:
        """Sends the account's access token to the integration's own origins; fit for any library that takes one."""

    @property
    def cursor(self) -> Mapping[str, Any]:
        """The saved place, JSON values by name; empty on the first run. Moves on with every checkpoint."""

    @property
    def since(self) -> str | None:
        """In a backfill its first moment, inclusive, RFC 3339 in UTC: `2026-01-01T00:00:00Z`; None in any other run."""

    @property
    def until(self) -> str | None:
        """In a backfill the moment before which it ends, as `since`; None when it has none, and in any other run."""

    @property
    def params(self) -> Mapping[str, Any]:
        """The table `params` of the job in the config."""

    @property
    def integration(self) -> str:
        """The integration's name, e.g. `arlo`."""

    @property
    def account(self) -> str:
        """The account's name within the integration, e.g. `acme`."""

    @property
    def job(self) -> str:
        """The job's name in the config."""

    @property
    def run_id(self) -> str:
        """The id under which `worker runs show` knows this run."""

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """Every line carries integration, account, job and run id."""

    @property
    def deadline(self) -> float | None:
        """Seconds left before the run's timeout ends it at its next request; None when it has none."""

    def url(self, path: str) -> str:
        """`path` under the integration's `api_base`, with or without a leading slash; an absolute URL as it is."""

    def get(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        explain: Callable[[requests.Response], str] | None = None,
        changed_since: Mapping[str, Any] | None = None,
    ) -> requests.Response:
        """GET `path`; the answer is a success (2xx).

        With `changed_since`, a validator from the cursor (`worker.validator`), it may be a 304 without a body: nothing
        has changed.

        Raises TryAgainLater (408, 429, 5xx, a 403 that says how long; `after` is the whole wait) and WorkerError (any
        other failure); `explain` reads the API's own words from an error's body. For answers to be read whatever their
        status, use `ctx.session.get(ctx.url(path))`.
        """

    def pages(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        rows: str | Callable[[requests.Response], Iterable[Mapping[str, Any]]] | None = None,
        style: str | Style = "auto",
    ) -> Iterator[Page]:
        """The pages of a collection, first to last; pages without rows are passed over. See `worker.jobs.pages`."""

    def emit(
        self,
        table: str,
        rows: Iterable[Mapping[str, Any]] | Mapping[str, Any],
        key: str | Sequence[str] | None = None,
    ) -> None:
        """Remember rows for the next checkpoint. With `key` a row replaces the one with the same key; without, it
        is added. Values: None, bool, int, float, str, bytes, datetime, date, time, Decimal, UUID, dict and list.
        """

    def seen(self, table: str, keys: Iterable[Any], key: str | Sequence[str] = "id") -> None:
        """Rows with these keys exist at the source, although they are not emitted now; what is emitted counts as seen.

        `keys`: values, tuples for a key of several fields, or whole rows.
        """

    def complete(self, table: str) -> None:
        """Every row that exists at the source was emitted or seen in this run: the account's other rows are gone.

        With the next checkpoint, or the end of the run, they are taken away, too; if there are too many of them, they
        are held until somebody approves (docs/deletions.md). A run that ends before takes nothing away.
        """

    def stream(self, name: str) -> Context:
        """The same run with a cursor and pending rows of their own: for a job that keeps a place for each table.

        Its checkpoints commit nothing but its own. The same name gives the same stream. See `worker.jobs.streams`.
        """

    def progress(self, done: float, total: float | None = None) -> None:
        """Say how far the run is, in whatever the job counts. Rows and pages are counted by themselves."""

    def checkpoint(self, **values: Any) -> None:
        """Commit the rows emitted since the last checkpoint, and move the cursor to `values`, in one transaction.

        Names not given keep their value; None takes a name out. Values must be JSON.
        """
