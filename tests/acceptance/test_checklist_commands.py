"""What an OAuth client owes to those who trust it: the lines of the checklist that the installed command must keep.

The other lines: tests/integration/accounts/test_client_checklist.py.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest
from servers import Sandbox
from workplace import COMMAND, PATIENCE, make_workplace

from worker.sandbox import give_consent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workplace import Workplace

#: Stands in for the desktop's browser, in a process of its own: consents, and goes where it is sent.
BROWSER = """
import sys, urllib.request
from worker.sandbox import give_consent
urllib.request.urlopen(give_consent(sys.argv[1], "alice"), timeout=30).read()
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(access_ttl=3600) as server:
        yield server


@pytest.fixture
def place(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    """A working folder with the sandbox as its integration."""
    made = make_workplace(tmp_path)
    made.configure(sandbox.integration().replace('redirect_uri = "http://127.0.0.1:8765/callback"', ""))
    made("secrets", "set", "api", given=f"{sandbox.client.secret}\n")
    return made


def loopback(place: Workplace, *options: str) -> tuple[str, subprocess.Popen[str]]:
    """`enroll --loopback` under way, and the address to open."""
    process = subprocess.Popen(
        [COMMAND, "enroll", "api", "acme", "--loopback", *options],
        cwd=place.folder, env=place.environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    return process.stdout.readline().strip(), process


def port_of(url: str) -> int:
    """Where the answer will be taken."""
    return int(urlsplit(dict(parse_qsl(urlsplit(url).query))["redirect_uri"]).port or 0)


@pytest.mark.parametrize("way", ["answered", "timed out"])
def test_line_10_port_is_open_only_during_the_enrolment(place: Workplace, way: str) -> None:
    """RFC 8252 section 8.3: closed after the answer, and after waiting in vain."""
    url, process = loopback(place, "--no-browser", "--timeout", "60" if way == "answered" else "2")
    with process:
        if way == "answered":
            socket.create_connection(("127.0.0.1", port_of(url)), timeout=10).close()
            subprocess.run([sys.executable, "-c", BROWSER, url], check=True, timeout=PATIENCE)
        assert process.wait(PATIENCE) == (0 if way == "answered" else 1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(url)), timeout=10)


def test_line_11_consent_is_given_in_the_persons_own_browser(place: Workplace, tmp_path: Path) -> None:
    """RFC 8252 section 8.12: the address is handed to the browser that the desktop names; we show no page of theirs."""
    script = tmp_path / "browser.py"
    script.write_text(BROWSER)
    place.environ["BROWSER"] = f"{sys.executable} {script} %s"
    _, process = loopback(place)
    with process:
        assert process.wait(PATIENCE) == 0, process.stderr.read() if process.stderr else ""
    assert place.account("acme")["subject"] == "alice"


@pytest.mark.parametrize("option", ["--device", "--link"])
def test_line_26_device_flow_is_not_offered_and_the_command_refuses_it(place: Workplace, option: str) -> None:
    """RFC 8628 is not built, nor the link: an unknown option, exit code 2, and nothing is stored."""
    done = place("enroll", "api", "acme", option, expect=2)
    assert "No such option" in done.err
    assert option in done.err
    assert "Traceback" not in done.err
    assert place("accounts", "list", "--json").json == []


def test_line_27_no_device_code_is_asked_for(place: Workplace) -> None:
    """RFC 8628 section 5: what is not asked for cannot be shown. No way of enrolling mentions one."""
    help_text = place("enroll", "--help").out
    assert "--paste" in help_text
    assert "device" not in help_text.lower()


def test_line_29_removal_revokes_first_and_reports_its_failure(place: Workplace, sandbox: Sandbox) -> None:
    """An account whose grant could not be given back stays, and the command says why and how to go on."""
    place.paste("acme", lambda url: give_consent(url, "alice"))
    sandbox.__exit__(None, None, None)
    done = place("accounts", "remove", "api", "acme", "--yes", expect=75)
    assert "still valid" in done.err
    assert place.account("acme")["state"] == "active"


def test_line_30_no_secret_shows_in_anything_the_command_says(place: Workplace, sandbox: Sandbox) -> None:
    """Neither code nor tokens nor client secret, in success and in failure, in output, logs and timeline."""
    seen: list[str] = []

    def consent(url: str) -> str:
        back = give_consent(url, "alice")
        parameters = dict(parse_qsl(urlsplit(back).query))
        seen.extend([parameters["code"], parameters["state"]])
        return back

    done = place.paste("acme", consent)
    told = [done.out.replace(done.out.splitlines()[0], ""), done.err]
    told += [place("--log-level", "debug", "accounts", "why", "api", "acme", expect=None).out]
    again = place.paste("acme", lambda url: consent(url).replace("code=", "code=x"), expect=1)
    told += [again.out.replace(again.out.splitlines()[0], ""), again.err]
    everything = "\n".join(told)
    assert not [secret for secret in (*seen, sandbox.client.secret) if secret in everything]
