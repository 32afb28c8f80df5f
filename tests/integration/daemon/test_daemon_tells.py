"""Who tells people: the daemon, a command that runs alone, `worker notify` by hand."""

from __future__ import annotations

import json
import signal

import pytest

ROUTE = '\n[[notify]]\nname = "pager"\ncommand = ["sh", "-c", "cat >> told.jsonl"]\n'


@pytest.fixture
def routed(place):
    """A place with a route: a command that notes what it gets."""
    place.job("asking", "1h", retries=0)
    place.enroll()
    add_route(place, ROUTE)
    return place


def add_route(place, text):
    with (place.folder / "config.toml").open("a") as file:
        file.write(text)


def told(place):
    """The types of the messages that were taken."""
    path = place.folder / "told.jsonl"
    return [json.loads(line)["type"] for line in path.read_text().splitlines()] if path.exists() else []


def revoke(place):
    """The provider ends the grant, and the job meets it."""
    place.sandbox.revoke("acme")


def test_daemon_tells_of_a_dead_grant(routed, until):
    """As soon as a run has found out."""
    revoke(routed)
    daemon = routed.ready()
    until(lambda: told(routed) == ["needs_consent"], "the message")
    assert daemon.says("people were told")["route"] == "pager"
    assert daemon.stop() == 0


def test_daemon_tells_what_a_dead_one_left_in_the_outbox(routed, until):
    """SIGKILL between the flag and the telling: the outbox still has it."""
    revoke(routed)
    config = routed.folder / "config.toml"
    text = config.read_text()
    config.write_text(text.replace('"cat >> told.jsonl"', '"sleep 60"'))
    routed.ready().says("account needs consent")
    routed.close()
    config.write_text(text)
    routed.ready()
    until(lambda: told(routed) == ["needs_consent"], "the message")


def test_once_tells_before_it_ends(routed):
    """There is no daemon that would."""
    revoke(routed)
    routed.command("once")
    assert told(routed) == ["needs_consent"]


def test_route_that_is_added_takes_part_after_a_reload(place, until):
    """SIGHUP is enough."""
    place.job("asking", "1s", retries=0)
    place.enroll()
    daemon = place.ready()
    add_route(place, ROUTE)
    daemon.send(signal.SIGHUP)
    daemon.says("configuration read anew")
    revoke(place)
    until(lambda: told(place) == ["needs_consent"], "the message")


def test_notify_test_shows_which_route_took_it(routed):
    """Exit code 1 if one did not."""
    assert routed.command("notify", "test").returncode == 0
    assert told(routed) == ["test"]
    add_route(routed, '\n[[notify]]\nname = "broken"\ncommand = ["sh", "-c", "echo no network >&2; exit 7"]\n')
    done = routed.command("--json", "notify", "test")
    assert done.returncode == 1
    assert json.loads(done.stdout) == [
        {"route": "pager", "taken": True, "error": None},
        {"route": "broken", "taken": False, "error": "'sh' failed with exit code 7: \"no network\""},
    ]


def test_status_and_list_show_a_route_that_fails(routed):
    """Until it takes what waits."""
    config = routed.folder / "config.toml"
    config.write_text(config.read_text().replace('"cat >> told.jsonl"', '"exit 7"'))
    revoke(routed)
    routed.command("once")
    (route,) = json.loads(routed.command("--json", "status").stdout)["routes"]
    assert (route["route"], route["waiting"], route["attempts"]) == ("pager", 1, 1)
    assert "pager has not taken 1" in routed.command("status").stdout
    (one,) = json.loads(routed.command("--json", "notify", "list").stdout)
    assert (one["event"], one["account"]) == ("needs_consent", "acme")
    assert one["routes"][0]["last_error"] == "'sh' failed with exit code 7"


def test_signing_secret_is_kept_and_never_shown(routed):
    """It goes in on standard input, and signs."""
    add_route(routed, '\n[[notify]]\nname = "hook"\nwebhook = "http://127.0.0.1:9/"\n')
    before = routed.command("notify", "test", "--route", "hook")
    assert "has no secret to sign with" in before.stdout
    done = routed.command("notify", "secret", "hook", given="topsecret-signing\n")
    assert (done.returncode, done.stdout) == (0, "hook: secret stored\n")
    after = routed.command("notify", "test", "--route", "hook")
    assert "no answer: ConnectionError" in after.stdout
    assert "topsecret" not in after.stdout + after.stderr


def test_unknown_route_is_refused_with_those_there_are(routed):
    """By name."""
    done = routed.command("notify", "test", "--route", "elsewhere")
    assert done.returncode == 2
    assert "configured: pager" in done.stderr
