"""The sign of life: what a probe reads in it, at any moment."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from worker.engines import heartbeat

if TYPE_CHECKING:
    from pathlib import Path


def test_fault_is_read_until_a_beat_follows(tmp_path: Path) -> None:
    """A shorter one leaves nothing of a longer one behind."""
    heartbeat.falter(tmp_path, "the disk is full")
    heartbeat.falter(tmp_path, "it is gone")
    assert heartbeat.last_fault(tmp_path) == "it is gone"
    heartbeat.beat(tmp_path)
    assert heartbeat.last_fault(tmp_path) == ""
    assert heartbeat.last_beat(tmp_path) is not None


def test_fault_that_goes_on_never_looks_like_a_beat(tmp_path: Path) -> None:
    """It is written every few seconds, and a probe may look in the middle of that."""
    heartbeat.falter(tmp_path, "the disk is full")
    written = threading.Event()

    def write() -> None:
        for _ in range(3000):
            heartbeat.falter(tmp_path, "the disk is full")
        written.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not written.is_set():
        seen.add(heartbeat.last_fault(tmp_path))
    writer.join()
    assert seen == {"the disk is full"}


def test_sign_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    """Nobody can tell is not the same as nothing is the matter, or as nobody runs."""
    (tmp_path / "state").symlink_to("x" * 300)
    assert "heartbeat cannot be read: " in heartbeat.last_fault(tmp_path / "state")


def test_sign_of_life_that_was_taken_away_is_no_fault(tmp_path: Path) -> None:
    """The daemon has ended on purpose."""
    heartbeat.falter(tmp_path, "the disk is full")
    heartbeat.end(tmp_path)
    assert (heartbeat.last_beat(tmp_path), heartbeat.last_fault(tmp_path)) == (None, "")
    assert list(tmp_path.iterdir()) == []
