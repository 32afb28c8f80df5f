"""SIGHUP: the configuration is read anew; a faulty one is reported and the old one goes on."""

from __future__ import annotations

import signal

import pytest

RELOADED = "configuration read anew"
REFUSED = "the new configuration has faults; the old one goes on"


def test_reload_takes_up_a_new_job(place, until):
    """It runs for the accounts that are there."""
    place.job("waiting", every=None)
    place.enroll()
    daemon = place.ready()
    place.job("quick")
    daemon.send(signal.SIGHUP)
    until(lambda: place.states("quick") == ["succeeded"])
    assert daemon.says(RELOADED)["jobs"] == 2


def test_reload_takes_up_new_code(place, until):
    """The job's file was mended."""
    place.job("failing", every="1s")
    place.enroll()
    daemon = place.ready()
    until(lambda: "failed" in place.states())
    place.add_job_file("test", "from worker import job\n\n@job\ndef failing(ctx):\n    '''Works now.'''\n")
    daemon.send(signal.SIGHUP)
    until(lambda: place.states()[-1] == "succeeded")


def test_reload_takes_a_job_off_the_schedule(place, until):
    """Its history stays."""
    place.job("quick")
    account = place.enroll()
    daemon = place.ready()
    until(lambda: place.states("quick") == ["succeeded"])
    del place.jobs["quick"]
    place.job("failing", every=None)
    daemon.send(signal.SIGHUP)
    until(lambda: place.wiring.store.schedule.entry("quick", account.id).next_due is None)
    assert place.states("quick") == ["succeeded"]


def test_reload_shortens_an_interval_at_once(place, until):
    """An hour becomes a second: nobody waits for the hour."""
    place.job("quick", every="1h")
    place.enroll()
    daemon = place.ready()
    until(lambda: place.states() == ["succeeded"])
    place.job("quick", every="1s")
    daemon.send(signal.SIGHUP)
    until(lambda: len(place.states()) > 2)


def test_reload_leaves_a_run_under_way_alone(place, until):
    """It ends under the configuration it began with."""
    place.job("waiting")
    place.enroll()
    daemon = place.ready()
    place.entered("waiting")
    del place.jobs["waiting"]
    place.job("quick")
    daemon.send(signal.SIGHUP)
    until(lambda: place.states("quick") == ["succeeded"])
    place.go()
    until(lambda: place.states("waiting") == ["succeeded"])


def break_syntax(place):
    (place.folder / "config.toml").write_text("[worker\n")


def break_option(place):
    place.options["timezoen"] = "UTC"
    place.write()


def take_away(place):
    (place.folder / "config.toml").unlink()


def break_job(place):
    place.add_job_file("test", "def quick(:\n")


def leave_in_job(place):
    place.add_job_file("test", "import sys\nsys.exit(3)\n")


def unknown_job(place):
    place.job("nowhere")


def other_state(place):
    place.options["state_dir"] = "elsewhere"
    place.write()


def binary(place):
    (place.folder / "config.toml").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    "spoil", [break_syntax, break_option, take_away, break_job, leave_in_job, unknown_job, other_state, binary]
)
def test_reload_of_something_faulty_changes_nothing(place, until, spoil):
    """The daemon says what is wrong and works on."""
    place.job("quick", every="1s")
    place.enroll()
    assert place.wiring  # reads the config while it is sound
    daemon = place.ready()
    spoil(place)
    daemon.send(signal.SIGHUP)
    daemon.says(REFUSED)
    before = len(place.runs())
    until(lambda: len(place.runs()) > before)
    assert daemon.process.poll() is None
