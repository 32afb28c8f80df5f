"""A store that is deleted, replaced or damaged under a running daemon: people are told, and a probe sees it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUTE = '\n[[notify]]\nname = "pager"\ncommand = ["sh", "-c", "cat >> told.jsonl"]\n'


@pytest.fixture
def routed(place):
    """A place with an account and a route: a command that notes what it gets."""
    place.enroll()
    with (place.folder / "config.toml").open("a") as file:
        file.write(ROUTE)
    return place


def told(place) -> list[dict[str, Any]]:
    """The messages that were taken."""
    path = place.folder / "told.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def types(place) -> list[str]:
    return [message["type"] for message in told(place)]


def alive(place) -> tuple[int, dict[str, Any]]:
    ended = place.command("--json", "status", "--alive")
    return ended.returncode, json.loads(ended.stdout)


def delete(database: Path) -> None:
    database.unlink()


def replace(database: Path) -> None:
    other = database.with_name("other.db")
    other.touch(0o600)
    other.replace(database)


@pytest.mark.parametrize("spoil", [delete, replace])
def test_daemon_tells_that_its_database_was_taken_away_and_that_it_is_back(
    routed, until, spoil: Callable[[Path], None]
):
    """Once each, although nothing was to be written."""
    daemon = routed.ready()
    database = routed.wiring.store.database.path
    spoil(database)
    until(lambda: types(routed) == ["incident"], "the message")
    assert "while it was in use" in told(routed)[0]["data"]["text"]
    (saved,) = database.parent.glob("worker.db.rescued-*")
    saved.replace(database)
    until(lambda: types(routed) == ["incident", "recovered"], "the all-clear")
    assert daemon.stop() == 0


def damage(database: Path) -> None:
    """Random pages, in place: everything but the first."""
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(database.stat().st_size - 4096))


def test_daemon_tells_that_its_database_is_damaged_and_the_next_one_that_it_was_restored(routed, until):
    """What is in its cache is no proof of the file. The all-clear outlives the restart that a restore takes."""
    daemon = routed.ready()
    database = routed.wiring.store.database.path
    backup = routed.folder / "backup.db"
    assert routed.command("store", "backup", str(backup)).returncode == 0
    damage(database)
    until(lambda: types(routed) == ["incident"], "the message")
    assert alive(routed)[0] == 1
    daemon.stop()
    assert types(routed) == ["incident"]
    routed.wiring.store.close()
    assert routed.command("store", "restore", "--yes", str(backup)).returncode == 0
    again = routed.ready()
    until(lambda: "recovered" in types(routed), "the all-clear")
    assert types(routed).count("incident") == 1
    assert again.stop() == 0


def test_daemon_tells_of_its_store_once_although_its_routes_are_read_anew(routed, until):
    """SIGHUP in the middle of it."""
    daemon = routed.ready()
    database = routed.wiring.store.database.path
    database.unlink()
    until(lambda: types(routed) == ["incident"], "the message")
    daemon.send(signal.SIGHUP)
    daemon.says("configuration read anew")
    (saved,) = database.parent.glob("worker.db.rescued-*")
    saved.replace(database)
    until(lambda: "recovered" in types(routed), "the all-clear")
    assert types(routed) == ["incident", "recovered"]
    assert daemon.stop() == 0


def test_probe_sees_a_store_that_is_gone_and_one_that_is_back(routed, until):
    """At the next beat, with what is the matter."""
    daemon = routed.ready()
    until(lambda: alive(routed)[0] == 0, "a beat")
    database = routed.wiring.store.database.path
    copy = shutil.copy2(database, database.with_name("copy.db"))
    database.unlink()
    until(lambda: alive(routed)[0] == 1, "the fault")
    assert "was deleted while it was in use" in alive(routed)[1]["fault"]
    copy.replace(database)
    until(lambda: alive(routed)[0] == 0, "a beat")
    assert daemon.stop() == 0


def test_webhook_whose_secret_lies_in_the_store_is_told_that_the_store_is_gone(routed, until):
    """Signed with the secret as it was read before."""
    sent: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sent.append(f"{body['type']} {self.headers['webhook-signature'][:3]}")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with (routed.folder / "config.toml").open("a") as file:
        file.write(f'\n[[notify]]\nname = "hook"\nwebhook = "http://127.0.0.1:{server.server_port}/"\n')
    assert routed.command("notify", "secret", "hook", given="a-signing-secret\n").returncode == 0
    daemon = routed.ready()
    until(lambda: alive(routed)[0] == 0, "a beat")
    routed.wiring.store.database.path.unlink()
    until(lambda: sent == ["incident v1,"], "the message")
    daemon.kill()
    server.shutdown()
    server.server_close()
