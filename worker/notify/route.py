"""A route: a way to reach people, and what goes that way. The ways are in files of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.notify.message import Message
    from worker.store.notifications import Addressee


class NotDelivered(WorkerError):
    """A route did not take a message."""


class Way(Protocol):
    """One kind of route. Threads do not share it."""

    def send(self, message: Message, timeout: float) -> None:
        """Hand a message over, within so many seconds. Raises NotDelivered; returning means that it was taken."""


@dataclass(frozen=True)
class Route:
    """Who is told what, and how."""

    takes: Addressee
    way: Way
    #: Seconds between reminders; 0: none.
    remind: float = 0.0
    #: Stands before every subject.
    mark: str = ""
    #: Reads, and remembers, what sending needs from the store, which may be what is broken later.
    prepare: Callable[[], object] | None = None

    @property
    def name(self) -> str:
        """What it is called in the log and in the store."""
        return self.takes.name
