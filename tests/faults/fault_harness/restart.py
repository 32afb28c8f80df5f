"""The fresh process after a stop: opens the store, recovers as the daemon does at its start, runs what is due.

It says what a daemon's operator could see, and nothing of how it came to it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fault_harness.clocks import PushedClock
from fault_harness.place import ACCOUNT, admit
from worker.errors import WorkerError
from worker.store.runs import RunFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fault_harness.place import Place
    from worker.wiring import Wiring

#: Looks at the schedule before "it neither goes on nor says why": each is the next due time, so hours, not seconds.
_LOOKS = 8


@dataclass
class Report:
    """What the product says after a restart."""

    #: Why the store does not open; empty when it does.
    refused: str = ""
    exists: bool = False
    state: str = ""
    cause: str = ""
    reason: str = ""
    #: A run succeeded in this process.
    ran: bool = False
    #: The newest run's state and error.
    run: tuple[str, str] = ("", "")
    #: Errors that an operator saw on the way (commands that had to be given twice).
    told: list[str] = field(default_factory=list)
    #: A human had to act, and then it ran.
    healed: bool | None = None
    generation: int = 0
    #: As it is stored at the end; the oracle shows it to the provider.
    refresh_token: str = ""
    undecryptable: str = ""


def report(place: Place, act: Callable[[Wiring, Report], None]) -> dict[str, Any]:
    """Open the store, do what the operation asks for, and say what has become of it."""
    clock = PushedClock()
    wiring = place.wiring(clock)
    said = Report()
    try:
        store = wiring.store
    except WorkerError as error:
        said.refused = f"{type(error).__name__}: {error.message}"
        return asdict(said)
    act(wiring, said)
    try:
        _look(wiring, said)
        if said.exists:
            account = store.accounts.get("api", ACCOUNT)
            grant = store.grants.read(account.id)
            store.grants.read_identity(account.id)
            said.generation = grant.generation
            said.refresh_token = store.grants.read_refresh_token(grant).reveal()
    except WorkerError as error:
        said.undecryptable = f"{type(error).__name__}: {error.message}"
    store.close()
    return asdict(said)


def go_on(wiring: Wiring, said: Report) -> None:
    """Recover, run what is due, wait as long as we are told to, until a run succeeds or a human is needed."""
    clock = wiring.clock
    assert isinstance(clock, PushedClock)
    started = clock.now()
    for _ in range(_LOOKS):
        wiring.engine().run_due()
        _look(wiring, said)
        said.ran = _succeeded_since(wiring, started)
        if said.ran or not said.exists or said.state == "needs_consent":
            return
        earliest = wiring.store.schedule.earliest()
        if earliest is not None:
            clock.push(max(earliest - clock.now(), 0) + 0.01)


def heal(wiring: Wiring, said: Report, given: Mapping[str, Any], user: str) -> None:
    """A human consents; what was missed has to be made up for by itself. Keeps what was said before."""
    before = (said.state, said.cause, said.reason, said.run)
    admit(wiring, given, user)
    go_on(wiring, said)
    said.healed = said.ran
    said.ran = False
    said.state, said.cause, said.reason, said.run = before


def _look(wiring: Wiring, said: Report) -> None:
    account = wiring.store.accounts.find("api", ACCOUNT)
    said.exists = account is not None
    if account is None or said.healed is not None:
        return
    said.state, said.cause, said.reason = str(account.state), account.cause, account.reason
    newest = wiring.store.runs.list(RunFilter(limit=1))
    said.run = (str(newest[0].state), newest[0].error or "") if newest else ("", "")


def _succeeded_since(wiring: Wiring, moment: float) -> bool:
    runs = wiring.store.runs.list(RunFilter(state="succeeded"))
    return any(run.finished_at is not None and run.finished_at >= moment for run in runs)
