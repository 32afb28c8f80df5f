"""The order of the steps, and what becomes of one that fails: it is named, with what is known, and all is ended."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.cli.demo_story import closing, opening, outage, tokens
from worker.cli.demo_story.folder import job_source
from worker.cli.demo_story.scene import TROUBLE, StepRecord, end, ended_by_signals, make_folder, sweep
from worker.cli.demo_story.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.cli.demo_story.narrator import Narrator

#: Name (for scripts), title (for people), and what happens.
STEPS: tuple[tuple[str, str, Callable[[Stage], None]], ...] = (
    ("provider", "A provider to play with", opening.start_provider),
    ("folder", "A folder to work in", opening.make_folder),
    ("consent", "Three people consent, once", opening.enrol_everybody),
    ("daemon", "From here on nobody is needed", opening.start_daemon),
    ("copy", "Everything is copied", opening.copy_everything),
    ("expiry", "Access tokens die before their time", tokens.expire_with_401),
    ("forbidden", "The provider says 403 instead of 401", tokens.expire_with_403),
    ("revocation", "A grant is revoked: only a human can mend that", outage.revoke_grant),
    ("outage", "The others go on", outage.go_on_without),
    ("reconsent", "The human acts", outage.consent_again),
    ("catch_up", "What was missed is made up", outage.catch_up),
    ("stop", "The daemon stops", closing.stop_daemon),
)
#: The last step, which also brings the table.
_LAST = ("figures", "The figures add up")
#: Lines of the daemon's log that are shown with a failure.
_TAIL = 3


@dataclass
class Tale:
    """How it went."""

    folder: Path
    #: Whether the folder is still there.
    kept: bool
    seconds: float = 0.0
    failed_step: str | None = None
    error: str | None = None
    steps: list[StepRecord] = field(default_factory=list)
    accounts: list[dict[str, object]] = field(default_factory=list)

    @property
    def facts(self) -> int:
        """How many facts were checked."""
        return sum(len(step.facts) for step in self.steps)


def tell(narrator: Narrator, *, keep: bool) -> Tale:
    """Play the story in a folder of its own, which stays if it is wanted or a step fails.

    Raises Misconfigured when there is no place for the folder or no job to play with.
    """
    job_source()
    folder = make_folder("demo")
    tale = Tale(folder, keep)
    stage = Stage(folder, narrator)
    tale.steps = stage.steps
    with ExitStack() as cleaning:
        cleaning.callback(_sweep, tale)
        cleaning.enter_context(ended_by_signals())
        cleaning.callback(end, stage)
        cleaning.callback(narrator.close)
        narrator.opening(
            "worker demo: three accounts, two jobs, one provider that misbehaves.",
            f"All of it real, all of it on this machine, in {folder}. About half a minute.",
        )
        if _play(stage, tale):
            narrator.closing("What happened", closing.COLUMNS, tale.accounts)
        tale.seconds = narrator.seconds
    return tale


def _play(stage: Stage, tale: Tale) -> bool:
    """Every step in its order, as far as it goes."""

    def add_up(stage: Stage) -> None:
        tale.accounts = closing.add_up(stage)

    for name, title, play in (*STEPS, (*_LAST, add_up)):
        record = StepRecord(name, title, stage.narrator.seconds)
        stage.steps.append(record)
        stage.narrator.step(title)
        try:
            play(stage)
        except TROUBLE as error:
            tale.failed_step, tale.error, tale.kept = name, stage.cause(error), True
            stage.narrator.failure(f'step "{name}" failed: {tale.error}', stage.progress.tail(_TAIL))
            return False
        finally:
            record.seconds = stage.narrator.seconds - record.began
        record.done = True
    return True


def _sweep(tale: Tale) -> None:
    if not tale.kept:
        sweep(tale.folder)
