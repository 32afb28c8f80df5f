"""What a run is made of, looked up once: the job's config, its function, its sink and its integration's client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.jobs.sinks import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.accounts.client import Client
    from worker.config.model import JobConfig
    from worker.jobs.decorator import JobDefinition
    from worker.jobs.sinks import Sink
    from worker.jobs.window import Window
    from worker.runner.rate import RateLimiter
    from worker.store.records import Account


@dataclass(frozen=True)
class Assignment:
    """One configured job, ready to run for any account of its integration."""

    config: JobConfig
    definition: JobDefinition
    sink: Sink
    client: Client
    limiter: RateLimiter | None
    #: What a backfill covers; None for the job itself.
    window: Window | None = None

    @property
    def name(self) -> str:
        """What its runs, lock and cursor go by: the name in the config, in a backfill with the window behind it."""
        return self.config.name if self.window is None else self.window.name_for(self.config.name)

    @property
    def timeout(self) -> float | None:
        """Seconds that a run may take; None in a backfill, which takes as long as there is something to copy."""
        return self.config.timeout if self.window is None else None

    def stream(self, account: Account) -> Stream:
        """What has the cursor of this job for an account."""
        return Stream(self.name, account.integration, account.name)

    def place(self, account: Account) -> dict[str, Any]:
        """The cursor that the next run begins at; empty when it begins anew."""
        return self.sink.read_cursor(self.stream(account))

    def forget_place(self, account: Account) -> None:
        """The next run begins anew; rows stay."""
        self.sink.reset(self.stream(account))

    def described(self, cursor: Mapping[str, Any], limit: int | None) -> dict[str, Any]:
        """What makes the same run again, for a recording: where it began, and what it was given."""
        api = self.client.integration
        return {
            "api_base": api.api_base,
            "api_origins": list(api.api_origins),
            "cursor": dict(cursor),
            "params": dict(self.config.params),
            "limit": limit,
            "backfill": None if self.window is None else [self.window.since, self.window.until or ""],
        }

    def covers(self, integration: str, account: str) -> bool:
        """Whether this account is among those the job runs for."""
        return self.config.covers(integration, account)
