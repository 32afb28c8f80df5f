"""Whether anybody would be told: the notification routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.clock import span
from worker.doctor import storage
from worker.doctor.diagnosis import Diagnosis, Level
from worker.store.snapshot import take

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.doctor.examination import Parts

#: Routes that are looked at.
_MANY = 100


def examine(parts: Parts) -> Iterator[Diagnosis]:
    """Routes that have not taken what they were given, and configurations without any."""
    config = parts.config
    if not config.notify:
        yield Diagnosis(
            "notify",
            Level.NOTE,
            "nobody is told when an account needs consent: no [[notify]] is configured",
            "docs/notifications.md; then: worker notify test",
        )
        return
    failing = 0
    if storage.exists(parts):
        url = config.store.read_url(parts.environ, config.base_dir)
        for route in take(url, config.store.sqlite_path, _MANY)["routes"]:
            failing += 1
            since = span(parts.clock.now() - route["oldest"])
            message = f"{route['waiting']} messages wait, the oldest for {since}: {route['last_error']}"
            yield Diagnosis(f"notify.{route['route']}", Level.LATER, message, "worker notify test")
    if not failing:
        yield Diagnosis("notify", Level.OK, f"{len(config.notify)} routes; worker notify test tries them")
