"""Helpers for job authors: a job is tested in one line, without a network and without a config.

    from worker.testing import run_job

    def test_invoices() -> None:
        result = run_job(invoices, responses={"/invoices": [{"id": 1, "updated_at": "2026-01-01T00:00:00Z"}]})
        assert result.rows["invoices"] == [{"id": 1, "updated_at": "2026-01-01T00:00:00Z"}]

Instead of `responses`, `recording="invoices.yaml"` replays what `worker jobs run JOB --dry-run --record` has kept.

May import any lower layer; imports `worker.jobs` and requests only. Start reading at `job_run`.
"""

from worker.testing.answers import Answer, UnexpectedRequest
from worker.testing.job_run import JobResult, run_job
from worker.testing.manual_clock import ManualClock

__all__ = ["Answer", "JobResult", "ManualClock", "UnexpectedRequest", "run_job"]
