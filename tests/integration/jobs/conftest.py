"""The API of a running sandbox, with a session that carries a fresh token, and the jobs of this repository."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from worker.clock import SystemClock
from worker.jobs.job_log import JobLog
from worker.jobs.loading import load_jobs
from worker.jobs.run_context import RunContext, RunFacts
from worker.jobs.sinks import Stream
from worker.jobs.sinks.sqlite import SqliteSink
from worker.jobs.streams import Streams
from worker.sandbox import Sandbox, SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.jobs.sinks import Sink

JOBS = Path(__file__).parents[3] / "jobs"


@pytest.fixture
def stream() -> Stream:
    """One job for one account."""
    return Stream("invoices", "books", "acme")


@pytest.fixture
def sqlite_sink(tmp_path: Path) -> SqliteSink:
    """A sink in a file that is not there yet."""
    return SqliteSink(tmp_path / "state" / "data.db", SystemClock())


class Arlo:
    """The jobs of jobs/arlo.py against one sandbox."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.jobs = load_jobs([folder]).jobs
        self.session = requests.Session()
        self.session.trust_env = False
        token = sandbox.call("grant", user="acme")["access_token"]
        self.session.headers["Authorization"] = f"Bearer {token}"
        self.asked: list[str] = []
        self.after_page: Any = lambda _number: None
        self.session.hooks["response"].append(self._answered)
        self.fence = 0

    def run(self, name: str, sink: Sink, **params: Any) -> int:
        """One run; answers the rows committed. What it raises comes out."""
        self.fence += 1
        self.asked = []
        self.session.close()  # each run begins with a connection of its own
        stream = Stream(name, "arlo", "acme")
        session = sink.open(stream, self.fence)
        facts = RunFacts(stream, "run", api_base=self.sandbox.api_base, params={"settle": 0, **params})
        with closing(session), Streams(session) as streams:
            context = RunContext(facts, self.session, streams, JobLog.of("test"), SystemClock())
            self.jobs[f"arlo.{name}"].function(context)
            context.finish()
        return streams.committed

    def _answered(self, response: requests.Response, *_: Any, **__: Any) -> None:
        self.asked.append(response.url)
        self.after_page(len(self.asked))


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
