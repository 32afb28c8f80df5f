"""The figures as Prometheus reads them."""

from __future__ import annotations

from worker.metrics import exposition
from worker.store.figures import Figures

NOTHING = {"accounts": (), "jobs": (), "freshness": (), "late": (), "held": (), "incidents": (), "failing": ()}


def test_metrics_count_backfills_with_their_job():
    """A series for each window would be ever more of them."""
    runs = (
        ("sync", "failed", 1, None, None, 1.0),
        ("sync", "succeeded", 2, 10, 1, 1.0),
        ("sync@2026-01-01..2026-02-01", "succeeded", 1, 5, 0, 1.0),
        ("sync@2026-02-01..", "succeeded", 1, 7, 0, 1.0),
    )
    text = exposition(lambda: Figures(now=0.0, runs=runs, waiting=0, **NOTHING)).decode()
    assert [line for line in text.splitlines() if line.startswith(("worker_runs{", "worker_rows{"))] == [
        'worker_runs{job="sync",state="failed"} 1.0',
        'worker_runs{job="sync",state="succeeded"} 4.0',
        'worker_rows{job="sync"} 22.0',
    ]
