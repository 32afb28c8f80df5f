"""The listener of one enrolment: 127.0.0.1, one answer, then closed."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import pytest
import requests
from account_house import at_once

from worker.accounts.enrolment import Choices
from worker.accounts.loopback import LoopbackListener
from worker.errors import EnrolmentFailed, Misconfigured
from worker.oauth.authorization import ExpectedCallback
from worker.sandbox import give_consent


def get(url: str) -> requests.Response:
    return requests.get(url, timeout=10)


@contextmanager
def waiting(redirect_uri=None):
    """A listener that expects the answer to an attempt with the state `s`."""
    with LoopbackListener(redirect_uri) as listener:
        listener.expect(ExpectedCallback(listener.redirect_uri, "s"))
        yield listener


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_listener_takes_a_free_port_on_127_0_0_1():
    """Never on all interfaces, never by name."""
    with waiting() as listener:
        assert listener.redirect_uri.startswith("http://127.0.0.1:")
        assert listener._server.server_address[0] == "127.0.0.1"


def test_listener_hands_over_the_whole_address():
    """As the browser had it."""
    with waiting() as listener:
        sent = f"{listener.redirect_uri}?code=a%20b&state=s"
        assert get(sent).status_code == 200
        assert listener.wait(5) == sent


@pytest.mark.parametrize("query", ["code=a&state=s", "error=access_denied&state=s"])
def test_listener_takes_a_code_or_an_error(query):
    """Both are answers."""
    with waiting() as listener:
        get(f"{listener.redirect_uri}?{query}")
        assert listener.wait(5).endswith(query)


def test_listener_serves_a_whole_enrolment(house):
    """With the provider's consent page and its redirect."""
    with waiting() as listener:
        attempt = house.enrolment.begin(house.client, "acme", listener.redirect_uri)
        listener.expect(attempt.expected)
        get(give_consent(attempt.url, "alice"))
        answer = listener.wait(5)
    assert house.enrolment.finish(attempt, answer, Choices()).label == "alice"


@pytest.mark.parametrize("path", ["/favicon.ico", "/", "/callback", "/other?code=a&state=s", "//x?code=a&state=s"])
def test_listener_ignores_what_is_no_answer(path):
    """A favicon, a scanner, a foreign path: 404, and the wait goes on."""
    with waiting() as listener:
        base = listener.redirect_uri.removesuffix("/callback")
        assert get(base + path).status_code == 404
        with pytest.raises(EnrolmentFailed):
            listener.wait(0)
        get(f"{listener.redirect_uri}?code=real&state=s")
        assert listener.wait(5).endswith("code=real&state=s")


def test_listener_takes_one_answer():
    """The first one; a reload is told so."""
    with waiting() as listener:
        statuses = at_once([lambda n=n: get(f"{listener.redirect_uri}?code={n}&state=s").status_code for n in range(8)])
        assert sorted(statuses) == [200] + [410] * 7
        first = statuses.index(200)
        assert listener.wait(5).endswith(f"code={first}&state=s")


def test_listener_gives_up_in_the_end():
    """The browser was closed: a clear message."""
    with waiting() as listener, pytest.raises(EnrolmentFailed, match="was the browser closed") as caught:
        listener.wait(0.05)
    assert "--paste" in caught.value.hint


def test_listener_counts_the_answer_of_a_browser_that_hangs_up():
    """The answer has arrived, whether or not anybody reads the page."""
    with waiting() as listener:
        port = int(listener.redirect_uri.split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as browser:
            browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            browser.sendall(b"GET /callback?code=x&state=s HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert listener.wait(5).endswith("code=x&state=s")


def test_listener_is_not_held_up_by_a_silent_connection():
    """A browser's spare connection does not block the answer."""
    with waiting() as listener:
        port = int(listener.redirect_uri.split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port)):
            get(f"{listener.redirect_uri}?code=x&state=s")
            assert listener.wait(5).endswith("code=x&state=s")


def test_listener_s_page_is_kept_by_nobody():
    """No store, no referrer, nothing of others in it, and not the code."""
    with waiting() as listener:
        page = get(f"{listener.redirect_uri}?code=secret-code&state=s")
    assert (page.headers["Cache-Control"], page.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "secret-code" not in page.text
    assert "http" not in page.text


def test_listener_closes_its_port():
    """Open only during the enrolment, also when that fails."""
    with pytest.raises(RuntimeError), LoopbackListener(None) as listener:
        raise RuntimeError
    with pytest.raises(requests.ConnectionError):
        get(listener.redirect_uri)


def test_listener_uses_the_registered_redirect_uri_exactly():
    """Port and path of the config."""
    uri = f"http://127.0.0.1:{free_port()}/some/path"
    with waiting(uri) as listener:
        get(f"{uri}?code=x&state=s")
        assert (listener.redirect_uri, listener.wait(5)) == (uri, f"{uri}?code=x&state=s")


def test_listener_binds_localhost_to_127_0_0_1():
    """The name may be anything; the address is not."""
    uri = f"http://localhost:{free_port()}/cb"
    with waiting(uri) as listener:
        assert listener._server.server_address[0] == "127.0.0.1"
        get(f"{uri.replace('localhost', '127.0.0.1')}?code=x&state=s")
        assert listener.wait(5) == f"{uri}?code=x&state=s"


def test_listener_serves_an_ipv6_loopback_address():
    """Where the registered URI says so, the browser goes there."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            port = server.getsockname()[1]
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    uri = f"http://[::1]:{port}/cb"
    with waiting(uri) as listener:
        get(f"{uri}?code=x&state=s")
        assert listener.wait(5) == f"{uri}?code=x&state=s"


@pytest.mark.parametrize(
    "uri", ["https://worker.example.org/callback", "http://10.0.0.1:80/cb", "http://127.0.0.1/cb", "x"]
)
def test_listener_refuses_a_redirect_uri_elsewhere(uri):
    """Its answer cannot be received here."""
    with pytest.raises(Misconfigured) as caught:
        LoopbackListener(uri)
    assert "--paste" in caught.value.hint


def test_listener_says_when_its_port_is_taken():
    """Another enrolment, or another program."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Misconfigured, match="cannot listen"):
        LoopbackListener(f"http://127.0.0.1:{taken.getsockname()[1]}/cb")


def test_listener_leaves_no_thread_behind():
    """Neither when it was used nor when it was not."""
    before = threading.active_count()
    for _ in range(3):
        with LoopbackListener(None):
            pass
    assert threading.active_count() == before
