"""Everything but the answer, sent to the listener of an enrolment: refused and survived; the true one is taken."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from urllib.parse import urlencode, urlsplit

import pytest
from account_house import at_once

from worker.accounts.enrolment import Choices
from worker.accounts.loopback import LoopbackListener
from worker.errors import EnrolmentFailed
from worker.oauth.authorization import ExpectedCallback
from worker.sandbox import give_consent

STATE = "st4te-of-this-very-attempt"
TRUE = f"/callback?code=true-code&state={STATE}"


@contextmanager
def waiting():
    """A listener that expects the answer to an attempt with this state; its port beside it."""
    with LoopbackListener(None) as listener:
        listener.expect(ExpectedCallback(listener.redirect_uri, STATE))
        yield listener, int(urlsplit(listener.redirect_uri).port or 0)


def send(port: int, data: bytes, *, more: bytes = b"", times: int = 0) -> bytes:
    """Write these bytes, then `more` so many times; answers what came back until the other side closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
        with suppress(OSError):
            peer.sendall(data)
            for _ in range(times):
                peer.sendall(more)
        back = b""
        with suppress(OSError):
            peer.shutdown(socket.SHUT_WR)
            while part := peer.recv(65536):
                back += part
        return back


def get(port: int, target: str, *headers: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    """One request of a browser."""
    lines = [f"{method} {target} {version}", *(headers or (f"Host: 127.0.0.1:{port}",)), "", ""]
    return send(port, "\r\n".join(lines).encode("latin-1"))


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def still_waits(listener, port: int) -> None:
    """Nothing has been taken so far, and the true answer is."""
    with pytest.raises(EnrolmentFailed, match="no answer came"):
        listener.wait(0)
    assert status(get(port, TRUE)) == 200
    assert listener.wait(5).endswith(TRUE)


S = urlencode({"state": STATE})
FORGED = {
    "wrong state": "/callback?code=c&state=st4te-of-this-very-attemps",
    "state in upper case": f"/callback?code=c&state={STATE.upper()}",
    "state with a blank": f"/callback?code=c&state={STATE}%20",
    "state with a NUL": f"/callback?code=c&state={STATE}%00",
    "state with a line end": f"/callback?code=c&state={STATE}%0d%0a",
    "state encoded twice": "/callback?code=c&state=" + "".join(f"%25{ord(letter):02x}" for letter in STATE),
    "state of other letters that look alike": "/callback?code=c&state=%D1%95t4te-of-this-very-attempt",
    "state in part": f"/callback?code=c&state={STATE[:-1]}",
    "no state": "/callback?code=c",
    "empty state": "/callback?code=c&state=",
    "state twice": f"/callback?code=c&{S}&{S}",
    "another state beside it": f"/callback?code=c&state=other&{S}",
    "state under another name": f"/callback?code=c&State={STATE}",
    "state in brackets": f"/callback?code=c&state[]={STATE}",
    "code twice": f"/callback?code=c&code=d&{S}",
    "issuer twice": f"/callback?code=c&{S}&iss=a&iss=b",
    "semicolons": f"/callback?code=c;state={STATE}",
    "error without state": "/callback?error=access_denied",
    "error of another attempt": "/callback?error=access_denied&state=other",
    "state and nothing else": f"/callback?{S}",
    "nothing": "/callback",
    "empty query": "/callback?",
    "a fragment": f"/callback#code=c&{S}",
    "another path": f"/other?code=c&{S}",
    "a longer path": f"/callback/?code=c&{S}",
    "a path in upper case": f"/CALLBACK?code=c&{S}",
    "a path that is encoded": f"/%63allback?code=c&{S}",
    "a path with dots": f"/x/../callback?code=c&{S}",
    "a path with a parameter": f"/callback;x?code=c&{S}",
    "a path with two slashes": f"//callback?code=c&{S}",
    "a whole address": f"http://127.0.0.1/callback?code=c&{S}",
    "a whole address elsewhere": f"http://evil.example/callback?code=c&{S}",
    "an authority": f"127.0.0.1:80/callback?code=c&{S}",
    "a star": "*",
    "hundreds of parameters": "/callback?" + "&".join(f"a{n}=b" for n in range(500)) + f"&code=c&{S}",
    "bytes above ASCII": f"/callback?code=\xff\xfe&state=\xe9{STATE}",
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_callback_does_not_end_the_wait(name):
    """A page of one fixed sentence; the enrolment goes on."""
    with waiting() as (listener, port):
        answer = get(port, FORGED[name])
        assert 400 <= status(answer) < 500
        assert b"st4te" not in answer
        still_waits(listener, port)


def test_callback_before_anybody_was_asked_is_refused():
    """The port is open a moment before the attempt begins."""
    with LoopbackListener(None) as listener:
        port = int(urlsplit(listener.redirect_uri).port or 0)
        assert status(get(port, TRUE)) == 400


def test_callback_that_is_repeated_changes_nothing():
    """The first one counts, also among several at once."""
    with waiting() as (listener, port):
        statuses = at_once([lambda n=n: status(get(port, f"/callback?code=c{n}&{S}")) for n in range(6)])
        assert sorted(statuses) == [200] + [410] * 5
        assert listener.wait(5).endswith(f"/callback?code=c{statuses.index(200)}&{S}")
        assert status(get(port, TRUE)) == 410


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "0.0.0.0", ""])
def test_name_that_was_turned_to_this_host_is_refused(host):
    """DNS rebinding: the page of another origin has made its own name mean 127.0.0.1."""
    with waiting() as (listener, port):
        assert status(get(port, TRUE, f"Host: {host}:{port}" if host else "Host:")) == 400
        still_waits(listener, port)


