"""Hints name what is there: systemd, or the daemon's process."""

from __future__ import annotations

import os

from worker.store.service import how_to_start, how_to_stop

HOLDER = f"a restore, process 4711 on {os.uname().nodename}"


def test_hint_without_systemd_names_the_process(tmp_path) -> None:
    """In a container there is no systemctl."""
    assert how_to_stop(HOLDER, tmp_path / "none") == "kill 4711"
    assert how_to_start(tmp_path / "none") == "worker run"


def test_hint_without_a_known_process_says_what_to_do(tmp_path) -> None:
    """The lock's note may be gone."""
    assert how_to_stop("another process", tmp_path / "none") == "end its process (SIGTERM)"


def test_hint_with_systemd_names_the_unit(tmp_path) -> None:
    """And the process, for a daemon that was started by hand."""
    assert how_to_stop(HOLDER, tmp_path) == "systemctl stop worker, or: kill 4711"
    assert how_to_start(tmp_path) == "systemctl start worker, or: worker run"


def test_hint_for_another_machine_says_where_the_process_is(tmp_path) -> None:
    """Its number is somebody else's here, and so is the unit."""
    assert how_to_stop("the daemon, process 4711 on no-host-of-ours", tmp_path) == "on no-host-of-ours: kill 4711"
