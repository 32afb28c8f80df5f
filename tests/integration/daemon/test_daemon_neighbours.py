"""Commands beside the daemon: the doorbell, and never two runs of one job and account."""

from __future__ import annotations

import json
import subprocess

from worker.states import RunState


def test_new_account_is_picked_up_by_the_doorbell(place, until):
    """Enrolled by a command, it runs at once."""
    place.job("quick")
    place.wiring.store.accounts.list()
    place.ready()
    token = place.sandbox.grant("globex", ["read", "all_claims", "offline_access"])["refresh_token"]
    enrolled = place.command("enroll", "books", "globex", "--import-token", given=f"{token}\n")
    until(lambda: place.states() == ["succeeded"])
    assert (enrolled.returncode, place.runs()[0].account) == (0, "globex")


def test_resumed_account_catches_up_at_once(place, until):
    """The command rings."""
    place.job("quick")
    account = place.enroll()
    place.wiring.store.accounts.pause(account, place.wiring.clock.now(), "")
    place.ready()
    until(lambda: place.states() == ["skipped"])
    resumed = place.command("accounts", "resume", "books", "acme")
    until(lambda: place.states() == ["skipped", "succeeded"])
    assert resumed.returncode == 0


def test_command_does_not_run_beside_the_daemon(place):
    """The same job and account: it says that it is running already."""
    place.job("waiting")
    place.enroll()
    place.ready()
    place.entered("waiting")
    ended = place.command("jobs", "run", "waiting", "--json")
    assert ended.returncode == 75
    assert json.loads(ended.stdout)[0]["error"] == "it is running already"
    assert place.states() == ["running"]


def test_daemon_does_not_run_beside_a_command(place, until):
    """The firing waits for the run by hand to end."""
    place.job("waiting", every="1s")
    place.enroll()
    line = place.line("jobs", "run", "waiting", "--json")
    with subprocess.Popen(line, cwd=place.folder, env=place.environment, stdout=subprocess.PIPE) as command:
        place.entered("waiting")
        daemon = place.ready()
        until(lambda: place.wiring.store.schedule.earliest() is None)
        beside = place.states()
        place.go()
        by_hand = json.loads(command.communicate(timeout=90)[0])
    until(lambda: len(place.states()) > 1)
    daemon.stop()
    assert (beside, by_hand[0]["state"]) == (["running"], "succeeded")
    assert [run.trigger for run in place.runs()][:2] == ["manual", "schedule"]


def test_killed_command_is_followed_by_another(place):
    """No daemon is there to clean up: the next run by hand sees that its lock is free."""
    place.job("waiting", every=None)
    place.enroll()
    with subprocess.Popen(place.line("jobs", "run", "waiting"), cwd=place.folder, env=place.environment) as command:
        place.entered("waiting")
        command.kill()
    place.go()
    ended = place.command("jobs", "run", "waiting")
    assert (ended.returncode, place.states()) == (0, ["interrupted", "succeeded"])


def test_removed_accounts_run_ends_without_harm(place, until):
    """The account goes while its job runs; the daemon works on for the others."""
    place.job("waiting")
    place.enroll()
    daemon = place.ready()
    place.entered("waiting")
    place.wiring.store.accounts.remove(place.wiring.store.accounts.get("books", "acme"))
    place.go()
    token = place.sandbox.grant("globex", ["read", "all_claims", "offline_access"])["refresh_token"]
    place.command("enroll", "books", "globex", "--import-token", given=f"{token}\n")
    until(lambda: [run.state for run in place.runs()] == [RunState.SUCCEEDED])
    assert daemon.process.poll() is None
    assert "died" not in daemon.text
