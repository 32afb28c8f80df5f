"""Beside the daemon: commands, and another daemon by mistake. Never two runs of one job and account."""

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


def test_second_daemon_is_refused_and_told_of_the_first(either):
    """Two by mistake: the one that runs is named, and goes on."""
    first = either.ready()
    second = either.daemon()
    assert second.end() == 78
    assert "another daemon uses this store already" in second.text
    assert f"process {first.process.pid} on" in second.text
    assert first.stop() == 0


def test_next_daemon_follows_one_that_was_killed(either):
    """Its lock died with it."""
    either.ready().kill()
    assert either.ready().stop() == 0


def test_command_does_not_run_beside_the_daemon(either):
    """The same job and account: it says that it is running already."""
    either.job("waiting")
    either.enroll()
    either.ready()
    either.entered("waiting")
    ended = either.command("jobs", "run", "waiting", "--json")
    assert ended.returncode == 75
    assert json.loads(ended.stdout)[0]["error"] == "it is running already"
    assert either.states() == ["running"]


def test_daemon_does_not_run_beside_a_command(either, until):
    """The firing waits for the run by hand to end."""
    either.job("waiting", every="1s")
    either.enroll()
    line = either.line("jobs", "run", "waiting", "--json")
    with subprocess.Popen(line, cwd=either.folder, env=either.environment, stdout=subprocess.PIPE) as command:
        either.entered("waiting")
        daemon = either.ready()
        until(lambda: either.wiring.store.schedule.earliest() is None)
        beside = either.states()
        either.go()
        by_hand = json.loads(command.communicate(timeout=90)[0])
    until(lambda: len(either.states()) > 1)
    daemon.stop()
    assert (beside, by_hand[0]["state"]) == (["running"], "succeeded")
    assert [run.trigger for run in either.runs()][:2] == ["manual", "schedule"]


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
