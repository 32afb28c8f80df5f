"""`worker status --alive`: the probe of containers. Real daemons, in a folder as `worker init` makes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from worker.engines.heartbeat import STOPPED

#: Seconds. No claim of any test: where a shared machine is this slow, something hangs.
PATIENCE = 90.0


@pytest.fixture
def worker(tmp_path):
    """Runs a command in the folder."""

    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "worker", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    run("init", ".")
    return run


@pytest.fixture
def daemon(worker, tmp_path):
    """A daemon that has beaten once."""
    with (tmp_path / "out.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "worker", "run"], cwd=tmp_path, stdout=log, stderr=log)
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "state" / "heartbeat").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait(PATIENCE)


def test_alive_answers_0_while_the_daemon_works(worker, daemon):
    """Its main thread comes round and its store answers."""
    assert worker("status", "--alive").returncode == 0


def test_alive_answers_1_where_none_runs(worker):
    """None has ever run."""
    assert worker("status", "--alive").returncode == 1


def test_alive_answers_1_after_a_stop(worker, daemon):
    """At once: the daemon takes its sign of life away."""
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(PATIENCE)
    assert worker("status", "--alive").returncode == 1


def test_alive_answers_1_when_the_last_beat_is_old(worker, daemon, tmp_path):
    """A daemon that hangs beats no more."""
    daemon.send_signal(signal.SIGSTOP)
    old = time.time() - STOPPED - 1
    os.utime(tmp_path / "state" / "heartbeat", (old, old))
    ended = worker("--json", "status", "--alive")
    assert (ended.returncode, json.loads(ended.stdout)["alive"]) == (1, False)


def test_heartbeat_is_nobody_elses_business(worker, daemon, tmp_path):
    """Like everything else in the state folder."""
    assert (tmp_path / "state" / "heartbeat").stat().st_mode & 0o777 == 0o600


def test_alive_answers_1_when_the_last_beat_is_in_the_future(worker, daemon, tmp_path):
    """The clock was set back, and the daemon, which would have beaten since, hangs."""
    daemon.send_signal(signal.SIGSTOP)
    ahead = time.time() + STOPPED + 60
    os.utime(tmp_path / "state" / "heartbeat", (ahead, ahead))
    assert worker("status", "--alive").returncode == 1
