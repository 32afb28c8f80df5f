"""The dispatcher: what is due runs once, in order, bounded, and nothing is lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

from worker.errors import FenceLost
from worker.jobs.sinks import Stream
from worker.states import RunState
from worker.store.files import lock_folder
from worker.store.locks import run_lock
from worker.store.runs import RunFilter

HOUR = 3600.0


def test_new_account_runs_at_once(house, idle_job):
    """Its first run does not wait for the interval's phase."""
    house.add_job(idle_job)
    house.enroll()
    house.turn(house.engine())
    assert [(run.state, run.trigger) for run in house.runs()] == [(RunState.SUCCEEDED, "first")]


def test_run_is_due_again_at_its_phase(house, idle_job):
    """Within one interval, and not sooner than now."""
    house.add_job(idle_job, every=900.0)
    account = house.enroll()
    house.turn(house.engine())
    assert house.clock.now() < house.row(account).next_due <= house.clock.now() + 900


def test_nothing_runs_before_it_is_due(house, idle_job):
    """A second look finds nothing to do."""
    house.add_job(idle_job)
    house.enroll()
    engine = house.engine()
    house.turn(engine)
    assert house.turn(engine) == 0


def test_overload_loses_nothing(house):
    """Thirty accounts on two threads: everybody runs, two at a time, the longest overdue first."""
    lock, running, most = threading.Lock(), 0, 0

    def job(_context):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1

    house.add_job(job)
    for number in range(30):
        house.enroll(f"acme-{number:02}")
    engine = house.engine(concurrency=2)
    while house.turn(engine):
        pass
    assert house.states() == ["succeeded"] * 30
    assert len({run.account for run in house.runs()}) == 30
    assert most <= 2


def test_overload_does_not_fill_a_queue(house):
    """What finds no room stays in the record, where another process or a restart finds it."""
    hold = threading.Event()
    house.add_job(lambda _context: hold.wait(60))
    for number in range(10):
        house.enroll(f"acme-{number}")
    engine = house.engine(concurrency=3)
    assert (engine.dispatch(), engine.running, engine.dispatch()) == (3, 3, 0)
    hold.set()


def test_overload_is_not_taken_for_missed_time(house):
    """With catch_up off a firing that waited for the pool still runs: somebody was there all the time."""
    hold = threading.Event()
    house.add_job(lambda _context: hold.wait(60), catch_up=False)
    house.enroll("acme")
    house.enroll("globex")
    engine = house.engine(concurrency=1)
    engine.dispatch()
    for _ in range(20):
        house.clock.advance(30)
        engine.dispatch()
    hold.set()
    assert engine.wait_idle(60)
    house.turn(engine)
    house.turn(engine)
    assert "skipped" not in house.states()


def test_firing_during_a_run_starts_when_it_has_ended(house):
    """Not lost, not beside it, and one however many passed."""
    entered, hold = threading.Event(), threading.Event()

    def job(_context):
        entered.set()
        hold.wait(60)

    house.add_job(job)
    house.enroll()
    engine = house.engine()
    engine.dispatch()
    assert entered.wait(60)
    house.clock.advance(600)
    assert engine.dispatch() == 0
    hold.set()
    assert engine.wait_idle(60)
    assert (house.turn(engine), house.turn(engine), len(house.runs())) == (1, 0, 2)


