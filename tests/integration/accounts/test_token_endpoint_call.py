"""The call itself: once, to one place, with one set of credentials, and never for ever."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from scripted_server import Answer

from worker.accounts.token_endpoint import NoAnswer, NotSent, Timeouts, ask
from worker.oauth.dialect import Dialect
from worker.oauth.token_request import Client, refresh_request
from worker.oauth.verdict import Postponed, TokenGranted
from worker.redact import Secret

GOOD = Answer(200, b'{"access_token": "a2"}', [("Content-Type", "application/json")])


@pytest.fixture
def call(clock):
    """One refresh request to a URL."""

    def send(url: str, *, read: float = 5.0):
        request = refresh_request(url, Client("client", Secret("secret")), Secret("refresh-token-1"))
        return ask(request, Timeouts(1.0, read), Dialect(), clock, "test/1")

    return send


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_call_follows_no_redirect(call, serve, status):
    """A 307 would send the refresh token and the client's secret elsewhere."""
    elsewhere = serve(GOOD)
    token = serve(Answer(status, b"", [("Location", f"{elsewhere.origin}/token")]))
    assert not isinstance(call(f"{token.origin}/token"), TokenGranted)
    assert (len(token.asked), elsewhere.asked) == (1, [])


def test_call_ignores_netrc(call, serve, tmp_path, monkeypatch):
    """Another password for that host must not take the place of the client's."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    token = serve(GOOD)
    call(f"{token.origin}/token")
    assert token.asked[0].headers["authorization"] == "Basic Y2xpZW50OnNlY3JldA=="


@pytest.mark.parametrize("status", [429, 500, 503])
def test_call_is_not_repeated(call, serve, status):
    """Not even for an answer that asks for it."""
    token = serve(Answer(status, b"", [("Retry-After", "0")]), GOOD)
    assert isinstance(call(f"{token.origin}/token"), Postponed)
    assert len(token.asked) == 1


def test_call_is_not_repeated_on_a_broken_connection(call, serve):
    """It may have been carried out."""
    token = serve(Answer(raw=lambda handler: handler.connection.close()), GOOD)
    assert isinstance(call(f"{token.origin}/token"), NoAnswer)
    assert len(token.asked) == 1


def test_call_opens_a_connection_of_its_own(call, serve):
    """No kept-alive one, whose end would look like a lost answer."""
    token = serve(GOOD)
    assert [isinstance(call(f"{token.origin}/token"), TokenGranted) for _ in range(2)] == [True, True]
    assert token.asked[0].headers["user-agent"] == "test/1"


def test_call_is_not_sent_where_nobody_listens(call):
    """A refused connection has changed nothing."""
    assert isinstance(call("http://127.0.0.1:9/token"), NotSent)


def test_call_is_not_sent_to_a_certificate_that_cannot_be_verified(call, serve, certified):
    """The handshake fails before the first byte of the form."""
    token = serve(GOOD, tls=certified)
    assert isinstance(call(f"{token.origin}/token"), NotSent)
    assert token.asked == []


def test_call_that_loses_its_tls_connection_after_sending_has_no_answer(call, serve, certified, monkeypatch):
    """The error's class is that of a failed handshake; what counts is that the form was on its way."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certified[0]))

    def break_off(handler) -> None:
        # Bytes that are no TLS record: the client's TLS layer fails while it reads the answer.
        plain = socket.socket(fileno=handler.connection.detach())
        plain.sendall(b"not a TLS record at all")
        plain.close()

    token = serve(Answer(raw=break_off), tls=certified)
    assert isinstance(call(f"{token.origin}/token"), NoAnswer)
    assert len(token.asked) == 1


def test_call_honours_the_ca_bundle_of_the_environment(call, serve, certified, monkeypatch):
    """Networks with a certificate authority of their own."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certified[0]))
    assert isinstance(call(f"{serve(GOOD, tls=certified).origin}/token"), TokenGranted)


def test_call_honours_the_proxy_of_the_environment(call, serve, monkeypatch):
    """An http URL is asked of the proxy by its whole address."""
    proxy = serve(GOOD)
    monkeypatch.setenv("http_proxy", proxy.origin)
    assert isinstance(call("http://provider.example/token"), TokenGranted)
    assert proxy.asked[0].path == "http://provider.example/token"


def test_call_is_not_sent_when_the_proxy_refuses_the_tunnel(call, serve, monkeypatch):
    """CONNECT failed: the provider has heard nothing."""
    monkeypatch.setenv("https_proxy", serve(Answer(502)).origin)
    assert isinstance(call("https://provider.example/token"), NotSent)


def drip(*parts: bytes, pause: float):
    def write(handler) -> None:
        try:
            for part in parts:
                for position in range(len(part)):
                    handler.wfile.write(part[position : position + 1])
                    time.sleep(pause)
        except OSError:
            pass

    return Answer(raw=write)


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 1000],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 1000],
        [b"HTTP/1.1 200 OK\r\n\r\n" + b'{"access_token": "a2", ' + b" " * 1000 + b"}"],
    ],
    ids=["headers", "body", "body without length"],
)
def test_call_does_not_wait_for_an_answer_that_drips(call, serve, parts):
    """Each byte restarts the read timeout, so something else must end it; what is then there is no answer."""
    answers = []
    token = serve(drip(*parts, pause=0.05))
    thread = threading.Thread(target=lambda: answers.append(call(f"{token.origin}/token", read=0.2)), daemon=True)
    thread.start()
    thread.join(20)
    assert [type(answer) for answer in answers] == [NoAnswer]


def test_call_does_not_swallow_an_answer_without_end(call, sandbox):
    """A hundred megabytes are not read to their end, packed ones neither."""
    for kind in ("huge", "gzip_bomb"):
        sandbox.fault("token", kind)
        answer = call(sandbox.token_url)
        assert (type(answer), answer.evidence["status"]) == (Postponed, 200)


def test_call_honours_retry_after_of_an_unreadable_answer(call, serve):
    """The field is readable where the body is not."""
    packed = [("Content-Encoding", "gzip"), ("Retry-After", "77")]
    answer = call(f"{serve(Answer(503, b'not gzip at all', packed)).origin}/token")
    assert (type(answer), answer.after) == (Postponed, 77)


def test_call_shows_no_secret_in_its_evidence(call, serve):
    """What is stored and told about a failure."""
    echo = Answer(500, b'{"error": "x", "error_description": "refresh_token=refresh-token-1 client_secret=secret"}')
    answers = [call(f"{serve(one).origin}/token") for one in (echo, Answer(raw=lambda _: None))]
    assert "refresh-token-1" not in str([answer.evidence for answer in answers])
