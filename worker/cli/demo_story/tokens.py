"""Access tokens die before their time, and nobody notices but the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.demo_story.folder import KEYS, PEOPLE
from worker.cli.demo_story.opening import ACCESS_TTL

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.cli.demo_story.stage import Stage

#: Seconds that the tokens live which are in use when the grant is revoked.
LONGER_TTL = 10


def expire_with_401(stage: Stage) -> None:
    """Every token dies at least once while rows change at the source."""
    refused = _everybody_is_refused(stage, "401")
    changed = stage.control.insert("events", 4) + stage.control.touch("registrations", 30)
    stage.narrator.note(f"Meanwhile {len(changed)} rows are new or changed at the source.")
    stage.wait(refused, "each token was refused with 401, refreshed once, and its request sent again")
    stage.wait(stage.level(), "the changes are in the sink, for every account")
    _check_no_failure(stage)


def expire_with_403(stage: Stage) -> None:
    """The same with the status that Arlo's documentation names as well."""
    refused = _everybody_is_refused(stage, "403")
    # What is refreshed now lives through the next step: a grant that is revoked between a refresh and the request that
    # is sent again gives a fresh token that is refused, which is another story.
    stage.control.set(use_403=True, access_ttl=LONGER_TTL)
    stage.wait(refused, 'each token was refreshed on error="expired_token" or "invalid_token" of a 403')
    stage.control.set(use_403=False, access_ttl=ACCESS_TTL)
    _check_no_failure(stage)


def _everybody_is_refused(stage: Stage, status: str) -> Callable[[], bool]:
    """Whether since now every account has refreshed, after as many refusals with a status, as the provider counts."""
    before = stage.stats()

    def happened() -> bool:
        now = stage.stats()
        refusals = now["api_requests"].get(status, 0) - before["api_requests"].get(status, 0)
        refreshes = {person: now["refreshes"].get(person, 0) - before["refreshes"].get(person, 0) for person in PEOPLE}
        return bool(refusals >= len(PEOPLE) and min(refreshes.values()) > 0)

    return happened


def _check_no_failure(stage: Stage) -> None:
    stats = stage.stats()
    runs = sum(account.runs.total() for account in stage.progress.accounts.values())
    bad = {state for account in stage.progress.accounts.values() for state in account.runs} - {"succeeded"}
    stage.check(not bad, f"{runs} runs of {len(KEYS)} jobs, none failed", sorted(bad))
    calls = stats["token_calls"]["refresh_token"]
    stage.check(set(calls) == {"granted"}, f"{calls.get('granted', 0)} refreshes so far, none in vain", calls)
