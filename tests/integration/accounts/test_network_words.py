"""What went wrong on the way to a server is said in plain words: real sockets that fail in every usual way."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
import requests

from worker.accounts.lone_call import Timeouts, call
from worker.accounts.network_words import what_happened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMEOUTS = Timeouts(5.0, 0.2)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close(_connection: socket.socket) -> None:
    """Nothing is said."""


def half(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")


def garbage(connection: socket.socket) -> None:
    connection.sendall(b"garbage\r\n\r\n")


@contextmanager
def server(end: Callable[[socket.socket], None]) -> Iterator[str]:
    """The authority of a server that reads one request and then does this."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                end(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def told_of(url: str) -> str:
    with pytest.raises(requests.RequestException) as caught:
        call("GET", url, TIMEOUTS)
    return what_happened(caught.value)


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (reset, "broke the connection off"),
        (close, "closed the connection without an answer"),
        (half, "broke off in the middle of its answer"),
        (garbage, "answered with something that is not HTTP"),
    ],
    ids=["reset", "close", "half", "garbage"],
)
def test_network_words_tell_how_a_connection_ended(end, words):
    """Reset, closed, cut short, not HTTP."""
    with server(end) as authority:
        assert told_of(f"http://{authority}/") == words


def test_network_words_tell_how_long_was_waited():
    """With no word of pools."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        assert told_of(f"http://127.0.0.1:{silent.getsockname()[1]}/") == "did not answer within 0.2 s"


def test_network_words_tell_of_a_refused_connection():
    """Nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as gone:
        port = gone.getsockname()[1]
    assert told_of(f"http://127.0.0.1:{port}/") == "refuses the connection"


def test_network_words_tell_of_an_unknown_name():
    """RFC 6761: no such name, ever."""
    assert told_of("http://host.invalid/").startswith("has a name that cannot be resolved (")


def test_network_words_tell_of_a_host_that_speaks_no_tls():
    """Plain text where TLS was expected."""
    with server(garbage) as authority:
        assert told_of(f"https://{authority}/").startswith("could not agree on TLS (")


def test_network_words_blame_the_proxy_for_what_is_the_proxys(monkeypatch):
    """The server was never reached."""
    with closing(socket.create_server(("127.0.0.1", 0))) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert told_of("http://host.invalid/") == "gave no answer: the proxy failed (Connection refused)"


def test_network_words_fall_back_to_the_kind_of_error():
    """Whatever else may come."""
    assert what_happened(requests.RequestException()) == "gave no answer (RequestException)"
