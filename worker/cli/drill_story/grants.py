"""Drills in which the grant is at stake: revoked, lost in a crash, lost with an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.drill_story.scene import PERSON

if TYPE_CHECKING:
    from worker.cli.drill_story.scene import DrillScene

#: Seconds in which the provider repeats an answer that got lost.
_GRACE = 300
_LOST = "lost in rotation"


def revoke(scene: DrillScene) -> None:
    """An administrator at the provider takes the grant away."""
    scene.begin("inject", "The grant is revoked at the provider")
    scene.inject(lambda: scene.control.revoke(PERSON))
    _flagged_and_mended(scene, "revoked")


def rotate_crash(scene: DrillScene) -> None:
    """The daemon dies between the new refresh token's leaving the provider and its being stored."""
    scene.begin("inject", "The daemon is killed between the token answer and the commit")
    before = _crash_in_rotation(scene)
    scene.start_daemon()
    _flagged_and_mended(scene, _LOST)
    _check_one_try(scene, before)
    times = scene.times
    scene.begin("grace", "The same at a provider that repeats an answer within a grace period")
    scene.control.set(grace=_GRACE)
    _crash_in_rotation(scene)
    scene.start_daemon()
    scene.wait(scene.level, "it went on by itself, and made up what was missed")
    scene.check(scene.account()["state"] == "active", "the account is active")
    scene.check(scene.stats()["grace_repeats"] == 1, "one more token call brought the lost answer")
    scene.expect_nobody_told("nobody was told: nobody has to do anything")
    scene.times = times


def timeout(scene: DrillScene) -> None:
    """The token endpoint acts, and its answer never comes."""
    scene.begin("inject", "The token endpoint rotates, and never answers")
    before = scene.token_calls()
    scene.inject(lambda: _lose_answer(scene))
    scene.begin("doubt", "The worker does not know what became of it")
    scene.detect("account in doubt", "the account is in doubt, with the intent on record")
    scene.narrator.note("One more try settles it, with the same refresh token.")
    _flagged_and_mended(scene, _LOST)
    _check_one_try(scene, before)


def _lose_answer(scene: DrillScene) -> None:
    scene.control.fault("token", "timeout_after", grant_type="refresh_token")
    scene.control.expire()


def _crash_in_rotation(scene: DrillScene) -> dict[str, int]:
    """Have a refresh answered, and kill the daemon before it hears; the token calls until then."""
    before = scene.token_calls()
    scene.inject(lambda: _lose_answer(scene))
    granted = before.get("granted", 0) + 1
    scene.wait(lambda: scene.token_calls().get("granted", 0) == granted, "the provider has rotated the refresh token")
    scene.mark()
    scene.kill_daemon()
    scene.check(scene.daemon is None, "the daemon was killed before it had the answer (SIGKILL)")
    return before


def _flagged_and_mended(scene: DrillScene, cause: str) -> None:
    scene.begin("detect", "The worker finds out")
    found = scene.times.detected
    scene.detect("account needs consent", "the account needs consent", account=PERSON)
    scene.times.detected = found or scene.times.detected
    scene.check_flagged(cause)
    scene.begin("tell", "Somebody is told")
    scene.expect_told("needs_consent")
    scene.begin("recover", "He does what the message asks for")
    scene.recover(scene.consent_again, "everything that was missed has been made up")
    scene.check(scene.account()["state"] == "active", "the account is active again")
    scene.expect_told("recovered")


def _check_one_try(scene: DrillScene, before: dict[str, int]) -> None:
    calls = scene.token_calls()
    spent = {name: calls.get(name, 0) - before.get(name, 0) for name in calls}
    scene.check(
        spent.get("granted") == 1 and spent.get("invalid_grant") == 1,
        "the provider was asked once more, and never again",
        spent,
    )
