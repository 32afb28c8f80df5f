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


def test_reload_takes_up_a_higher_concurrency(place, until):
    """Two runs at once where there was one."""
    place.options["concurrency"] = 1
    place.job("waiting")
    place.enroll("acme")
    place.enroll("globex")
    daemon = place.ready()
    until(lambda: place.states("waiting") == ["running"])
    place.options["concurrency"] = 2
    place.write()
    daemon.send(signal.SIGHUP)
    until(lambda: place.states("waiting") == ["running"] * 2)


def test_reload_takes_up_the_log_settings(place, until):
    """Text where there was JSON, without a restart."""
    place.job("quick", every="1s")
    place.enroll()
    daemon = place.ready()
    place.options["log_format"] = "text"
    place.write()
    daemon.send(signal.SIGHUP)
    until(lambda: any("run succeeded" in line and not line.startswith("{") for line in daemon.text.splitlines()))


def test_reload_takes_up_the_drain_timeout(place):
    """A minute became nothing: the run that hangs is left behind at once."""
    place.job("waiting")
    place.enroll()
    daemon = place.ready()
    place.entered("waiting")
    place.options["drain_timeout"] = "1s"
    place.write()
    daemon.send(signal.SIGHUP)
    daemon.says(RELOADED)
    assert daemon.stop() == 0
    assert daemon.says("draining")["deadline"] == 1.0


def test_reload_a_hundred_times_in_a_row_loses_no_run(place, until):
    """Signals that come faster than they can be followed are one."""
    place.job("quick", every="1s")
    place.job("waiting")
    place.enroll()
    daemon = place.ready()
    place.entered("waiting")
    for _ in range(100):
        daemon.send(signal.SIGHUP)
    before = len(place.runs("quick"))
    until(lambda: len(place.runs("quick")) > before + 2)
    place.go()
    until(lambda: place.states("waiting") == ["succeeded"])
    assert set(place.states()) <= {"succeeded", "running"}
    assert daemon.stop() == 0


def test_reload_during_a_drain_does_not_disturb_it(place):
    """It ends as it was going to."""
    place.job("waiting")
    place.enroll()
    daemon = place.ready()
    place.entered("waiting")
    daemon.send(signal.SIGTERM)
    daemon.says("draining")
    daemon.send(signal.SIGHUP)
    place.go()
    assert (daemon.end(), place.states("waiting")) == (0, ["succeeded"])


def test_reload_without_the_integration_lets_a_refresh_under_way_end(place, sandbox, until):
    """Its answer holds the only copy of the new tokens: it is stored, whatever the configuration says by then."""
    place.job("events")
    account = place.enroll()
    daemon = place.ready()
    until(lambda: place.states("events") == ["succeeded"])
    sandbox.set(token_delay=2.0)
    sandbox.expire()
    place.command("jobs", "list")
    generation = place.wiring.store.grants.read(account.id).generation
    place.job("events", every="1s")
    daemon.send(signal.SIGHUP)
    until(lambda: place.wiring.store.grants.open_intents() == [account.id])
    (place.folder / "config.toml").write_text('[worker]\nlog_format = "json"\n[keyring]\nfile = "worker.key"\n')
    daemon.send(signal.SIGHUP)
    until(lambda: place.wiring.store.grants.read(account.id).generation == generation + 1)
    sandbox.set(token_delay=0.0)
    assert daemon.process.poll() is None
