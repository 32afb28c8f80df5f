"""A real daemon whose machine's clock is set, and which sleeps: a library in front of libc moves its clocks."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HOUR, YEAR = 3600, 365 * 86400


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The library, built with the machine's own compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        reason = "no C compiler here; the same is tested in-process with a clock that can be moved"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    built = tmp_path_factory.mktemp("clock") / "wrong_clock.so"
    source = Path(__file__).with_name("wrong_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", built, source], check=True, timeout=120)
    return built


@pytest.fixture
def machine(place, library):
    """The place's daemon, on a machine whose clocks can be moved."""

    class Machine:
        def __init__(self):
            self.file = place.folder / "clock"
            self.set()

        def set(self, off=0, slept=0):
            """The wall clock is `off` seconds off, and the machine has slept for so long."""
            fresh = self.file.with_suffix(".new")
            fresh.write_text(f"{off} {slept}")
            fresh.replace(self.file)

        def start(self):
            return place.ready(LD_PRELOAD=str(library), WRONG_CLOCK=str(self.file))

    return Machine()


def runs_after(place, count):
    return lambda: len([run for run in place.runs("quick") if run.state == "succeeded"]) > count


def test_daemon_goes_on_when_the_clock_is_set_back_by_a_year(place, machine, until):
    """Nobody waits for the year to pass again, and the history stays in order."""
    place.job("quick", every="2s")
    place.enroll()
    daemon = machine.start()
    until(runs_after(place, 0))
    machine.set(off=-YEAR)
    daemon.says("the clock was set back by 365 d")
    until(runs_after(place, len(place.runs())))
    created = [run.created_at for run in place.runs("quick")]
    assert created[-1] < created[0] - YEAR / 2
    assert daemon.stop() == 0


def test_daemon_does_not_refresh_when_the_clock_jumps_ahead_by_a_year(place, sandbox, machine, until):
    """Five accounts, whose tokens the API takes: runs, and not one call to the authorization server."""
    place.job("events", every="2s")
    for number in range(5):
        place.enroll(f"acme-{number}")
    daemon = machine.start()
    until(lambda: len(place.runs("events")) >= 5)
    sandbox.reset_stats()
    before = len(place.runs("events"))
    machine.set(off=YEAR)
    daemon.says("the clock was set ahead by 365 d")
    until(lambda: len(place.runs("events")) >= before + 10)
    assert sandbox.stats()["token_calls_total"] == 0
    assert "failed" not in place.states()


def test_daemon_makes_one_run_of_what_fell_due_while_the_machine_slept(place, machine, until):
    """Eight hours of a job of every ten minutes: one run, soon after the machine wakes."""
    place.job("quick", every="10m")
    place.enroll()
    daemon = machine.start()
    until(runs_after(place, 0))
    machine.set(slept=8 * HOUR)
    until(runs_after(place, 1))
    daemon.send(1)
    daemon.says("configuration read anew")
    assert place.states("quick") == ["succeeded"] * 2
    assert "the clock was set" not in daemon.text


def test_daemon_refreshes_a_token_that_expired_while_the_machine_slept(place, sandbox, machine, until):
    """Each account once, at its use, and without sending the dead token first."""
    place.job("events", every="10m")
    place.enroll()
    machine.start()
    until(lambda: place.states("events") == ["succeeded"])
    sandbox.reset_stats()
    sandbox.expire()
    machine.set(slept=8 * HOUR)
    until(lambda: place.states("events") == ["succeeded"] * 2)
    assert (sandbox.stats()["token_calls_total"], sandbox.stats()["rejections"]) == (1, {})


def test_daemon_tells_of_a_wrong_clock_and_of_its_end(place, sandbox, machine, until):
    """By the provider's Date: in the log and in `worker status`, until a token answer finds it right."""
    place.job("events", every="2s")
    place.enroll()
    machine.set(off=2 * HOUR + 1830)
    daemon = machine.start()
    sandbox.expire()
    line = daemon.says("incident opened")
    assert (line["kind"], "ahead of" in line["cause"]) == ("clock_skew", True)
    assert "the local clock is 2 h 30 min ahead of http://127.0.0.1:" in place.command("status").stdout
    machine.set(off=0)
    sandbox.expire()
    daemon.says("incident closed")
