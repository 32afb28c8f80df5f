"""The dispatcher's own thread, on the machine's clock."""

from __future__ import annotations

import threading
import time

from sqlalchemy import event

from worker.states import RunState
from worker.store.locks import run_lock
from worker.store.records import RunCounts
from worker.store.runs import RunEnd

HOUR = 3600.0


def test_history_is_forgotten_after_its_time(live, idle_job):
    """Runs older than the retention go when `worker once` ends; younger ones stay."""
    live.add_job(idle_job, every=None)
    account = live.enroll()
    live.store.schedule.open_entry("invoices", account)
    for age in (100.0, 1.0):
        moment = live.clock.now() - age
        claim = live.store.schedule.claim(live.row(account), moment, None, "test", "manual")

        live.store.runs.finish(claim, RunEnd(RunState.SUCCEEDED, RunCounts()), moment)
    live.engine(history=50.0).run_due()
    (left,) = live.runs()
    assert left.finished_at > live.clock.now() - 50


def test_dispatcher_runs_on_time_without_being_rung(live, idle_job, until):
    """The scheduler wakes it at the earliest due time: a job of every second comes round."""
    live.add_job(idle_job, every=1.0)
    live.enroll()
    live.engine().start()
    until(lambda: live.states() == ["succeeded"] * 3, "three runs")


def test_dispatcher_sleeps_when_nothing_is_due(live, idle_job):
    """It does not spin: its thread uses next to no processor time while a row is due in an hour."""
    live.add_job(idle_job, every=HOUR)
    live.enroll()
    engine = live.engine()
    engine.start()
    while not live.runs() or engine.running:
        time.sleep(0.01)
    before = time.process_time()
    time.sleep(1.0)
    assert time.process_time() - before < 0.5


def test_dispatcher_does_not_spin_on_a_row_it_cannot_start(live, idle_job, until):
    """Due, and in somebody's hands for long: a look a second, not twenty."""
    looks = []
    live.add_job(idle_job, every=1.0)
    account = live.enroll()
    engine = live.engine()
    with live.store.locks.hold(run_lock("invoices", account.id)):
        event.listen(live.store.database.engine, "begin", lambda _connection: looks.append(1))
        engine.start()
        threading.Event().wait(2.0)
    assert len(looks) < 120


def test_engine_starts_no_thread_before_it_is_told_to(house, idle_job):
    """A fork would lose them: whoever forks does it before `start`."""
    house.add_job(idle_job)
    house.enroll()
    before = threading.active_count()
    house.engine()
    assert threading.active_count() == before
