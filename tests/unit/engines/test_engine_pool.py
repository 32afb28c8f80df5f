"""The pool: bounded, of daemon threads, and not killed by what a call raises."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from worker.engines.pool import Pool

PATIENCE = 30.0


@pytest.fixture
def uncaught(monkeypatch):
    """What threads raise, instead of on stderr."""
    raised: list[BaseException] = []
    told = threading.Event()

    def keep(arguments):
        raised.append(arguments.exc_value)
        told.set()

    monkeypatch.setattr(threading, "excepthook", keep)
    return raised, told


def test_pool_runs_at_most_its_size_at_once():
    """Twenty calls on three threads: never a fourth at the same time, and all of them run."""
    pool, lock = Pool(3), threading.Lock()
    running, most, done = 0, 0, threading.Semaphore(0)
    go_on = threading.Event()

    def call():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go_on.wait(0.01)
        with lock:
            running -= 1
        done.release()

    for _ in range(20):
        pool.submit(call)
    assert all(done.acquire(timeout=PATIENCE) for _ in range(20))
    assert most <= 3


def test_pool_starts_threads_only_as_needed():
    """One call after the other needs one thread."""
    pool, names = Pool(8), set()
    for _ in range(5):
        ended = threading.Event()
        pool.submit(lambda ended=ended: (names.add(threading.current_thread().name), ended.set()))
        assert ended.wait(PATIENCE)
        time.sleep(0.05)  # the thread still has to come back for the next call
    assert len(names) == 1


def test_pool_threads_are_daemons():
    """The interpreter does not wait for them."""
    pool, seen = Pool(1), []
    ended = threading.Event()
    pool.submit(lambda: (seen.append(threading.current_thread().daemon), ended.set()))
    assert ended.wait(PATIENCE)
    assert seen == [True]


def test_pool_lives_on_after_a_call_that_raised(uncaught):
    """The only thread takes the next call, and the error reaches the hook."""
    raised, told = uncaught
    pool, ended = Pool(1), threading.Event()

    def fail():
        raise ValueError("the job's own fault")

    pool.submit(fail)
    assert told.wait(PATIENCE)
    pool.submit(ended.set)
    assert ended.wait(PATIENCE)
    assert [str(error) for error in raised] == ["the job's own fault"]


def test_pool_lives_on_after_a_call_that_exits(uncaught):
    """`sys.exit()` in a job ends neither the thread nor the process."""
    _, told = uncaught
    pool, ended = Pool(1), threading.Event()
    pool.submit(sys.exit)
    assert told.wait(PATIENCE)
    pool.submit(ended.set)
    assert ended.wait(PATIENCE)


def test_pool_that_is_made_larger_has_more_threads():
    """The configuration was read anew, with a higher concurrency."""
    pool, together = Pool(1), threading.Barrier(3)
    met = []
    pool.size = 3
    for _ in range(3):
        pool.submit(lambda: met.append(together.wait(PATIENCE)))
    deadline = time.monotonic() + PATIENCE
    while len(met) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(met) == [0, 1, 2]


def test_pool_does_not_hold_the_exit_of_the_process():
    """A call that never ends: the interpreter leaves all the same."""
    script = "import threading; from worker.engines.pool import Pool; Pool(1).submit(threading.Event().wait)"
    ended = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert ended.returncode == 0
