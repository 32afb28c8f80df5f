"""What an engine works for: each configured job with its timetable, and the schedule's rows brought in line with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.engines.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.runner.assignment import Assignment
    from worker.store.store import Store


@dataclass(frozen=True)
class Planned:
    """One job and when it is due."""

    assignment: Assignment
    timetable: Timetable


#: By job name. Replaced as a whole, never changed: whoever holds one sees a job and its timetable that belong together.
Plan = dict[str, Planned]


def make_plan(assignments: Mapping[str, Assignment]) -> Plan:
    """The plan for these jobs."""
    return {name: Planned(job, Timetable(job.config)) for name, job in assignments.items()}


def reconcile(store: Store, plan: Plan, now: float, *, realign: bool) -> None:
    """Bring the schedule's rows in line with the configured jobs and the enrolled accounts.

    `realign` moves due times as well: the jobs may have other schedules than before, or the clock was set back.
    """
    for name, planned in plan.items():
        if planned.timetable.scheduled:
            _reconcile_job(store, name, planned, now, realign=realign)
    store.schedule.retire([name for name, planned in plan.items() if planned.timetable.scheduled])


def _reconcile_job(store: Store, name: str, planned: Planned, now: float, *, realign: bool) -> None:
    first: dict[int, float] = {}
    following: dict[int, float] = {}
    known = store.schedule.known(name)
    for account in store.accounts.list(planned.assignment.config.integration):
        if not planned.assignment.covers(account.integration, account.name):
            continue
        due = now if account.id in known else planned.timetable.first(account.label, now)
        after = planned.timetable.after(account.label, now)
        if due is not None and after is not None:
            first[account.id], following[account.id] = due, after
    store.schedule.ensure(name, first)
    if realign:
        store.schedule.clamp(name, following, now=now)
