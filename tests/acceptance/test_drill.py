"""`worker drill`: the installed command, with routes of an operator, against receivers that look closely."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

WORKER = str(Path(sys.executable).with_name("worker"))
#: Seconds; a drill takes up to half a minute on an idle machine.
LIMIT = 280
KEY = b"0123456789abcdef0123456789abcdef"
#: Fault -> what people hear of it, on every route.
TOLD = {
    "revoke": ["needs_consent", "recovered"],
    "rotate-crash": ["needs_consent", "recovered"],
    "timeout": ["needs_consent", "recovered"],
    "403": ["needs_consent", "recovered"],
    "429": [],
    "disk-full": ["incident", "recovered"],
}
CONFIG = """
[keyring]
file = "worker.key"
[[notify]]
name = "pager"
command = ["./page", "told.jsonl"]
[[notify]]
name = "hook"
webhook = "{url}"
secret_file = "hook.secret"
integrations = ["arlo"]
mark = "[test]"
[integrations.arlo]
preset = "arlo"
platform = "acme"
client_id = "x"
"""


class Receiver:
    """Takes webhooks, and looks at their signatures as docs/notifications.md says."""

    def __init__(self):
        self.verified, self.refused = [], []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
                wanted = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
                good = hmac.compare_digest(f"v1,{wanted}", self.headers["webhook-signature"] or "")
                (receiver.verified if good else receiver.refused).append(json.loads(body))
                self.send_response(204 if good else 401)
                self.end_headers()

            def log_message(self, *_words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def receiver():
    """One receiver."""
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def office(tmp_path, receiver):
    """An operator's folder: a config with two routes, a command that notes what it gets, a secret."""
    folder = tmp_path / "office"
    folder.mkdir()
    (tmp_path / "temporary").mkdir()
    (folder / "config.toml").write_text(CONFIG.format(url=receiver.url))
    (folder / "jobs").mkdir()
    page(folder, 'cat >> "$1"')
    secret = folder / "hook.secret"
    secret.write_text(f"whsec_{base64.b64encode(KEY).decode()}\n")
    secret.chmod(0o600)
    return folder


def page(folder, script):
    """What the operator's command does."""
    (folder / "page").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "page").chmod(0o700)


def start(folder, *words, **streams):
    environ = {**os.environ, "TMPDIR": str(folder.parent / "temporary"), "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen([WORKER, "drill", *words], cwd=folder, env=environ, text=True, **streams)


def run(folder, *words):
    process = start(folder, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise
    return process.returncode, out, err


def left_behind(folder):
    return list((folder.parent / "temporary").iterdir())


@pytest.mark.parametrize("fault", TOLD)
def test_drill_is_detected_told_and_recovered_from(office, receiver, fault):
    """Exit code 0, the times, and the same news on both routes, marked and signed."""
    code, out, err = run(office, fault, "--json")
    document = json.loads(out)
    assert (code, document["ok"], document["built_in_receiver"]) == (0, True, False), err
    (drill,) = document["drills"]
    assert (drill["fault"], drill["failed_step"]) == (fault, None)
    assert drill["detected_seconds"] > 0
    assert drill["recovered_seconds"] >= 0
    assert set(drill["told_seconds"]) == ({"pager", "hook"} if TOLD[fault] else set())
    told = office / "told.jsonl"
    paged = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
    assert [one["type"] for one in paged] == TOLD[fault]
    assert [one["type"] for one in receiver.verified] == TOLD[fault]
    assert receiver.refused == []
    assert all(one["data"]["title"].startswith("[drill] ") for one in paged)
    assert all(one["data"]["title"].startswith("[drill] [test] ") for one in receiver.verified)
    assert left_behind(office) == []
    assert not (office / "state").exists()


def test_drill_fails_at_a_route_that_takes_nothing(office):
    """The step is named, the folder stays, the exit code is 1."""
    page(office, "echo the pager is broken >&2; exit 1")
    code, out, _err = run(office, "revoke", "--json", "--limit", "15")
    (drill,) = json.loads(out)["drills"]
    assert (code, drill["failed_step"]) == (1, "tell")
    assert "pager has taken needs_consent" in drill["error"]
    assert left_behind(office) == [Path(drill["folder"])]


def test_drill_fails_when_the_worker_does_not_recover(office):
    """A daemon that stands still makes nothing up, and the drill says so."""
    process = start(office, "revoke", "--json", "--limit", "12", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    number = 0
    for line in process.stderr:
        found = re.search(r"the daemon works \(process (\d+)\)", line)
        number = int(found[1]) if found else number
        if "hook has taken needs_consent" in line:
            os.kill(number, signal.SIGSTOP)
            break
    out, _err = process.communicate(timeout=LIMIT)
    (drill,) = json.loads(out)["drills"]
    assert (process.returncode, drill["failed_step"]) == (1, "recover")
    assert drill["recovered_seconds"] is None


def test_drill_without_routes_uses_a_receiver_of_its_own(tmp_path):
    """And says so."""
    (tmp_path / "office").mkdir()
    (tmp_path / "temporary").mkdir()
    code, out, err = run(tmp_path / "office", "revoke", "--json")
    document = json.loads(out)
    assert (code, document["built_in_receiver"]) == (0, True), err
    assert "No notification routes are configured" in err


def test_interrupted_drill_leaves_nothing_behind(office):
    """Ctrl-C ends the daemon, the provider and the folder."""
    process = start(office, "revoke", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    numbers = []
    for line in process.stdout:
        numbers += re.findall(r"\(process (\d+)\)", line)
        if "is enrolled and copied" in line:
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert left_behind(office) == []
    assert numbers
    for number in numbers:
        with pytest.raises(ProcessLookupError):
            os.kill(int(number), 0)


def test_unknown_drill_is_refused(office):
    """With what there is."""
    code, _out, err = run(office, "earthquake")
    assert code == 2
    assert "revoke, rotate-crash, timeout, 403, 429, disk-full, all" in err


def test_list_names_every_drill(office):
    """For scripts, too."""
    code, out, _err = run(office, "--list", "--json")
    assert (code, [one["fault"] for one in json.loads(out)]) == (0, list(TOLD))
