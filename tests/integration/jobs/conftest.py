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
    from collections.abc import Iterator

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
def arlo(trusted_jobs: Path) -> Iterator[Arlo]:
    """Arlo's jobs against 300 seeded rows in each collection."""
    with Sandbox(SandboxConfig(rows=300, rate_limit=0)) as sandbox:
        yield Arlo(sandbox, trusted_jobs)
