"""Telling people that the store cannot be written: the one fault that the outbox cannot hold.

The store says when a write fails (a full or read-only disk, a server that is gone). If it still fails a few seconds
later, every route that takes incidents is told, past the outbox, and again when the store works. What is known of it
is in memory: a process that ends meanwhile finds out anew.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from worker.errors import Busy, WorkerError
from worker.store.notifications import INCIDENT, RECOVERED, Notification

if TYPE_CHECKING:
    from worker.notify.sender import Desk, Sender

log = logging.getLogger(__name__)

#: Seconds for which a fault may pass by itself, and between two looks at it afterwards.
PATIENCE = 5.0
_STORE = "store"


class StoreWatch(threading.Thread):
    """Waits for a write to fail. `failed` is what the database calls then."""

    def __init__(self, desk: Desk, senders: list[Sender]) -> None:
        super().__init__(name="store watch", daemon=True)
        self._desk = desk
        self._senders = [sender for sender in senders if INCIDENT in sender.route.takes.events]
        self._woken = threading.Event()
        self._stopping = threading.Event()

    def failed(self, _error: WorkerError) -> None:
        """A write has failed."""
        self._woken.set()

    def stop(self) -> None:
        """End; does not wait."""
        self._stopping.set()
        self._woken.set()

    def run(self) -> None:
        """Wait for a fault, and follow it to its end."""
        while not self._stopping.is_set():
            self._woken.wait()
            since = self._desk.clock.now()
            if not self._stopping.wait(PATIENCE):
                self._follow(since)
            self._woken.clear()

    def _follow(self, since: float) -> None:
        told: list[Sender] = []
        fault: WorkerError | None = None
        while (fault := self._fault(fault)) is not None:
            log.error("the store cannot be written", extra={"error": fault.message, "hint": fault.hint})
            told += [sender for sender in self._senders if sender not in told and self._tell(sender, since, fault)]
            if self._stopping.wait(PATIENCE):
                return
        for sender in told:
            self._tell(sender, since, None)

    def _fault(self, before: WorkerError | None) -> WorkerError | None:
        """What keeps the store from being written now; where somebody else holds it, what did `before`."""
        try:
            self._desk.store.database.prove_writable()
        except Busy:
            return before
        except WorkerError as error:
            return error
        return None

    def _tell(self, sender: Sender, since: float, fault: WorkerError | None) -> bool:
        """Tell one route; answers whether it took the message."""
        now = self._desk.clock.now()
        event = RECOVERED if fault is None else INCIDENT
        reason = "the store can be written again" if fault is None else f"the store cannot be written: {fault.message}"
        remedy = "" if fault is None else fault.hint
        facts = {"cause": _STORE, "reason": reason, "remedy": remedy, "since": since}
        item = Notification(0, f"{_STORE}-{event}-{since:.3f}", now, event, "", None, facts)
        error = sender.send(self._desk.composer.compose([item], now, sender.route.mark))
        told = {"route": sender.route.name, "event": event, "count": 1}
        if error:
            log.warning("a notification was not taken", extra={**told, "error": error})
        else:
            log.info("people were told", extra=told)
        return not error
