"""The span of time that a backfill covers: from its first moment, inclusive, to the one before which it ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from worker.errors import UsageFault

_MIDNIGHT = "T00:00:00Z"
#: Between a job's name and the window in the name under which a backfill runs: no job's name has it.
MARK = "@"


@dataclass(frozen=True)
class Window:
    """Both ends are RFC 3339 in UTC, whole seconds: `2026-01-01T00:00:00Z`."""

    since: str
    #: None: it has no end.
    until: str | None

    def __str__(self) -> str:
        """`2026-01-01..2026-02-01`: what tells two backfills of a job apart."""
        return f"{_short(self.since)}..{_short(self.until or '')}"

    def name_for(self, job: str) -> str:
        """What the job is called while it runs for this window: it has a cursor, a lock and a history of its own."""
        return f"{job}{MARK}{self}"


def read_window(since: str, until: str) -> Window:
    """A window from dates or RFC 3339 times; a time without an offset is UTC. Raises UsageFault for anything else."""
    window = Window(_moment(since, "--from"), _moment(until, "--to") if until else None)
    if window.until is not None and window.until <= window.since:
        raise UsageFault(
            f"--to {until} is not after --from {since}", hint="--from is the first moment, --to the one after the last"
        )
    return window


class Bounds:
    """A run's window, and whether the job has looked at it: one that has not would copy everything, or nothing."""

    def __init__(self, window: Window | None, *, resumed: bool = False) -> None:
        """`resumed`: there is a cursor to go on from, which stands for the window's beginning."""
        self._window = window
        self._unread = {
            "since": window is not None and not resumed,
            "until": window is not None and window.until is not None,
        }
        self._heeded = window is None or resumed
        self._begun: set[str] = set()

    @property
    def since(self) -> str | None:
        """The window's first moment; None outside of a backfill."""
        self._unread["since"], self._heeded = False, True
        return None if self._window is None else self._window.since

    @property
    def until(self) -> str | None:
        """The moment before which the window ends; None without one."""
        self._unread["until"], self._heeded = False, True
        return None if self._window is None else self._window.until

    def require_heeded(self, job: str) -> None:
        """Raise UsageFault when the job is about to commit and has not looked at its window."""
        unread = [f"ctx.{name}" for name, never in self._unread.items() if never]
        if unread:
            raise UsageFault(
                f"{job} does not look at {' and '.join(unread)}, so it cannot be backfilled; nothing was written",
                hint=f"have {job} ask the API for ctx.since and ctx.until (docs/backfill.md), "
                f"or copy everything again: worker jobs reset {job}",
            )

    def require_beginning(self, job: str, table: str) -> None:
        """Raise UsageFault when rows of a table come a second time and the job has looked at neither bound.

        So it is not all read before it is refused. A single batch may be a small table that is always copied whole.
        """
        if not self._heeded and table in self._begun:
            self.require_heeded(job)
        self._begun.add(table)


def _moment(text: str, option: str) -> str:
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageFault(
            f"{option} {text!r} is no date and no time", hint=f"{option} 2026-01-31, or {option} 2026-01-31T06:00:00Z"
        ) from None
    if found.microsecond:
        raise UsageFault(f"{option} {text} has a fraction of a second", hint="whole seconds")
    return found.isoformat().replace("+00:00", "Z")


def _short(moment: str) -> str:
    return moment.removesuffix(_MIDNIGHT)
