"""Drills in which the API says no: for good, for want of a scope, for now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from worker.cli.drill_story.scene import PERSON

if TYPE_CHECKING:
    from worker.cli.drill_story.scene import DrillScene

#: Seconds that the API asks for: more than a run may take, so that it cannot be waited for within the run.
RETRY_AFTER = 12


def forbidden(scene: DrillScene) -> None:
    """A plain 403 is the API's own no; one that names a missing scope needs a human. Neither is worth a refresh."""
    before = scene.token_calls()
    scene.begin("plain", "The API answers a plain 403")
    scene.inject(lambda: scene.control.fault("api", "forbidden"))
    scene.detect("run failed", "the run failed, and says so")
    scene.wait(scene.level, "the next run made up what it missed")
    scene.expect_nobody_told("nobody was told: nobody has to do anything")
    scene.begin("inject", "The API answers that the token lacks a scope")
    scene.inject(lambda: scene.control.fault("api", "insufficient_scope"))
    scene.begin("detect", "The worker finds out")
    scene.detect("account needs consent", "the account needs consent", account=PERSON)
    scene.check_flagged("insufficient_scope")
    scene.check(scene.token_calls() == before, "no refresh was spent on either", scene.token_calls())
    scene.begin("tell", "Somebody is told")
    scene.expect_told("needs_consent")
    scene.begin("recover", "He does what the message asks for")
    scene.recover(scene.consent_again, "everything that was missed has been made up")
    scene.check(scene.account()["state"] == "active", "the account is active again")
    scene.expect_told("recovered")


def throttled(scene: DrillScene) -> None:
    """The API wants to be left alone for a while."""
    before = scene.token_calls()
    scene.begin("inject", f"The API answers 429, and to come back in {RETRY_AFTER} s")
    scene.inject(lambda: scene.control.fault("api", "http_429", retry_after=RETRY_AFTER))
    scene.begin("detect", "The worker finds out")
    scene.wait(lambda: _refused(scene) == 1, "the API has refused one request")
    refused, requests = time.monotonic(), scene.stats()["api_requests_total"]
    scene.detect("run retrying", "the run waits for its next attempt")
    scene.begin("wait", "It keeps away for as long as it was asked to")
    scene.wait(lambda: scene.stats()["api_requests_total"] > requests, "it came back by itself")
    kept_away = time.monotonic() - refused
    # The refusal was seen up to a tick after it was sent.
    scene.check(kept_away >= RETRY_AFTER - 0.5, f"not one request in {kept_away:.1f} s", kept_away)
    scene.begin("recover", "It goes on by itself")
    over = refused + RETRY_AFTER
    scene.recover(lambda: None, "everything that was missed has been made up", since=over)
    scene.check(_refused(scene) == 1, "it was refused once", _refused(scene))
    scene.check(scene.token_calls() == before, "no refresh was spent on it", scene.token_calls())
    scene.expect_nobody_told("nobody was told: nobody has to do anything")


def _refused(scene: DrillScene) -> int:
    return int(scene.stats()["api_requests"].get("429", 0))
