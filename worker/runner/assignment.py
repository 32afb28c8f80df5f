"""What a run is made of, looked up once: the job's config, its function, its sink and its integration's client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.accounts.client import Client
    from worker.config.model import JobConfig
    from worker.jobs.decorator import JobDefinition
    from worker.jobs.sinks import Sink
    from worker.runner.rate import RateLimiter


@dataclass(frozen=True)
class Assignment:
    """One configured job, ready to run for any account of its integration."""

    config: JobConfig
    definition: JobDefinition
    sink: Sink
    client: Client
    limiter: RateLimiter | None

    @property
    def name(self) -> str:
        """The job's name in the config."""
        return self.config.name

    def covers(self, integration: str, account: str) -> bool:
        """Whether this account is among those the job runs for."""
        if integration != self.config.integration:
            return False
        return self.config.accounts is None or account in self.config.accounts
