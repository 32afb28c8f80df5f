"""Asking an address that is in the wrong hands: the doctor comes back."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from worker.config.load import load
from worker.doctor.diagnosis import Level
from worker.doctor.endpoints import examine
from worker.wiring.wiring import Wiring

CONFIG = """
[integrations.books]
client_id = "sandbox-client"
client_auth = "none"
token_url = "{0}/token"
authorize_url = "{0}/authorize"
api_base = "{0}/api"
connect_timeout = "1s"
read_timeout = "1s"
"""


@pytest.fixture
def dripping():
    """A server whose header fields never end: a byte now and then, so that no read ever times out."""
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not over.wait(0.05):
                connection.sendall(b"x")

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                thread = threading.Thread(target=drip, args=server.accept()[:1])
                thread.start()
                threads.append(thread)

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = threading.Thread(target=serve)
        listener.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        over.set()
        server.shutdown(socket.SHUT_RDWR)
        for thread in (listener, *threads):
            thread.join()


def test_host_that_drips_its_header_fields_is_given_up(tmp_path, dripping):
    """Its read timeout begins anew with every byte; a bound on the whole ends it, and the host is asked once."""
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(dripping))
    path.chmod(0o600)
    (finding,) = examine(Wiring(load(path, {}), {}))
    assert (finding.level, finding.subject) == (Level.LATER, "integrations.books.token_url")
    assert "the answer came too slowly" in finding.message
