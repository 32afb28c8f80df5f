"""Delivers while the daemon runs: a thread for each route, so that one which is slow holds up none of the others.

A thread looks at the outbox when something happened in this process, when another one rang, and every quarter of a
minute: what a command or another machine wrote is found all the same. A command has no such threads; it delivers what
it caused before it ends (`deliver_now`), for a few seconds at most, and leaves the rest to the daemon.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from worker.errors import WorkerError
from worker.events import GrantRefreshed, RunFinished
from worker.notify.sender import Sender
from worker.notify.store_watch import StoreWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        ending = self._threads
        self._end_threads()
        _at_once([partial(self._finish, thread, seconds) for thread in ending], seconds)

    def _finish(self, thread: _RouteThread, seconds: float) -> None:
        # What is being sent is waited for: cut off before it is marked, it would be told again after the next start.
        thread.join(seconds)
        if self.heard and not thread.is_alive():
            # A sender made anew does not wait for company: nobody is there later to send what it would hold back.
            _deliver(Sender(self._desk, thread.sender.route), seconds)

    def deliver_now(self, seconds: float) -> None:
        """Deliver what waits, every route at once; whatever takes longer stays in the outbox."""
        _at_once([partial(_deliver, sender, seconds) for sender in self._senders], seconds)

    def tell(self, item: Notification, timeout: float, *, only: Sequence[str]) -> dict[str, str]:
        """Tell these routes of one thing, past the outbox; route -> what kept it from being taken, or nothing."""
        senders = [sender for sender in self._senders if sender.route.name in only]
        patience = 2 * timeout  # as long to connect as to answer
        found = {sender.route.name: f"no answer within {patience:g} s" for sender in senders}

        def tell(sender: Sender) -> None:
            found[sender.route.name] = sender.tell(item, timeout)

        _at_once([partial(tell, sender) for sender in senders], patience)
        return found

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
        self.sender = sender
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
                wait = _deliver(self.sender)


def _at_once(tasks: Sequence[Callable[[], object]], seconds: float) -> None:
    """Do all of this at the same time, and wait so long at most."""
    deadline = time.monotonic() + seconds
    threads = [threading.Thread(target=task, name="notify", daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))


def _deliver(sender: Sender, timeout: float | None = None) -> float | None:
    try:
        return sender.deliver(timeout)
    except WorkerError as error:
        facts = {"route": sender.route.name, "error": error.message, "hint": error.hint}
        log.error("the outbox cannot be worked on; trying again", extra=facts)
    except Exception as error:  # whatever it is, the thread outlives it
        log.error("the outbox cannot be worked on; trying again", extra={"route": sender.route.name}, exc_info=error)
    return None
