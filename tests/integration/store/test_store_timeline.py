"""The timeline: every move with its cause and evidence, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store_helpers import DEAD, LATER, NOW, enrol, tokens

from worker.store.records import Finding

if TYPE_CHECKING:
    from worker.store.records import Grant
    from worker.store.store import Store


def test_timeline_tells_the_story_in_order(store: Store, grant: Grant) -> None:
    """Enrolled, refreshed, failed, flagged, consented."""
    second = store.grants.complete_refresh(grant, tokens(), NOW + 1)
    store.grants.fail_refresh(second, LATER, NOW + 2, not_before=NOW)
    store.grants.flag(second, DEAD, NOW + 3)
    enrol(store)
    story = [(item.kind, item.before, item.after, item.cause) for item in store.timeline.of(grant.account)]
    assert story == [
        ("state", "active", "active", "enrolled"),
        ("refreshed", None, None, "refreshed"),
        ("refresh_failed", None, None, "try again later"),
        ("state", "active", "needs_consent", "revoked"),
        ("state", "needs_consent", "active", "consented"),
    ]


def test_timeline_keeps_evidence_message_and_generation(store: Store, grant: Grant) -> None:
    """What was seen, for whoever asks why."""
    store.grants.fail_refresh(grant, LATER, NOW + 2, not_before=NOW)
    item = store.timeline.of(grant.account)[-1]
    assert (item.at, item.message, item.evidence, item.generation) == (NOW + 2, LATER.reason, {"status": 503}, 1)


def test_timeline_of_one_account_has_nothing_of_another(store: Store, grant: Grant) -> None:
    """Each its own."""
    store.grants.flag(enrol(store, "beta"), DEAD, NOW)
    assert len(store.timeline.of(grant.account)) == 1


def test_timeline_with_a_limit_gives_the_newest_oldest_first(store: Store, grant: Grant) -> None:
    """The end of the story, in reading order."""
    for number in range(5):
        store.timeline.add(grant.account, "note", Finding("note", str(number)), NOW)
    assert [item.message for item in store.timeline.of(grant.account, 2)] == ["3", "4"]


def test_timeline_entry_names_its_run(store: Store, grant: Grant) -> None:
    """When it came of one."""
    store.timeline.add(grant.account, "note", Finding("note", ""), NOW, run_id="r1")
    assert store.timeline.of(grant.account)[-1].run_id == "r1"


def test_prune_forgets_old_routine_and_keeps_every_move(store: Store, grant: Grant) -> None:
    """A year of refreshes goes, and a year of 503s; that it was flagged once stays."""
    store.grants.fail_refresh(grant, LATER, NOW, not_before=NOW)
    second = store.grants.complete_refresh(grant, tokens(), NOW + 1)
    third = store.grants.complete_refresh(second, tokens(), NOW + 100)
    store.grants.flag(third, DEAD, NOW + 2)
    assert store.timeline.prune(NOW + 50) == 2
    assert [item.kind for item in store.timeline.of(grant.account)] == ["state", "refreshed", "state"]


def test_prune_keeps_what_was_found_behind_a_pause(store: Store, grant: Grant) -> None:
    """It is why the account needs consent when the pause ends, a year later."""
    paused = store.accounts.pause(grant.account, NOW, "")
    store.grants.flag(grant, DEAD, NOW)
    store.timeline.prune(NOW + 999)
    assert store.accounts.resume(paused, NOW + 999).reason == DEAD.reason
