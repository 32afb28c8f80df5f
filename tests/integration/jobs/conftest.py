"""The API of a running sandbox, with a session that carries a fresh token, and the jobs of this repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from arlo_run import Arlo

from worker.clock import SystemClock
from worker.jobs.sinks import Stream
from worker.jobs.sinks.sqlite import SqliteSink
from worker.sandbox import Sandbox, SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOBS = Path(__file__).parents[3] / "jobs"


@pytest.fixture
def stream() -> Stream:
    """One job for one account."""
    return Stream("invoices", "books", "acme")


@pytest.fixture
def sqlite_sink(tmp_path: Path) -> SqliteSink:
    """A sink in a file that is not there yet."""
    return SqliteSink(tmp_path / "state" / "data.db", SystemClock())


@pytest.fixture
def trusted_jobs(tmp_path: Path) -> Path:
    """A copy of jobs/ that nobody else may write, whatever the checkout's umask was."""
    folder = tmp_path / "jobs"
    folder.mkdir(mode=0o755)
    copy = folder / "arlo.py"
    copy.write_bytes((JOBS / "arlo.py").read_bytes())
    copy.chmod(0o644)
    return folder


@pytest.fixture
def make_arlo(trusted_jobs: Path) -> Iterator[Callable[..., Arlo]]:
    """Starts sandboxes of given settings, each with Arlo's jobs."""
    started: list[Sandbox] = []

    def make(**settings: object) -> Arlo:
        started.append(Sandbox(SandboxConfig(rate_limit=0, **settings)).start())  # type: ignore[arg-type]
        return Arlo(started[-1], trusted_jobs)

    yield make
    for sandbox in started:
        sandbox.stop()


@pytest.fixture
def arlo(make_arlo: Callable[..., Arlo]) -> Arlo:
    """Arlo's jobs against 300 seeded rows in each collection."""
    return make_arlo(rows=300)
