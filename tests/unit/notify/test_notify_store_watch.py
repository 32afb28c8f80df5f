"""The watch over the store outlives what nobody thought of, and does not forget whom it has told."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from worker.notify.message import Composer
from worker.notify.route import Route
from worker.notify.sender import Desk, Sender
from worker.notify.store_watch import StoreWatch
from worker.notify.told_of_store import Memory
from worker.redact import Scrubber
from worker.store.notifications import INCIDENT, RECOVERED, Addressee
from worker.testing.manual_clock import ManualClock


class Database:
    """Works, but the first look at it ends as no error of ours does."""

    def __init__(self) -> None:
        self.looks = 0

    def refuse_damaged(self) -> None:
        self.looks += 1
        if self.looks == 1:
            raise RuntimeError("nobody thought of this")

    def prove_writable(self) -> None:
        pass


class Pager:
    """Notes what it takes."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.rung = threading.Event()

    def send(self, message, _timeout) -> None:
        self.taken.append(message.event)
        self.rung.set()


def test_watch_gives_the_all_clear_after_an_error_of_its_own(tmp_path) -> None:
    """To the route that an earlier process has told."""
    Memory(tmp_path).write(5.0, ["pager"])
    pager, clock = Pager(), ManualClock()
    store = SimpleNamespace(database=Database())
    desk = Desk(store, clock, Composer(Scrubber(), lambda *_: 0), state_folder=tmp_path)
    watch = StoreWatch(desk, [Sender(desk, Route(Addressee("pager", (INCIDENT, RECOVERED)), pager))])
    watch.start()
    assert pager.rung.wait(60)
    watch.stop()
    watch.join(60)
    assert pager.taken == [RECOVERED]
