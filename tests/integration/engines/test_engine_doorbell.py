"""The doorbell: a pipe that carries no message, and rings that may be lost."""

from __future__ import annotations

import stat
import threading

import pytest

from worker.engines.doorbell import Doorbell, ring
from worker.errors import StoreUnusable


@pytest.fixture
def bell(tmp_path):
    """A doorbell, and what counts its rings."""
    rung = threading.Semaphore(0)
    made = Doorbell(tmp_path, rung.release)
    yield made, rung
    made.close()


def test_ring_is_heard(tmp_path, bell):
    """By the one who listens."""
    assert ring(tmp_path)
    assert bell[1].acquire(timeout=60)


def test_ring_is_heard_again(tmp_path, bell):
    """One ring after the other."""
    for _ in range(3):
        assert ring(tmp_path)
        assert bell[1].acquire(timeout=60)


def test_ring_without_a_listener_does_nothing(tmp_path):
    """No daemon, no pipe."""
    assert not ring(tmp_path)


def test_ring_after_the_daemon_has_gone_does_nothing(tmp_path):
    """The pipe stays, and nobody reads it: the ringer must not hang."""
    Doorbell(tmp_path, lambda: None).close()
    assert not ring(tmp_path)


def test_rings_without_end_do_not_block_the_ringer(tmp_path):
    """The listener is busy and the pipe fills up: those rings will be heard all the same."""
    hold, heard = threading.Event(), threading.Semaphore(0)

    def answer():
        heard.release()
        hold.wait(60)

    bell = Doorbell(tmp_path, answer)
    assert all(ring(tmp_path) for _ in range(100_000))
    hold.set()
    assert heard.acquire(timeout=60)
    bell.close()


def test_doorbell_is_the_owners_alone(tmp_path, bell):
    """Nobody else may ring, or listen."""
    assert stat.S_IMODE((tmp_path / "doorbell").stat().st_mode) == 0o600


def test_doorbell_can_be_made_where_one_was_left(tmp_path):
    """A daemon that was killed leaves its pipe."""
    Doorbell(tmp_path, lambda: None).close()
    rung = threading.Event()
    bell = Doorbell(tmp_path, rung.set)
    ring(tmp_path)
    assert rung.wait(60)
    bell.close()


def test_doorbell_refuses_what_is_no_pipe(tmp_path):
    """A file of that name is in the way, and says what to do."""
    (tmp_path / "doorbell").write_text("")
    with pytest.raises(StoreUnusable, match="in the way") as caught:
        Doorbell(tmp_path, lambda: None)
    assert caught.value.hint.startswith("rm ")


def test_closed_doorbell_does_not_answer(tmp_path):
    """Its thread has ended."""
    rung = []
    Doorbell(tmp_path, lambda: rung.append(1)).close()
    assert rung == []


def test_doorbell_outlives_an_answer_that_fails(tmp_path, caplog):
    """It is told, and the next ring is heard: nobody would notice a thread that is gone."""
    rung = threading.Semaphore(0)

    def answer():
        rung.release()
        raise ValueError("a bug")

    bell = Doorbell(tmp_path, answer)
    for _ in range(2):
        ring(tmp_path)
        assert rung.acquire(timeout=60)
    bell.close()
    assert "a ring was not answered" in caplog.text


def test_second_listener_in_one_folder_is_refused(tmp_path):
    """The daemon of another store: they would take each other's rings. Once the first has ended, it may."""
    first = Doorbell(tmp_path, lambda: None)
    with pytest.raises(StoreUnusable, match="another daemon uses the state folder"):
        Doorbell(tmp_path, lambda: None)
    first.close()
    Doorbell(tmp_path, lambda: None).close()
