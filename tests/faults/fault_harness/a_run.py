"""One run of the job, as the daemon's runner makes it: what a refresh and a checkpoint are stopped in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fault_harness.place import ROWS, admit
from worker.engines.plan import make_plan, reconcile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fault_harness.place import Place
    from worker.wiring import Wiring

JOB = "copy"
#: What the sink holds when every row has come once.
EVERY_ROW = list(range(ROWS))


@dataclass(frozen=True)
class Run:
    """A run that may start."""

    wiring: Wiring
    make: Callable[[], object]


def ready_to_run(place: Place, grant: Mapping[str, Any], user: str) -> Run:
    """Enrol the account and put the job on the schedule."""
    wiring = place.wiring()
    account = admit(wiring, grant, user)
    plan = make_plan(wiring.assignments())
    reconcile(wiring.store, plan, wiring.clock.now(), realign=True)
    due = wiring.store.schedule.entry(JOB, account.id)
    assert due is not None
    following = partial(plan[JOB].timetable.after, account.label)
    return Run(wiring, partial(wiring.runner.run, plan[JOB].assignment, due, following))
