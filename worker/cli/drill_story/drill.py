"""The faults, and what becomes of one that is not withstood: the step is named, and all is ended."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.cli.demo_story.scene import TROUBLE, StepRecord, end, ended_by_signals, make_folder, sweep
from worker.cli.drill_story import api, disk, grants
from worker.cli.drill_story.scene import DrillScene, Times

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.cli.demo_story.narrator import Narrator
    from worker.cli.drill_story.routes import DrillRoutes

#: Name -> what happens (for --list), and how it is played.
FAULTS: dict[str, tuple[str, Callable[[DrillScene], None]]] = {
    "revoke": ("the grant is revoked at the provider", grants.revoke),
    "rotate-crash": ("the daemon dies between a rotation and its commit", grants.rotate_crash),
    "timeout": ("the token endpoint rotates and never answers", grants.timeout),
    "403": ("the API refuses: plainly, and for want of a scope", api.forbidden),
    "429": ("the API asks for a pause", api.throttled),
    "disk-full": ("the disk fills up while a refresh is due", disk.disk_full),
}
#: Lines of the daemon's log that are shown with a failure.
_TAIL = 3


@dataclass
class Outcome:
    """How one drill went."""

    fault: str
    folder: Path
    #: Whether the folder is still there.
    kept: bool
    failed_step: str | None = None
    error: str | None = None
    times: Times = field(default_factory=Times)
    steps: list[StepRecord] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether it was detected, told and recovered from, as promised."""
        return self.failed_step is None


@dataclass(frozen=True)
class Conditions:
    """Under what drills are played."""

    routes: DrillRoutes
    #: Seconds that anything may take.
    limit: float
    keep: bool = False


def play(fault: str, narrator: Narrator, conditions: Conditions) -> Outcome:
    """Play one fault in a folder of its own, which stays if that is wanted or a step fails.

    Raises Misconfigured when there is no place for the folder.
    """
    outcome = Outcome(fault, make_folder("drill"), conditions.keep)
    scene = DrillScene(outcome.folder, narrator, conditions.limit, conditions.routes)
    outcome.steps = scene.steps
    with ExitStack() as cleaning:
        cleaning.callback(_sweep, outcome)
        cleaning.enter_context(ended_by_signals())
        cleaning.callback(end, scene)
        try:
            scene.set_up()
            FAULTS[fault][1](scene)
            scene.finish()
        except TROUBLE as error:
            step = scene.steps[-1].name if scene.steps else "set up"
            outcome.failed_step, outcome.error, outcome.kept = step, scene.cause(error), True
            narrator.failure(f'{fault}: step "{step}" failed: {outcome.error}', scene.log.tail(_TAIL))
        outcome.times = scene.times
    return outcome


def _sweep(outcome: Outcome) -> None:
    if not outcome.kept:
        sweep(outcome.folder)
