"""The drill in which the disk is full, for the daemon alone: no file of its can grow (RLIMIT_FSIZE, getrlimit(2)).

No user of this machine can fill a disk as harmlessly. To the daemon it is the same: what it writes is refused.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.cli.drill_story.scene import DrillScene


def disk_full(scene: DrillScene) -> None:
    """The store's disk fills up while the access token dies."""
    before = scene.token_calls()
    scene.begin("inject", "The disk fills up, and the access token dies")
    scene.inject(lambda: _fill(scene))
    scene.begin("detect", "The worker finds out")
    scene.detect("the store cannot be written", "the store cannot be written, and the worker says so")
    scene.begin("tell", "Somebody is told")
    scene.expect_told("incident")
    scene.check(scene.token_calls() == before, "no refresh was begun: its tokens could not be stored")
    scene.begin("recover", "Somebody makes room")
    scene.recover(lambda: _limit(scene, full=False), "it went on by itself, and made up what was missed")
    scene.check(scene.account()["state"] == "active", "the grant is alive")
    granted = scene.token_calls().get("granted", 0) - before.get("granted", 0)
    scene.check(granted == 1, "one refresh was spent", scene.token_calls())
    scene.expect_told("recovered")


def _fill(scene: DrillScene) -> None:
    _limit(scene, full=True)
    scene.control.expire()


def _limit(scene: DrillScene, *, full: bool) -> None:
    assert scene.daemon is not None
    hard = resource.prlimit(scene.daemon.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(scene.daemon.pid, resource.RLIMIT_FSIZE, (1 if full else hard, hard))
