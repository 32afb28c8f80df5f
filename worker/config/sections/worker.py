"""`[worker]`: the process itself."""

from __future__ import annotations

from worker.config.kinds import PATH, TIMEZONE, choice, duration, list_of, text, whole_number
from worker.config.model import WorkerSection
from worker.config.options import Option, Reading, Section

_OPTIONS = (
    Option(
        "state_dir",
        PATH,
        "Folder for what the daemon leaves, and for database and data as configured below. Relative to this file.",
        default="state",
        aliases=("state", "data_dir"),
    ),
    Option(
        "jobs_path",
        list_of(PATH, '["jobs"]'),
        "Folders in which jobs are searched: MODULE.FUNCTION is FUNCTION in MODULE.py there.",
        default=["jobs"],
        aliases=("jobs_dir", "jobs"),
    ),
    Option(
        "timezone",
        TIMEZONE,
        "What cron lines count in, unless a job names its own. Outside UTC, hours that a change of the clocks "
        "repeats or skips need care.",
        default="UTC",
        example="Europe/Berlin",
        aliases=("tz",),
    ),
    Option(
        "concurrency",
        whole_number(1, 1000),
        "Runs at the same time in this process.",
        default=16,
        aliases=("threads", "workers", "pool_size"),
    ),
    Option(
        "drain_timeout",
        duration(0, 86400.0),
        "How long running jobs may go on at shutdown; what is left then is interrupted and starts again first. "
        "Keep it below systemd's TimeoutStopSec or Kubernetes' terminationGracePeriodSeconds.",
        default="30s",
        aliases=("shutdown_timeout",),
    ),
    Option("history", duration(3600.0), "How long finished runs are kept.", default="90d", aliases=("retention",)),
    Option("log_level", choice("debug", "info", "warning", "error"), "The least that is logged.", default="info"),
    Option(
        "log_format",
        choice("auto", "json", "text"),
        "auto: text on a terminal, otherwise one JSON object a line.",
        default="auto",
    ),
    Option(
        "user_agent",
        text(r"[\x20-\x7e]+", "printable ASCII text", label="text"),
        "Sent with every request. Without it: headless-worker and its version.",
        example="example-sync/1.0 (ops@example.org)",
    ),
)


def _build(_name: str, reading: Reading) -> WorkerSection:
    return WorkerSection(**{**reading.values, "user_agent": reading["user_agent"] or ""})


def _has_a_folder(reading: Reading) -> None:
    if reading["jobs_path"] == ():
        reading.refuse("jobs_path", 'empty; write ["jobs"]')


WORKER = Section(
    "worker", "table", "The process itself. Every option has a default.", _OPTIONS, _build, rules=(_has_a_folder,)
)
