"""Takes what waits for one route out of the outbox, sends it, and marks what the route took.

A lock per route lets one process deliver at a time, so that a command and the daemon beside it do not tell the same
thing twice. The mark follows the sending: a crash in between sends again, with the same id.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.accounts.backoff import wait_after
from worker.clock import rfc3339
from worker.errors import Busy, WorkerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.clock import Clock
    from worker.notify.message import Composer, Message
    from worker.notify.route import Route
    from worker.store.notifications import Notification
    from worker.store.store import Store

log = logging.getLogger(__name__)

#: Seconds until a route that failed is tried again, doubled with each failure up to a quarter of an hour.
_FIRST_WAIT = 10.0
#: Seconds between two messages of one kind on a route: what comes meanwhile is gathered.
SPACING = 60.0


@dataclass(frozen=True)
class Desk:
    """What every sender works with."""

    store: Store
    clock: Clock
    composer: Composer
    #: Seconds that a route may take over a message.
    timeout: float = 30.0
    spacing: float = SPACING
    #: Where to note who was told that the store does not work; None: nowhere.
    state_folder: Path | None = None


class Sender:
    """Serves one route."""

    def __init__(self, desk: Desk, route: Route) -> None:
        self._desk = desk
        self.route = route
        #: Kind of message -> monotonic second when the last one went out.
        self._last: dict[str, float] = {}

    def deliver(self, timeout: float | None = None) -> float | None:
        """Send what waits; answers in how many seconds to look again, None when nothing more is known to come.

        Raises WorkerError when the outbox cannot be read or written; a route that fails is no such error.
        """
        store, route = self._desk.store, self.route
        try:
            with store.locks.hold(f"notify-{route.name}", patience=0.0):
                if route.remind:
                    store.notifications.remind(route.takes, route.remind, self._desk.clock.now())
                waiting = self._worth_telling()
                held = [self._send_kind(event, items, timeout) for event, items in _by_event(waiting)]
        except Busy as error:
            if error.evidence.get("lock") != f"notify-{route.name}":
                raise
            return None  # another process is at it
        next_at = store.notifications.next_attempt(route.name)
        waits = [wait for wait in held if wait] + ([] if next_at is None else [next_at - self._desk.clock.now()])
        return max(min(waits), 0.0) if waits else None

    def _worth_telling(self) -> Sequence[Notification]:
        outbox, now = self._desk.store.notifications, self._desk.clock.now()
        items, over = outbox.without_outdated(outbox.waiting(self.route.takes, now), self.route.takes, now)
        if over:
            log.info(
                "notifications were over before they were told", extra={"route": self.route.name, "count": len(over)}
            )
        return items

    def tell(self, item: Notification, timeout: float | None = None) -> str:
        """Tell of one thing past the outbox; answers what kept the route from taking it, or nothing."""
        return self._send(self._compose([item]), timeout)

    def _compose(self, items: Sequence[Notification]) -> Message:
        return self._desk.composer.compose(items, self._desk.clock.now(), self.route.mark)

    def _send(self, message: Message, timeout: float | None) -> str:
        """Send one message; answers what kept the route from taking it, or nothing."""
        try:
            self.route.way.send(message, timeout or self._desk.timeout)
        except WorkerError as error:
            return f"{error.message}; try: {error.hint}" if error.hint else error.message
        except Exception as error:  # a plugin's own fault is the route's, and does not end the thread
            log.warning("a notification route broke", extra={"route": self.route.name}, exc_info=error)
            return f"{type(error).__name__} in the route"
        return ""

    def _send_kind(self, event: str, items: Sequence[Notification], timeout: float | None) -> float:
        """Send everything of one kind as one message; answers how many seconds it has to wait instead, or 0."""
        moment = self._desk.clock.monotonic()
        early = self._last.get(event, float("-inf")) + self._desk.spacing - moment
        if early > 0:
            return early
        fault = self._send(self._compose(items), timeout)
        facts = {"route": self.route.name, "event": event, "count": len(items)}
        if fault:
            self._note_failure(items, fault, facts)
        else:
            self._last[event] = moment
            self._desk.store.notifications.delivered(items, self.route.name, self._desk.clock.now())
            log.info("people were told", extra=facts)
        return 0.0

    def _note_failure(self, items: Sequence[Notification], fault: str, facts: dict[str, object]) -> None:
        now = self._desk.clock.now()
        wait = wait_after(max(item.attempts for item in items) + 1, None, 0.0, first=_FIRST_WAIT)
        given_up = self._desk.store.notifications.failed(items, self.route.name, fault, now, now + wait)
        log.warning("a notification was not taken", extra={**facts, "error": fault, "retry_in": wait})
        for item in given_up:
            what = {"integration": item.integration, "account": item.account, "of": rfc3339(item.created_at)}
            log.error("a notification was given up", extra={**facts, **what, "error": fault})


def _by_event(items: Sequence[Notification]) -> list[tuple[str, list[Notification]]]:
    """By kind, reminders apart from news; the order of the oldest of each is kept."""
    order: dict[tuple[str, bool], list[Notification]] = {}
    for item in items:
        order.setdefault((item.event, bool(item.facts.get("reminder"))), []).append(item)
    return [(event, found) for (event, _), found in order.items()]