def test_two_engines_on_one_store_make_each_run_once(house):
    """Two dispatchers look at the same rows at the same time."""
    lock, begun = threading.Lock(), []

    def job(context):
        with lock:
            begun.append(context.account)
        threading.Event().wait(0.002)

    house.add_job(job)
    for number in range(12):
        house.enroll(f"acme-{number:02}")
    engines = [house.engine(concurrency=12), house.engine(concurrency=12)]
    threads = [threading.Thread(target=engine.dispatch) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(engine.wait_idle(60) for engine in engines)
    assert sorted(begun) == [f"acme-{number:02}" for number in range(12)]


def test_run_in_another_process_keeps_ours_away(house, tmp_path):
    """The lock of a job and account is held by somebody else: no second run beside it, and no record of one."""
    house.add_job(lambda _context: None)
    account = house.enroll()
    script = (
        "import sys, pathlib; from worker.store.locks import FileLocks\n"
        "with FileLocks(pathlib.Path(sys.argv[1])).hold(sys.argv[2]):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    folder = lock_folder(house.wiring.config.store.sqlite_path)
    line = [sys.executable, "-c", script, str(folder), run_lock("invoices", account.id)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        engine = house.engine()
        house.turn(engine)
        seen = house.runs()
        other.stdin.close()
    house.clock.advance(2)
    house.turn(engine)
    assert (seen, house.states()) == ([], ["succeeded"])


def test_row_that_somebody_else_holds_is_left_alone_for_a_moment(house, idle_job):
    """Looking at it again and again would be spinning."""
    house.add_job(idle_job)
    account = house.enroll()
    engine = house.engine()
    with house.store.locks.hold(run_lock("invoices", account.id)):
        house.turn(engine)
        assert house.turn(engine) == 0


def test_row_of_a_job_that_is_not_ours_is_taken_off_the_schedule(house, idle_job):
    """Run by hand under another configuration, it would otherwise be due for ever and have the dispatcher spin."""
    house.add_job(idle_job, name="gone")
    account = house.enroll()
    house.turn(house.engine())
    del house.jobs["gone"]
    house.add_job(idle_job)
    engine = house.engine()
    house.turn(engine)
    house.store.schedule.ensure("gone", {account.id: house.clock.now() - 1})
    house.turn(engine)
    house.turn(engine)
    assert house.row(account, "gone").next_due is None


def test_interrupted_runs_go_first(house):
    """Before rows that have been overdue for longer."""
    order = []
    house.add_job(lambda context: order.append(context.account))
    first, second, third = (house.enroll(name) for name in ("a", "b", "c"))
    engine = house.engine(concurrency=1)
    engine.dispatch()
    assert engine.wait_idle(60)
    claim = house.store.schedule.claim(house.row(third), house.clock.now(), house.clock.now() + 60, "t", "schedule")
    house.store.runs.interrupt(house.row(third), "the process that ran it is gone", house.clock.now())
    assert claim is not None
    while house.turn(engine):
        pass
    assert order == ["a", "c", "b"]
    assert (first.name, second.name) == ("a", "b")


def test_job_that_exits_is_a_failed_run(house):
    """`sys.exit()` in a job is a fault of the job, and nobody else's end."""
    house.add_job(lambda _context: sys.exit("enough"))
    house.enroll()
    house.turn(house.engine())
    assert [(run.state, run.error) for run in house.runs()] == [(RunState.FAILED, "SystemExit: enough")]


def test_job_that_is_cancelled_is_a_failed_run(house):
    """Asyncio's CancelledError is no Exception; the row must not stay `running`."""

    def job(_context):
        raise asyncio.CancelledError

    house.add_job(job)
    house.enroll()
    house.turn(house.engine())
    assert house.states() == ["failed"]


def test_job_that_raises_keeps_its_schedule(house):
    """A fault of one run is none of the next."""
    house.add_job(lambda _context: 1 / 0)
    house.enroll()
    engine = house.engine()
    for _ in range(3):
        house.turn(engine)
        house.clock.advance(61)
    assert house.states() == ["failed"] * 3


def test_account_removed_while_its_job_runs_ends_quietly(house):
    """Nothing is left to record it with; the others go on."""
    entered, hold = threading.Event(), threading.Event()

    def job(context):
        if context.account == "acme":
            entered.set()
            hold.wait(60)

    house.add_job(job)
    account = house.enroll()
    engine = house.engine()
    engine.dispatch()
    assert entered.wait(60)
    house.store.accounts.remove(account)
    hold.set()
    assert engine.wait_idle(60)
    house.clock.advance(1)
    house.enroll("globex")
    engine.ring()
    house.turn(engine)
    assert house.states() == ["succeeded"]


def test_job_taken_out_of_the_config_is_not_put_back_by_a_claim(house, idle_job):
    """Claim and reconcile meet: the row was read as due, then retired, then claimed."""
    assignment = house.add_job(idle_job)
    account = house.enroll()
    engine = house.engine()
    house.store.schedule.ensure("invoices", {account.id: house.clock.now()})
    stale = house.row(account)
    house.store.schedule.retire([])
    state = house.wiring.runner.run(assignment, stale, lambda now: now + 60)
    house.turn(engine)
    assert state is None
    assert house.states() == ["succeeded"]  # the engine's own configuration has the job: it is revived


def test_jobs_can_change_while_runs_are_under_way(house):
    """The run that was handed out under the old configuration ends under it; the new one goes on."""
    entered, hold, seen = threading.Event(), threading.Event(), []

    def old(_context):
        entered.set()
        hold.wait(60)
        seen.append("old")

    house.add_job(old)
    house.enroll()
    engine = house.engine()
    engine.dispatch()
    assert entered.wait(60)
    house.jobs.clear()
    house.add_job(lambda _context: seen.append("new"), name="orders")
    engine.use(house.jobs)
    engine.dispatch()
    hold.set()
    assert engine.wait_idle(60)
    assert sorted(seen) == ["new", "old"]
    assert sorted(house.states()) == ["succeeded", "succeeded"]


def test_job_by_hand_only_is_not_scheduled(house, idle_job):
    """Neither `every` nor `cron`: nothing is due."""
    house.add_job(idle_job, every=None)
    house.enroll()
    assert house.turn(house.engine()) == 0


def test_job_for_some_accounts_runs_for_those(house, idle_job):
    """`accounts = ["acme"]`."""
    house.add_job(idle_job, accounts=("acme",))
    house.enroll("acme")
    house.enroll("globex")
    house.turn(house.engine())
    assert [run.account for run in house.runs()] == ["acme"]


def test_account_that_nobody_rang_for_is_found(house, idle_job):
    """Enrolled from another machine, or the ring was lost: half a minute later the accounts are counted."""
    house.add_job(idle_job, every=HOUR)
    house.enroll("acme")
    engine = house.engine()
    house.turn(engine)
    house.enroll("globex")
    house.clock.advance(30)
    house.turn(engine)
    assert [run.account for run in house.runs()] == ["acme", "globex"]


def test_account_that_came_for_another_one_is_found(house, idle_job):
    """As many as before, and perhaps under the same number."""
    house.add_job(idle_job, every=HOUR)
    account = house.enroll("acme")
    engine = house.engine()
    house.turn(engine)
    house.store.accounts.remove(account)
    house.clock.advance(30)
    house.enroll("globex")
    house.turn(engine)
    assert [run.account for run in house.runs()] == ["globex"]


def test_zombies_result_is_refused(house):
    """A run that lost its fence writes nothing: its newer one has the place."""
    caught = []
    entered, hold = threading.Event(), threading.Event()

    def job(context):
        entered.set()
        hold.wait(60)
        context.emit("invoices", {"id": 1}, key="id")
        try:
            context.checkpoint(changed="late")
        except FenceLost as error:
            caught.append(error)
            raise

    house.add_job(job)
    account = house.enroll()
    engine = house.engine()
    engine.dispatch()
    assert entered.wait(60)
    house.store.runs.interrupt(house.row(account), "taken for dead", house.clock.now())
    house.sink.open(Stream("invoices", "books", "acme"), house.row(account).fence + 1)
    hold.set()
    assert engine.wait_idle(60)
    assert (len(caught), house.sink.tables, house.states()) == (1, {}, ["interrupted"])


def test_sink_ahead_of_a_restored_store_is_caught_up_with(house):
    """The store came from a backup and its fences are old: one run is refused, the next goes on."""
    house.add_job(lambda context: context.emit("invoices", {"id": 1}, key="id"))
    house.enroll()
    house.sink.open(Stream("invoices", "books", "acme"), 500)
    engine = house.engine()
    house.turn(engine)
    house.turn(engine)
    assert house.states() == ["interrupted", "succeeded"]


def test_listing_of_runs_is_newest_first(house, idle_job):
    """What `worker runs list` shows on top is the latest."""
    house.add_job(idle_job)
    house.enroll()
    engine = house.engine()
    for _ in range(3):
        house.turn(engine)
        house.clock.advance(61)
    started = [run.started_at for run in house.store.runs.list(RunFilter())]
    assert started == sorted(started, reverse=True)
