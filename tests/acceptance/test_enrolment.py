"""`worker enroll` against the sandbox: what may go wrong, what is said then, and that nothing is changed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import pytest
import requests
from servers import Sandbox
from workplace import COMMAND, REDIRECT_URI, make_workplace

from worker.sandbox import give_consent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workplace import Workplace


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One for all tests in here that do not change its settings; each has users of its own."""
    with Sandbox(access_ttl=3600) as server:
        yield server


@pytest.fixture(scope="module")
def prepared(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A working folder with the sandbox as its integration."""
    made = make_workplace(tmp_path_factory.mktemp("enrolment"))
    made.configure(sandbox.integration())
    made("secrets", "set", "api", given=f"{sandbox.client.secret}\n")
    return made


@pytest.fixture
def place(prepared: Workplace, tmp_path: Path) -> Workplace:
    """A copy of it, to enrol in."""
    return prepared.copy(tmp_path)


def refuse(url: str) -> str:
    """Somebody says no."""
    return give_consent(url, "anybody", allow=False)


def forge(url: str) -> str:
    """An answer to a question that was never asked."""
    return f"{REDIRECT_URI}?{urlencode({'code': 'c' * 32, 'state': 'of-somebody-else'})}"


def elsewhere(url: str) -> str:
    """The answer on another address than the one that was asked for."""
    return give_consent(url, "anybody").replace("/callback", "/other")


def garble(url: str) -> str:
    """Not an address."""
    return "what was I to paste?"


def nothing(url: str) -> str:
    """An empty line."""
    return ""


FAULTS = {
    "refused": (refuse, "access_denied"),
    "forged": (forge, "state"),
    "elsewhere": (elsewhere, "redirect"),
    "garbled": (garble, "paste"),
    "nothing": (nothing, "nothing was pasted"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_enrolment_that_fails_stores_nothing(place: Workplace, name: str) -> None:
    """Exit code 1, a message that names the fault, and no account."""
    consent, word = FAULTS[name]
    done = place.paste("acme", consent, expect=1)
    assert word in done.err.lower()
    assert place("accounts", "list", "--json").json == []


def test_enrolment_that_fails_leaves_an_existing_grant_alone(place: Workplace) -> None:
    """A consent that was refused in place changes nothing at all."""
    place.paste("acme", lambda url: give_consent(url, "hugo"))
    before = place.account("acme")
    place.paste("acme", refuse, expect=1)
    assert place.account("acme") == before


def test_enrolment_with_an_expired_code_says_so(workplace: Workplace) -> None:
    """The provider refuses the code: exit code 1, and the hint to be quicker."""
    with Sandbox(code_ttl=0) as sandbox:
        workplace.configure(sandbox.integration())
        workplace("secrets", "set", "api", given=f"{sandbox.client.secret}\n")
        done = workplace.paste("acme", lambda url: give_consent(url, "ida"), expect=1)
    assert "refuses the authorization code" in done.err


@pytest.mark.parametrize("way", ["--paste", "--loopback"])
def test_enrolment_ends_when_nobody_answers(place: Workplace, way: str) -> None:
    """A closed browser, an operator who has gone home: exit code 1 when the time is over."""
    line = [COMMAND, "enroll", "api", "acme", way, "--timeout", "1"]
    line += ["--no-browser"] if way == "--loopback" else []
    with subprocess.Popen(
        line,
        cwd=place.folder,
        env=place.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert "within 1 s" in process.stderr.read()


def test_enrolment_by_somebody_else_is_refused(place: Workplace) -> None:
    """The account belongs to who consented first; another person is not taken by accident."""
    place.paste("acme", lambda url: give_consent(url, "jane"))
    done = place.paste("acme", lambda url: give_consent(url, "karl"), expect=1)
    assert "belongs to jane" in done.err.lower()
    assert place.account("acme")["subject"] == "jane"


def test_enrolment_by_somebody_else_can_be_asked_for(place: Workplace) -> None:
    """With --replace-identity the account changes hands."""
    place.paste("acme", lambda url: give_consent(url, "lena"))
    place.paste("acme", lambda url: give_consent(url, "mia"), "--replace-identity")
    assert place.account("acme")["subject"] == "mia"


def test_enrolment_shows_the_scopes_that_were_not_granted(place: Workplace) -> None:
    """A person may leave scopes out: that is no error, and is said."""
    done = place.paste("acme", lambda url: give_consent(url, "nick", refuse=["read", "all_claims"]))
    assert "Not granted: read all_claims" in done.err
    assert place.account("acme")["scopes"] == ["openid", "profile", "offline_access"]


def test_enrolment_with_a_wrong_client_secret_is_a_configuration_fault(place: Workplace) -> None:
    """Exit code 78: no human can mend this by consenting."""
    place("secrets", "set", "api", given="not the secret\n")
    place.paste("acme", lambda url: give_consent(url, "olga"), expect=78)


def test_enrolment_without_a_client_secret_asks_for_it_before_the_human(workplace: Workplace, sandbox: Sandbox) -> None:
    """Found before anybody has taken the trouble to consent; the hint is the command to type."""
    workplace.configure(sandbox.integration())
    done = workplace("enroll", "api", "acme", "--paste", expect=78)
    assert (done.out, "Try: worker secrets set api client_secret" in done.err) == ("", True)


def test_loopback_takes_one_answer_and_refuses_what_is_none(place: Workplace) -> None:
    """The listener answers 404 to a scanner, and finishes with the browser's answer."""
    port = unused_port()
    path = place.folder / "config.toml"
    path.write_text(path.read_text().replace(REDIRECT_URI, f"http://127.0.0.1:{port}/callback"))

    def at_the_browser(url: str) -> str:
        back = give_consent(url, "paul")
        with requests.Session() as browser:
            browser.trust_env = False
            stray = browser.get(f"http://127.0.0.1:{port}/favicon.ico", timeout=30)
            last = browser.get(back, timeout=30)
        assert (stray.status_code, last.status_code) == (404, 200)
        assert urlsplit(last.url).path == "/callback"
        return ""

    done = by_loopback(place, at_the_browser)
    assert done == 0
    assert place.account("acme")["subject"] == "paul"


def by_loopback(place: Workplace, visit: Callable[[str], str]) -> int:
    """Enrol with --loopback, and play the browser."""
    with subprocess.Popen(
        [COMMAND, "enroll", "api", "acme", "--loopback", "--no-browser"],
        cwd=place.folder,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            visit(process.stdout.readline().strip())
        except BaseException:
            process.kill()
            raise
        return process.wait(60)


def unused_port() -> int:
    """A port that is free now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_import_token_spends_the_token_once_to_prove_it(place: Workplace, sandbox: Sandbox) -> None:
    """Taking over from another tool costs one refresh; the successor is what is kept."""
    token = sandbox.control.grant("quin")["refresh_token"]
    place("enroll", "api", "acme", "--import-token", given=f"{token}\n")
    assert (place.account("acme")["subject"], sandbox.refreshes("quin")) == ("quin", 1)


def test_import_token_that_is_dead_stores_nothing(place: Workplace, sandbox: Sandbox) -> None:
    """Exit code 1, and no account."""
    token = sandbox.control.grant("rosa")["refresh_token"]
    sandbox.revoke("rosa")
    done = place("enroll", "api", "acme", "--import-token", given=f"{token}\n", expect=1)
    assert "refuses the refresh token" in done.err
    assert place("accounts", "list", "--json").json == []