@pytest.mark.parametrize("headers", [("X: y",), ("Host: 127.0.0.1", "Host: evil.example"), ("Host: [::1",)])
def test_request_that_does_not_say_whom_it_means_is_refused(headers):
    """No Host, two of them, half of one (RFC 9112 section 3.2)."""
    with waiting() as (listener, port):
        assert status(get(port, TRUE, *headers)) == 400
        still_waits(listener, port)


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "CONNECT", "<script>", "get"])
def test_method_other_than_get_is_refused(method):
    """A link scanner's HEAD must not use the answer up, and no page is told that it may ask from elsewhere."""
    with waiting() as (listener, port):
        answer = get(port, TRUE, method=method)
        assert status(answer) == 405
        assert b"Access-Control" not in answer
        assert b"<script>" not in answer
        still_waits(listener, port)


RAW = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": f"GET {TRUE}\r\n".encode(),
    "HTTP of the future": f"GET {TRUE} HTTP/9.9\r\nHost: localhost\r\n\r\n".encode(),
    "no version": f"GET {TRUE} \r\n\r\n".encode(),
    "NULs": bytes(10_000),
    "blank lines": b"\r\n" * 10_000,
    "an address of a megabyte": b"GET /callback?code=" + b"c" * (1 << 20) + f"&{S} HTTP/1.1\r\n\r\n".encode(),
    "a header of a megabyte": f"GET {TRUE} HTTP/1.1\r\nHost: ".encode() + b"x" * (1 << 20) + b"\r\n\r\n",
    "thousands of headers": f"GET {TRUE} HTTP/1.1\r\nHost: localhost\r\n".encode() + b"X: y\r\n" * 5000 + b"\r\n",
    "a script for an address": b"GET /<script>alert(1)</script> HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a script for a version": b"GET / <script>alert(1)</script>\r\n\r\n",
    "a line end in the address": f"GET /callback?code=c\rX: y&{S} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
}


@pytest.mark.parametrize("name", RAW)
def test_bytes_that_are_no_request_are_survived(name):
    """Nothing is repeated of them, and what is answered is kept by nobody."""
    with waiting() as (listener, port):
        answer = send(port, RAW[name])
        assert b"script>" not in answer
        if answer:
            assert status(answer) >= 400
            assert b"Cache-Control: no-store" in answer
            assert b"Content-Security-Policy: default-src 'none'" in answer
            assert b"Python" not in answer
        still_waits(listener, port)


