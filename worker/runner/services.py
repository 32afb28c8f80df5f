"""What every run needs of the process, handed down by `wiring`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.runner.watching import unwatched

if TYPE_CHECKING:
    from pathlib import Path

    from worker.accounts.refresh import Refresher
    from worker.clock import Clock
    from worker.events import Events
    from worker.redact import Scrubber
    from worker.runner.pace import Stopping
    from worker.runner.watching import Watch
    from worker.store.store import Store


@dataclass(frozen=True)
class Services:
    """One set for all runs."""

    store: Store
    refresher: Refresher
    clock: Clock
    events: Events
    scrubber: Scrubber
    stopping: Stopping
    user_agent: str
    #: Where rows wait for their checkpoint when memory is not to hold them; None: where temporary files go.
    spool: Path | None = None
    watch: Watch = unwatched
