"""What the demo adds to the folder that `worker init` made: an integration, two jobs with schedules, a job file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The integration's name, and who owns the accounts.
INTEGRATION = "arlo"
PEOPLE = ("alice", "bob", "carol")
#: Collection, which is also job, table and function -> its key and its schedule.
KEYS = {"events": "EventID", "registrations": "RegistrationID"}
EVERY = {"events": "2s", "registrations": "3s"}
#: Nothing listens here: consent is pasted.
REDIRECT_URI = "http://127.0.0.1:8765/callback"
_JOB_FILE = "arlo.py"


def job_source() -> bytes:
    """`jobs/arlo.py`: from the installed package, or from the source tree that the package runs in.

    Raises Misconfigured when it is in neither place.
    """
    package = Path(__file__).parent
    places = (package / "data" / _JOB_FILE, package.parents[2] / "jobs" / _JOB_FILE)
    for place in places:
        if place.is_file():
            return place.read_bytes()
    raise Misconfigured(
        f"the demo's job file is missing: neither {places[0]} nor {places[1]} is there",
        hint="install the package again, from its wheel or its source tree",
    )


def add_jobs(folder: Path) -> None:
    """Put the job file beside the first job, to be written by its owner alone whatever the umask."""
    descriptor = os.open(folder / "jobs" / _JOB_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(job_source())


def add_settings(
    folder: Path, addresses: Mapping[str, str], every: Mapping[str, str] = EVERY, more: Mapping[str, str] | None = None
) -> None:
    """Describe the provider and the jobs in config.toml. The client secret does not stand there.

    `every` names the jobs and their schedules; `more` are lines for `integrations` and `jobs`.
    """
    lines = [
        "",
        "# 4. The provider, on this machine, and its jobs.",
        f"[integrations.{INTEGRATION}]",
        'preset = "arlo"',
        'platform = "demo"',
        f'client_id = "{addresses["client_id"]}"',
        f'redirect_uri = "{REDIRECT_URI}"',
    ]
    lines += [
        f'{name} = "{addresses[name]}"'
        for name in ("authorize_url", "token_url", "revoke_url", "identity_url", "api_base")
    ]
    more = more or {}
    lines.append(more.get("integrations", ""))
    for job, pause in every.items():
        lines += [
            "",
            f"[jobs.{job}]",
            f'uses = "arlo.{job}"',
            f'integration = "{INTEGRATION}"',
            f'every = "{pause}"',
            'sink = "local"',
            more.get("jobs", ""),
        ]
    with (folder / "config.toml").open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
