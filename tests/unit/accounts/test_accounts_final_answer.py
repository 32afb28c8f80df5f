"""The answer behind the interim ones. One private name of the HTTP client is used: these tests tell when it goes."""

from __future__ import annotations

import http.client
import socket

import pytest

from worker.accounts.final_answer import FinalAnswer

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"


@pytest.fixture
def answered():
    """Makes the answer of a server that sends these bytes and hangs up."""
    opened: list[socket.socket] = []

    def make(sent: bytes, **settings) -> FinalAnswer:
        ours, theirs = socket.socketpair()
        opened.append(ours)
        theirs.sendall(sent)
        theirs.close()
        return FinalAnswer(ours, method="GET", **settings)

    yield make
    for one in opened:
        one.close()


@pytest.mark.parametrize("interim", [b"", HINTS, HINTS * 3, b"HTTP/1.1 100 Continue\r\n\r\n" + HINTS])
def test_final_answer_begins_behind_the_interim_ones(answered, interim):
    """Whatever they are and however many, within reason."""
    answer = answered(interim + WHOLE)
    answer.begin()
    assert (answer.status, answer.getheader("Link"), answer.read()) == (200, None, b"first")
    answer.close()


@pytest.mark.parametrize("interim", [HINTS, b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_interim_answers_without_end_are_cut_off(answered, interim):
    """No server has that much to hint at."""
    answer = answered(interim * 30 + WHOLE)
    with pytest.raises(http.client.HTTPException, match="interim"):
        answer.begin()
    answer.close()


def test_switch_of_protocols_is_an_answer(answered):
    """101 is final (RFC 9110 section 15.2.2)."""
    answer = answered(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
    answer.begin()
    assert answer.status == 101
    answer.close()


def test_answer_is_read_as_long_as_it_is_wanted(answered):
    """Whoever waits is asked before every read, the very first included."""

    def never() -> None:
        raise InterruptedError

    answer = answered(WHOLE, still=never)
    with pytest.raises(InterruptedError):
        answer.begin()
    answer.close()
