"""SIGTERM: runs may finish until the deadline, what is left is marked, and starts again first."""

from __future__ import annotations

import signal

import pytest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_lets_runs_finish(place, number):
    """And starts nothing new meanwhile."""
    place.job("waiting")
    place.enroll()
    daemon = place.ready()
    place.entered("waiting")
    daemon.send(number)
    daemon.says("draining")
    place.enroll("globex")
    place.go()
    assert (daemon.end(), place.states()) == (0, ["succeeded"])


def test_stop_without_runs_is_prompt(place):
    """Nothing to wait for."""
    place.options["drain_timeout"] = "10m"
    place.job("quick")
    assert place.ready().stop() == 0


def test_stop_after_the_deadline_interrupts_at_the_next_request(place):
    """The run ends in order, is marked, and the exit is a clean one."""
    place.options["drain_timeout"] = "1s"
    place.job("asking")
    place.enroll()
    daemon = place.ready()
    place.entered("asking")
    assert (daemon.stop(), place.states()) == (0, ["interrupted"])


def test_stop_is_not_held_by_a_job_that_hangs(place):
    """It neither ends nor asks for anything: it is left behind, marked, and the process is gone."""
    place.options["drain_timeout"] = "1s"
    place.job("waiting")
    place.enroll()
    daemon = place.ready()
    place.entered("waiting")
    assert (daemon.stop(), place.states()) == (0, ["interrupted"])
    assert daemon.lines("runs were left behind; they start again first")[0]["count"] == 1


def test_second_stop_does_not_wait_for_the_deadline(place):
    """Ten minutes were allowed; whoever asks twice means it."""
    place.options["drain_timeout"] = "10m"
    place.job("asking")
    place.enroll()
    daemon = place.ready()
    place.entered("asking")
    daemon.send(signal.SIGTERM)
    daemon.says("draining")
    daemon.send(signal.SIGTERM)
    assert (daemon.end(), place.states()) == (0, ["interrupted"])


def test_interrupted_run_starts_again_first_after_the_restart(place, until):
    """Before the accounts that have been due for longer."""
    place.options |= {"drain_timeout": "1s", "concurrency": 1}
    place.job("waiting")
    place.enroll("a-first")
    daemon = place.ready()
    place.entered("waiting", "a-first")
    place.enroll("b-second")
    daemon.stop()
    place.go()
    place.ready()
    until(lambda: place.states() == ["interrupted", "succeeded", "succeeded"])
    again = sorted(place.runs()[1:], key=lambda run: run.started_at)
    assert [(run.account, run.trigger) for run in again] == [("a-first", "interrupted"), ("b-second", "first")]


def test_stop_in_a_wait_that_the_api_asked_for_is_prompt_and_keeps_the_wait(place, sandbox, until):
    """The run is interrupted at once, and starts again only when the API wants to hear of us."""
    place.job("events")
    account = place.enroll()
    sandbox.fault("api", "http_429", retry_after="60")
    began = place.wiring.clock.now()
    daemon = place.ready()
    until(lambda: place.states() == ["running"] and sandbox.stats()["planned_faults"] == [])
    assert (daemon.stop(), place.states()) == (0, ["interrupted"])
    assert place.wiring.store.schedule.entry("events", account.id).next_due > began + 50


def test_daemon_leaves_no_trace_that_blocks_the_next(place):
    """Stopped and started three times."""
    place.job("quick")
    for _ in range(3):
        assert place.ready().stop() == 0
