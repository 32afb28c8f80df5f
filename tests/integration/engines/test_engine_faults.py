"""A store that fails for a while: the dispatcher outlives it, and no run is lost or left `running`."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager

import pytest

from worker.errors import TryAgainLater, WorkerError


@contextmanager
def out_of_order(house, breaking, mending):
    """The database with something broken in it, by another connection, until the block ends."""
    path = house.store.database.path

    def do(statement):
        with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
            connection.execute(statement)

    do(breaking)
    try:
        yield
    finally:
        do(mending)


def unreadable(house):
    """The schedule cannot even be read."""
    return out_of_order(
        house, "ALTER TABLE schedule RENAME TO schedule_away", "ALTER TABLE schedule_away RENAME TO schedule"
    )


def unwritable(house, table, verb):
    """Rows of a table cannot be written, as on a full disk."""
    return out_of_order(
        house,
        f"CREATE TRIGGER full BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
        "DROP TRIGGER full",
    )


def test_dispatcher_outlives_a_store_that_cannot_be_read(live, idle_job, until, caplog):
    """It says so, and goes on when the store is back."""
    live.add_job(idle_job, every=1.0)
    live.enroll()
    engine = live.engine()
    with unreadable(live):
        with pytest.raises(WorkerError):
            engine.recover()
        thread = threading.Thread(target=engine._dispatch_forever, daemon=True)
        thread.start()
        until(lambda: "the schedule cannot be read" in caplog.text, "a word about it")
    until(lambda: "succeeded" in live.states(), "a run")
    engine.stop_dispatching()
    thread.join(60)


def test_reconciliation_that_failed_is_made_up_for(house, idle_job):
    """The account was enrolled while the store was failing; the next look knows that it has not been seen to."""
    house.add_job(idle_job)
    house.enroll()
    engine = house.engine()
    with unwritable(house, "schedule", "INSERT"), pytest.raises(TryAgainLater):
        engine.dispatch()
    house.turn(engine)
    assert house.states() == ["succeeded"]


def test_firing_that_cannot_be_claimed_is_not_lost(live, idle_job, until):
    """The disk is full when the run should begin."""
    live.add_job(idle_job, every=3600.0)
    live.enroll()
    engine = live.engine()
    with unwritable(live, "run", "INSERT"):
        engine.start()
        until(lambda: engine.ended["failed"], "an attempt")
        during = live.runs()
    until(lambda: live.states() == ["succeeded"], "the run")
    assert during == []


def test_end_that_cannot_be_recorded_at_once_is_recorded_later(live, until, caplog):
    """The job has done its work; it is not made again because the disk was full for a moment."""
    entered, hold, times = threading.Event(), threading.Event(), []

    def job(_context):
        times.append(1)
        entered.set()
        hold.wait(60)

    live.add_job(job, every=3600.0)
    live.enroll()
    live.engine().start()
    assert entered.wait(60)
    with unwritable(live, "run", "UPDATE"):
        hold.set()
        until(lambda: "cannot be recorded yet" in caplog.text, "a word about it")
    until(lambda: live.states() == ["succeeded"], "the record")
    assert len(times) == 1


def test_end_that_can_never_be_recorded_does_not_block_the_row(live, until, caplog):
    """After all tries the run is taken for interrupted, and made again first."""
    entered, hold, times = threading.Event(), threading.Event(), []

    def job(_context):
        times.append(1)
        entered.set()
        hold.wait(60)

    live.add_job(job, every=3600.0)
    live.enroll()
    engine = live.engine()
    engine.start()
    assert entered.wait(60)
    with unwritable(live, "run", "UPDATE"):
        live.wiring.stopping.aborting.set()  # no patience: as at the end of a drain
        hold.set()
        until(lambda: "could not be made or recorded" in caplog.text, "a word about it")
        live.wiring.stopping.aborting.clear()
    until(lambda: live.states() == ["interrupted", "succeeded"], "the second run")
    assert len(times) == 2


def test_writer_that_holds_the_store_only_delays(live, idle_job, until):
    """Another process is in the middle of a transaction: everybody waits their turn."""
    live.add_job(idle_job, every=3600.0)
    live.enroll()
    engine = live.engine()
    engine.dispatch()
    assert engine.wait_idle(60)
    live.enroll("globex")
    with closing(sqlite3.connect(live.store.database.path, timeout=60, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        engine.ring()
        engine.start()
        threading.Event().wait(0.5)
        during = live.states()
        other.execute("ROLLBACK")
    until(lambda: live.states() == ["succeeded"] * 2, "the second account's run")
    assert during == ["succeeded"]


def test_once_ends_when_the_store_fails(live, idle_job):
    """`worker once` does not go round for ever: it raises what the store said."""
    live.add_job(idle_job, every=3600.0)
    live.enroll()
    engine = live.engine()
    with unwritable(live, "run", "INSERT"), pytest.raises(TryAgainLater, match="full"):
        engine.run_due()


def test_abandoning_runs_while_the_store_fails_ends_all_the_same(house):
    """The process has to end; the next start finds them by their locks."""
    entered, hold = threading.Event(), threading.Event()

    def job(_context):
        entered.set()
        hold.wait(60)

    house.add_job(job)
    house.enroll()
    engine = house.engine()
    engine.dispatch()
    assert entered.wait(60)
    with unreadable(house):
        assert engine.abandon() == 1
    hold.set()
