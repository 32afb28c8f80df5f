"""The figures of the store as Prometheus reads them (the text exposition format, through prometheus-client).

They are gauges, read from the store at the moment of asking: a command, a timer and a web server all answer the same,
and nothing is lost with a process. What is counted over the run history shrinks when old runs are forgotten.

May import `store` and what lies below. `StoreCollector` fits any registry; `exposition` is the text of one look.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from worker import __version__
from worker.jobs.window import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from worker.store.figures import Figures

#: Accounts that are named: a job for ten thousand accounts would be as many series, each of which costs its reader.
MOST_ACCOUNTS = 500
_OWNER = ("job", "integration", "account")
#: Labels, and the value.
_Sample = tuple[tuple[str, ...], float]


class StoreCollector(Collector):
    """Reads the figures whenever it is asked."""

    def __init__(self, read: Callable[[], Figures]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See prometheus_client."""
        figures = self._read()
        yield _gauge("worker_info", "The program's version.", ("version",), [((__version__,), 1)])
        yield _gauge("worker_read_timestamp_seconds", "When these figures were read.", (), [((), figures.now)])
        yield from _of_accounts(figures)
        yield from _of_runs(figures)
        yield from _of_jobs(figures)


def exposition(read: Callable[[], Figures]) -> bytes:
    """One look as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StoreCollector(read))
    return generate_latest(registry)


def _of_accounts(figures: Figures) -> Iterator[GaugeMetricFamily]:
    accounts = [((integration, state), count) for integration, state, count in figures.accounts]
    yield _gauge("worker_accounts", "Enrolled accounts.", ("integration", "state"), accounts)
    failing = [((integration,), count) for integration, count in figures.failing]
    yield _gauge("worker_accounts_refresh_failing", "Accounts whose last refresh failed.", ("integration",), failing)
    incidents = [((integration, kind), count) for integration, kind, count in figures.incidents]
    yield _gauge("worker_incidents_open", "Open incidents.", ("integration", "kind"), incidents)
    words = "Notifications of the last day that a route has not taken yet."
    yield _gauge("worker_outbox_waiting", words, (), [((), figures.waiting)])


def _of_runs(figures: Figures) -> Iterator[GaugeMetricFamily]:
    runs, rows, deleted = Counter[tuple[str, str]](), Counter[str](), Counter[str]()
    for name, state, count, written, gone, _ in figures.runs:
        job = name.partition(MARK)[0]  # each backfill has a name of its own: they would be ever more series
        runs[job, state] += count
        rows[job] += written or 0
        deleted[job] += gone or 0
    yield _gauge("worker_runs", "Runs in the history that is kept.", ("job", "state"), runs.items())
    yield _gauge("worker_rows", "Rows written by the runs in the history.", ("job",), _by_job(rows))
    yield _gauge("worker_rows_deleted", "Rows that listings took away, likewise.", ("job",), _by_job(deleted))


def _of_jobs(figures: Figures) -> Iterator[GaugeMetricFamily]:
    age = figures.now
    jobs = [(job, oldest, never) for job, _, oldest, never, *_ in figures.jobs]
    scheduled = [((job,), count) for job, count, *_ in figures.jobs]
    yield _gauge("worker_job_accounts", "Accounts that a job is scheduled for.", ("job",), scheduled)
    oldest = [((job,), age - moment) for job, moment, _ in jobs if moment is not None]
    words = "Seconds since the last success, of the account where that is longest."
    yield _gauge("worker_freshness_seconds", words, ("job",), oldest)
    never = [((job,), count) for job, _, count in jobs]
    yield _gauge("worker_job_accounts_without_success", "Accounts without any success yet.", ("job",), never)
    running = [((job,), count) for job, *_, count, _ in figures.jobs]
    yield _gauge("worker_runs_under_way", "Runs that the record says are under way.", ("job",), running)
    parked = [((job,), count) for job, *_, count in figures.jobs]
    yield _gauge("worker_job_accounts_parked", "Accounts for which a job lacks a scope.", ("job",), parked)
    success = [((job, *owner), moment) for job, *owner, moment in figures.freshness if moment is not None]
    words = f"When a job last succeeded for an account; of the first {MOST_ACCOUNTS}."
    yield _gauge("worker_last_success_timestamp_seconds", words, _OWNER, success)
    late = Counter({job: 0 for job, *_ in figures.jobs})
    late.update(job for job, *_ in figures.late)
    yield _gauge("worker_late", "Accounts for which a success is overdue.", ("job",), _by_job(late))
    held = Counter({job: 0 for job, *_ in figures.jobs})
    held.update({job: count for job, count, _ in figures.held})
    yield _gauge("worker_held_changes", "Deletions that wait for an approval.", ("job",), _by_job(held))
    rows = [((job,), count) for job, _, count in figures.held]
    yield _gauge("worker_held_rows", "Rows that they would take away.", ("job",), rows)


def _by_job(counts: Counter[str]) -> list[_Sample]:
    return [((job,), count) for job, count in counts.items()]


def _gauge(name: str, words: str, labels: tuple[str, ...], samples: Iterable[_Sample]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
