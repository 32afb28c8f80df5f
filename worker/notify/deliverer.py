"""Delivers while the daemon runs: a thread for each route, so that one which is slow holds up none of the others.

A thread looks at the outbox when something happened in this process, when another one rang, and every quarter of a
minute: what a command or another machine wrote is found all the same. A command has no such threads; it delivers what
it caused before it ends (`deliver_now`), for a few seconds at most, and leaves the rest to the daemon.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from worker.errors import WorkerError
from worker.events import GrantRefreshed, RunFinished
from worker.notify.sender import Sender
from worker.notify.store_watch import StoreWatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.events import Event
    from worker.notify.route import Route
    from worker.notify.sender import Desk
    from worker.store.notifications import Notification

log = logging.getLogger(__name__)

#: Seconds between two looks at the outbox.
LONGEST_WAIT = 15.0
#: Seconds for which the first news waits for more of its kind: what happens together is told together.
GATHER = 1.0


class Deliverer:
    """All routes of one process."""

    def __init__(self, desk: Desk, routes: Sequence[Route]) -> None:
        self._desk = desk
        self._senders = [Sender(desk, route) for route in routes]
        self._threads: list[_RouteThread] = []
        self._watch: StoreWatch | None = None
        self._running = False
        #: Whether anything has happened in this process that people may have to be told.
        self.heard = False

    @property
    def routes(self) -> list[Route]:
        """The routes, in the order of the config."""
        return [sender.route for sender in self._senders]

    def hear(self, event: Event) -> None:
        """Listen to the events of this process: something may wait in the outbox."""
        if not isinstance(event, RunFinished | GrantRefreshed):
            self.heard = True
            self.wake()

    def wake(self) -> None:
        """Look at the outbox now."""
        for thread in self._threads:
            thread.wake.set()

    def start(self) -> None:
        """Begin to deliver, and to watch the store."""
        self._running = True
        if not self._senders:
            return
        self._threads = [_RouteThread(sender) for sender in self._senders]
        self._watch = StoreWatch(self._desk, self._senders)
        self._desk.store.database.on_fault = self._watch.failed
        for thread in (*self._threads, self._watch):
            thread.start()

    def use(self, routes: Sequence[Route]) -> None:
        """These are the routes from now on (the configuration was read anew)."""
        self._end_threads()
        self._senders = [Sender(self._desk, route) for route in routes]
        if self._running:
            self.start()

    def stop(self, seconds: float) -> None:
        """Deliver what has just happened, for so many seconds at most, and end."""
        self._running = False
        deadline = time.monotonic() + seconds
        threads = self._threads
        self._end_threads()
        # One that is sending holds its route; what it does not come to mark is told once more after the next start.
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        if self.heard:
            # Made anew, they do not wait for company: nobody is there afterwards to send what they would hold back.
            self._senders = [Sender(self._desk, route) for route in self.routes]
            self.deliver_now(deadline - time.monotonic())

    def deliver_now(self, seconds: float) -> None:
        """Deliver what waits, every route at once; whatever takes longer stays in the outbox."""
        if seconds <= 0:
            return
        deadline = time.monotonic() + seconds
        threads = [
            threading.Thread(target=_deliver, args=(sender, seconds), name="notify", daemon=True)
            for sender in self._senders
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def tell(self, item: Notification, timeout: float, *, only: Sequence[str]) -> dict[str, str]:
        """Tell these routes of one thing, past the outbox; route -> what kept it from being taken, or nothing."""
        found: dict[str, str] = {}

        def send(sender: Sender) -> None:
            found[sender.route.name] = sender.tell(item, timeout)

        threads = {
            sender.route.name: threading.Thread(target=send, args=(sender,), daemon=True)
            for sender in self._senders
            if sender.route.name in only
        }
        for thread in threads.values():
            thread.start()
        for thread in threads.values():
            thread.join(timeout * 2)
        return {name: found.get(name, f"no answer within {timeout * 2:g} s") for name in threads}

    def _end_threads(self) -> None:
        for thread in self._threads:
            thread.stopping.set()
            thread.wake.set()
        if self._watch is not None:
            self._watch.stop()
        self._threads, self._watch = [], None


class _RouteThread(threading.Thread):
    """Serves one route until told to stop."""

    def __init__(self, sender: Sender) -> None:
        super().__init__(name=f"notify {sender.route.name}", daemon=True)
        self._sender = sender
        self.wake = threading.Event()
        self.stopping = threading.Event()

    def run(self) -> None:
        """Look, wait, look again."""
        wait: float | None = 0.0
        while not self.stopping.is_set():
            if self.wake.wait(LONGEST_WAIT if wait is None else min(wait, LONGEST_WAIT)):
                self.wake.clear()
                self.stopping.wait(GATHER)
            if not self.stopping.is_set():
                wait = _deliver(self._sender)


def _deliver(sender: Sender, timeout: float | None = None) -> float | None:
    try:
        return sender.deliver(timeout)
    except WorkerError as error:
        facts = {"route": sender.route.name, "error": error.message, "hint": error.hint}
        log.error("the outbox cannot be worked on; trying again", extra=facts)
    except Exception as error:  # whatever it is, the thread outlives it
        log.error("the outbox cannot be worked on; trying again", extra={"route": sender.route.name}, exc_info=error)
    return None
