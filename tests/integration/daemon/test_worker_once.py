"""`worker once`: everything that is due, then exit; for cron, or a Kubernetes CronJob."""

from __future__ import annotations

import json
import signal
import subprocess

from worker.store.records import Finding


def once(place, *options):
    ended = place.command("--json", "once", *options)
    return ended.returncode, json.loads(ended.stdout)["runs"], ended.stderr


def test_once_runs_what_is_due_and_answers_0(place):
    """All jobs for all accounts."""
    place.job("quick")
    place.job("events")
    place.enroll("acme")
    place.enroll("globex")
    assert once(place)[:2] == (0, {"succeeded": 4})


def test_once_answers_0_when_nothing_is_due(place):
    """Run a second time."""
    place.job("quick")
    place.enroll()
    once(place)
    assert once(place)[:2] == (0, {})


def test_once_answers_1_when_a_run_failed(place):
    """The others run all the same."""
    place.job("quick")
    place.job("failing")
    place.enroll()
    assert once(place)[:2] == (1, {"failed": 1, "succeeded": 1})


def test_once_answers_1_when_a_run_will_be_tried_again(place, sandbox):
    """It does not wait for the retry: the next call makes it, when its time has come."""
    place.job("events")
    place.enroll()
    sandbox.fault("api", "http_500")
    assert once(place)[:2] == (1, {"retrying": 1})
    assert place.states() == ["retrying"]


def test_once_answers_3_when_an_account_needs_consent(place):
    """Nothing failed; somebody has to act."""
    place.job("quick")
    account = place.enroll()
    grant = place.wiring.store.grants.read(account.id)
    place.wiring.store.grants.flag(grant, Finding("revoked", "refused"), place.wiring.clock.now())
    place.enroll("globex")
    assert once(place)[:2] == (3, {"skipped": 1, "succeeded": 1})


def test_once_with_a_job_runs_that_one(place):
    """The others stay due, however many there are."""
    place.options["concurrency"] = 2
    place.job("quick")
    place.job("events")
    for number in range(8):
        place.enroll(f"acme-{number}")
    assert once(place, "--job", "quick")[:2] == (0, {"succeeded": 8})
    assert place.runs("events") == []


def test_once_runs_a_late_firing_although_catch_up_is_off(place):
    """Called by cron it is always late; it would never run at all."""
    place.job("quick", every="10m", catch_up=False)
    account = place.enroll()
    once(place)
    place.wiring.store.schedule.clamp("quick", {account.id: place.wiring.clock.now() - 300})
    assert once(place)[:2] == (0, {"succeeded": 1})


def test_once_takes_over_what_a_killed_one_left(place):
    """From its last checkpoint."""
    place.job("counting")
    place.enroll()
    with subprocess.Popen(place.line("once"), cwd=place.folder, env=place.environment) as first:
        place.entered("counting")
        first.kill()
    place.go()
    assert once(place)[:2] == (0, {"succeeded": 1})
    assert place.states() == ["interrupted", "succeeded"]


def test_once_lets_runs_finish_on_sigterm(place):
    """And says with 75 that there may be more to do."""
    place.job("waiting")
    place.enroll()
    with subprocess.Popen(
        place.line("--json", "once"), cwd=place.folder, env=place.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        place.entered("waiting")
        process.send_signal(signal.SIGTERM)
        place.go()
        out, _ = process.communicate(timeout=90)
    assert (process.returncode, json.loads(out)["runs"], place.states()) == (75, {"succeeded": 1}, ["succeeded"])


def test_once_names_a_job_that_does_not_exist(place):
    """A configuration fault, not an empty success."""
    place.job("quick")
    assert place.command("once", "--job", "nowhere").returncode == 78


def test_once_answers_0_although_another_jobs_account_needs_consent(place):
    """Only what this call has left out counts."""
    place.job("quick", accounts=["globex"])
    account = place.enroll("acme")
    grant = place.wiring.store.grants.read(account.id)
    place.wiring.store.grants.flag(grant, Finding("revoked", "refused"), place.wiring.clock.now())
    paused = place.enroll("globex")
    place.wiring.store.accounts.pause(paused, place.wiring.clock.now(), "")
    assert once(place)[:2] == (0, {"skipped": 1})
