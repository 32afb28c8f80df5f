"""The sandbox as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
import requests

from worker.sandbox import SandboxControl, give_consent


@contextmanager
def running(*options, stdin=None):
    command = [sys.executable, "-m", "worker.sandbox", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=stdin, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def ready(process):
    word, _, document = process.stdout.readline().partition(" ")
    assert word == "READY", process.stderr.read()
    return json.loads(document)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_serves_and_stops_on_a_signal(number):
    """READY with addresses on one line; control works from here; a signal ends it with 0 and no noise."""
    with running("--rows", "5", "--access-ttl", "7", "--set", "grace=3") as process:
        addresses = ready(process)
        control = SandboxControl(addresses["base_url"], addresses["control_token"])
        settings = control.settings()
        assert (settings["access_ttl"], settings["grace"], control.stats()["rows"]["events"]) == (7, 3, 5)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")


def test_process_ends_with_its_parent():
    """--with-parent stops when standard input closes."""
    with running("--with-parent", stdin=subprocess.PIPE) as process:
        ready(process)
        process.stdin.close()
        assert process.wait(timeout=20) == 0


def test_wrong_setting_is_a_usage_error():
    """The message names the setting."""
    with running("--set", "colour=1") as process:
        _, err = process.communicate(timeout=20)
        assert process.returncode == 2
        assert "unknown setting 'colour'" in err


def test_taken_port_is_told():
    """A second sandbox on the same port fails with the reason."""
    with running() as first:
        port = ready(first)["base_url"].rpartition(":")[2]
        with running("--port", port) as second:
            _, err = second.communicate(timeout=20)
            assert second.returncode == 2
            assert "Address already in use" in err


def test_consent_is_given_to_another_process():
    """The consent helper needs the address alone, and no listener at the redirect URI."""
    with running("--set", "pkce_required=false") as process:
        addresses = ready(process)
        url = requests.Request(
            "GET",
            addresses["authorize_url"],
            params={
                "client_id": addresses["client_id"],
                "redirect_uri": "http://127.0.0.1:8765/callback",
                "response_type": "code",
                "scope": "openid",
            },
        ).prepare()
        assert give_consent(url.url, "alice").startswith("http://127.0.0.1:8765/callback?code=")
