"""A form that knows whether it was asked for, on a line that can be cut."""

from __future__ import annotations

import socket
import threading

import pytest
import requests

from worker.accounts.one_call import Form, Line, LineAdapter


def test_form_knows_that_it_was_read():
    """And gives its content all the same."""
    form = Form(b"a=b", Line())
    assert form.begun is False
    assert form.read() == b"a=b"
    assert form.begun is True


def test_form_is_not_read_once_the_line_was_cut():
    """Connecting took too long: nothing is sent any more."""
    line = Line()
    form = Form(b"a=b", line)
    line.cut()
    with pytest.raises(TimeoutError):
        form.read()
    assert form.begun is False


def test_form_is_not_begun_by_measuring_it():
    """What requests does first."""
    form = Form(b"a=b", Line())
    request = requests.Request("POST", "http://x.example/", data=form).prepare()
    assert (request.headers["Content-Length"], form.begun) == ("3", False)


def test_line_that_is_cut_ends_a_call_that_waits():
    """Whoever reads wakes up at once, without any timeout."""
    line = Line()
    with socket.create_server(("127.0.0.1", 0)) as server, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", LineAdapter(line))
        reached = threading.Event()

        def accept() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                reached.set()
                connection.recv(1000)

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        cutter = threading.Thread(target=lambda: reached.wait(20) and line.cut())
        cutter.start()
        with pytest.raises(requests.ConnectionError):
            session.post(f"http://127.0.0.1:{server.getsockname()[1]}/", data=Form(b"a=b", line), timeout=20)
        acceptor.join()
        cutter.join()
    assert line.was_cut is True
