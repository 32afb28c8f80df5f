"""Telling people that the store does not work: the one fault that the outbox cannot hold.

The store says when a transaction fails: a full or read-only disk, a file that was deleted, replaced or damaged, a
server that is gone. If it still fails a few seconds later, every route that takes incidents is told, past the outbox,
and again when the store works. One that does not take it is tried again, at growing intervals; so often, too, the log
says that the fault goes on. Who was told stands in a file (`told_of_store`): what a restart mends, the next process
gives the all-clear for.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from worker.accounts.backoff import wait_after
from worker.errors import Busy, TryAgainLater, WorkerError
from worker.notify.told_of_store import Memory, Told
from worker.store.notifications import INCIDENT, RECOVERED, Notification

if TYPE_CHECKING:
    from worker.notify.sender import Desk, Sender

log = logging.getLogger(__name__)

#: Seconds for which a fault may pass by itself, and between two looks at it afterwards.
PATIENCE = 5.0
#: How often a route is tried that does not take the all-clear: two and a half minutes in all.
_LAST_TRIES = 5
_STORE = "store"


class StoreWatch(threading.Thread):
    """Waits for a write to fail. `failed` is what the database calls then."""

    def __init__(self, desk: Desk, senders: list[Sender]) -> None:
        super().__init__(name="store watch", daemon=True)
        self._desk = desk
        self._senders = [sender for sender in senders if INCIDENT in sender.route.takes.events]
        self._memory = Memory(desk.state_folder)
        self._woken = threading.Event()
        self._stopping = threading.Event()

    def failed(self, _error: WorkerError) -> None:
        """A transaction has failed."""
        self._woken.set()

    def stop(self) -> None:
        """End; does not wait."""
        self._stopping.set()
        self._woken.set()

    def run(self) -> None:
        """Wait for a fault, and follow it to its end."""
        for sender in self._senders:
            if sender.route.prepare is not None:
                with suppress(WorkerError):  # told when something is sent
                    sender.route.prepare()
        told = self._memory.read()
        while not self._stopping.is_set():
            if told is None:
                self._woken.wait()
                self._woken.clear()
                told = Told(self._desk.clock.now(), ())
                if self._stopping.wait(PATIENCE):
                    return
            try:
                self._follow(told)
                told = None
            except Exception as error:  # whatever it is, the thread outlives it
                log.error("the store cannot be watched; trying again", exc_info=error)
                told = self._memory.read() or told
                self._stopping.wait(PATIENCE)

    def _follow(self, told: Told) -> None:
        """Tell of a fault until every route has taken it, and of its end."""
        clock, since = self._desk.clock, told.since
        waiting = [sender for sender in self._senders if sender.route.name not in told.routes]
        fault: WorkerError | None = None
        attempts, next_at = 0, clock.monotonic()
        while (fault := self._fault(fault)) is not None:
            if clock.monotonic() >= next_at:
                log.error(_words(fault), extra={"error": fault.message, "hint": fault.hint})
                waiting = [sender for sender in waiting if not self._tell(sender, since, fault)]
                self._note(since, waiting)
                attempts += 1
                next_at = clock.monotonic() + wait_after(attempts, None, 0.0, first=PATIENCE)
            if self._stopping.wait(PATIENCE):
                return
        self._give_all_clear([sender for sender in self._senders if sender not in waiting], since)

    def _note(self, since: float, waiting: list[Sender]) -> None:
        told = [sender.route.name for sender in self._senders if sender not in waiting]
        if told:
            self._memory.write(since, told)

    def _give_all_clear(self, told: list[Sender], since: float) -> None:
        """Tell whoever was told, with some patience, but not while the next fault waits."""
        self._woken.clear()
        for attempt in range(1, _LAST_TRIES + 1):
            told = [sender for sender in told if not self._tell(sender, since, None)]
            if not told or self._woken.wait(wait_after(attempt, None, 0.0, first=PATIENCE)):
                break
        if not self._stopping.is_set():
            self._memory.forget()

    def _fault(self, before: WorkerError | None) -> WorkerError | None:
        """What keeps the store from working now; where somebody else holds it, what did `before`."""
        database = self._desk.store.database
        try:
            # Before anything is written: not into a file that is damaged.
            database.refuse_damaged()
            database.prove_writable()
        except Busy:
            return before
        except WorkerError as error:
            return error
        return None

    def _tell(self, sender: Sender, since: float, fault: WorkerError | None) -> bool:
        """Tell one route; answers whether it took the message."""
        now = self._desk.clock.now()
        event = RECOVERED if fault is None else INCIDENT
        reason = "the store works again" if fault is None else f"{_words(fault)}: {fault.message}"
        remedy = "" if fault is None else fault.hint
        facts = {"cause": _STORE, "reason": reason, "remedy": remedy, "since": since}
        item = Notification(0, f"{_STORE}-{event}-{since:.3f}", now, event, "", None, facts)
        error = sender.tell(item)
        told = {"route": sender.route.name, "event": event, "count": 1}
        if error:
            log.warning("a notification was not taken", extra={**told, "error": error})
        else:
            log.info("people were told", extra=told)
        return not error


def _words(fault: WorkerError) -> str:
    return "the store cannot be written" if isinstance(fault, TryAgainLater) else "the store cannot be used"