@pytest.mark.parametrize("framing", ["Content-Length: 1073741824", "Transfer-Encoding: chunked"])
def test_body_of_a_gigabyte_is_not_waited_for(framing):
    """The answer stands in the request line."""
    with waiting() as (listener, port):
        head = f"POST {TRUE} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode()
        send(port, head, more=b"x" * (1 << 20), times=1024)
        still_waits(listener, port)


def test_second_request_on_a_connection_is_not_read():
    """What was pushed in behind another request came from whoever wrote that one."""
    with waiting() as (listener, port):
        one = "GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
        answer = send(port, (one + f"GET {TRUE} HTTP/1.1\r\nHost: localhost\r\n\r\n").encode())
        assert answer.count(b"HTTP/1.") == 1
        still_waits(listener, port)


def test_connections_that_say_nothing_do_not_keep_the_browser_out():
    """Hundreds at once, each with half a request: the oldest make room, and there are never many threads."""
    before = threading.active_count()
    with waiting() as (listener, port):
        silent = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(400)]
        try:
            for peer in silent:
                with suppress(OSError):
                    peer.sendall(b"GET /callback?code=")
            still_waits(listener, port)
            # Those that had to make room end as soon as they are given a turn.
            for _ in range(600):
                if threading.active_count() - before < 120:
                    break
                time.sleep(0.1)
            assert threading.active_count() - before < 120
        finally:
            for peer in silent:
                peer.close()


def test_thousands_of_connections_leave_nothing_behind():
    """Opened and closed one after the other."""
    with waiting() as (listener, port):
        for _ in range(3000):
            socket.create_connection(("127.0.0.1", port), timeout=20).close()
        still_waits(listener, port)
        deadline = time.monotonic() + 30
        while listener._server._open and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not listener._server._open


def test_closing_hangs_up_on_whoever_is_still_there():
    """No connection outlives the enrolment."""
    with waiting() as (_, port):
        peer = socket.create_connection(("127.0.0.1", port), timeout=20)
        peer.sendall(b"GET /callback?code=")
        time.sleep(0.2)
    with peer:
        assert peer.recv(100) == b""


@pytest.mark.parametrize(
    "forge",
    [
        lambda back: back.replace("code=", "code=%00"),
        lambda back: back.replace("code=", "code=%0d%0aX-Evil:+1"),
        lambda back: back.replace("code=", "code=%F0%9F%92%A3"),
        lambda back: back.replace("code=", "code=" + "c" * (1 << 20)),
        lambda back: back + "&iss=https%3A%2F%2Fevil.example",
        lambda back: back.replace("?", "#"),
        lambda back: back.replace("127.0.0.1", "127.0.0.1%00.evil.example"),
        lambda back: back.replace("127.0.0.1", "127。0。0。1"),
        lambda back: back.replace("127.0.0.1", "2130706433"),
        lambda back: back.replace("http://", "http:/"),
        lambda back: back.replace("http://", "http://user@"),
        lambda back: back.replace(":8765", ":08766"),
        lambda back: back.replace("/callback", "/callback/..;/callback"),
        lambda back: back.replace("state=", "state=%C0%80"),
    ],
)
def test_answer_that_was_tampered_with_is_not_redeemed(house, sandbox, forge):
    """Pasted instead: one error in words, no code is sent, and the true answer is still good."""
    house.configure(issuer=sandbox.issuer)
    attempt = house.begin()
    back = give_consent(attempt.url, "alice")
    with pytest.raises(EnrolmentFailed) as caught:
        house.enrolment.finish(attempt, forge(back), Choices())
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000
    assert attempt.expected.state not in caught.value.message
    assert sandbox.stats()["token_calls_total"] == 0
    assert house.enrolment.finish(attempt, back, Choices()).created
