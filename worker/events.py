"""Facts that others react to: the log, the notifications, the metrics. A publisher knows none of its listeners.

A listener that raises is a fault of its own: it is handed to `on_error` and the others are called all the same, so
that a broken notification can never take a refresh with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.states import AccountState, RunState


@dataclass(frozen=True)
class AccountMoved:
    """An account changed state."""

    integration: str
    account: str
    before: AccountState
    after: AccountState
    cause: str
    #: What to do, as a command or a link; empty when nothing needs doing.
    remedy: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class GrantRefreshed:
    """One call to the token endpoint brought a new access token."""

    integration: str
    account: str
    generation: int
    #: Seconds; None when the provider named none.
    expires_in: int | None
    rotated: bool


@dataclass(frozen=True)
class RefreshFailed:
    """A call to the token endpoint brought none; the account keeps its state."""

    integration: str
    account: str
    generation: int
    cause: str
    #: Seconds until the next attempt is allowed.
    after: float


@dataclass(frozen=True)
class AccountFailing:
    """Refreshes have been failing for long without any verdict; told once, and again every day while it lasts."""

    integration: str
    account: str
    #: Seconds since the epoch.
    since: float
    attempts: int
    #: What the last attempt met: status and code, redacted.
    last_answer: str
    #: `failing for 6 h, 14 attempts, last answer …`
    cause: str
    remedy: str = ""


@dataclass(frozen=True)
class AccountRecovered:
    """A refresh succeeded after somebody had been told that it fails."""

    integration: str
    account: str
    cause: str


@dataclass(frozen=True)
class IncidentOpened:
    """A fault of the integration, not of one account."""

    integration: str
    kind: str
    cause: str
    remedy: str = ""


@dataclass(frozen=True)
class IncidentClosed:
    """The integration works again."""

    integration: str
    kind: str
    cause: str


@dataclass(frozen=True)
class DeletionsHeld:
    """A listing would have taken too much away; somebody has to approve it."""

    integration: str
    account: str
    job: str
    table: str
    #: How `worker changes` knows it.
    change: str
    rows: int


@dataclass(frozen=True)
class JobLate:
    """A job has not succeeded for an account for longer than it may take."""

    integration: str
    account: str
    job: str
    #: Seconds since the epoch.
    since: float


@dataclass(frozen=True)
class RunFinished:
    """A run ended, or went into a pause before its next attempt."""

    run_id: str
    job: str
    integration: str
    account: str
    state: RunState
    rows: int
    seconds: float
    error: str | None = None


Event = (
    AccountMoved
    | GrantRefreshed
    | RefreshFailed
    | AccountFailing
    | AccountRecovered
    | IncidentOpened
    | IncidentClosed
    | DeletionsHeld
    | JobLate
    | RunFinished
)


class Events:
    """Hands every published fact to every listener, in the publisher's thread, in order of subscription."""

    def __init__(self, on_error: Callable[[Event, Exception], None] | None = None) -> None:
        self._listeners: list[Callable[[Event], None]] = []
        self._on_error = on_error

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every event from now on."""
        self._listeners.append(listener)

    def publish(self, event: Event) -> None:
        """Tell everybody. Never raises."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - see the module's docstring
                if self._on_error is not None:
                    self._on_error(event, error)
