"""What people are told after a restore: what it has cost, and nothing that was news when the backup was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restore_story import LATER
from store_helpers import DEAD, NOW, enrol

from worker.store.notifications import Addressee

if TYPE_CHECKING:
    from restore_story import Story

OPS = Addressee("ops", ("needs_consent", "incident", "failing", "recovered"))


def _waiting(story: Story) -> list[tuple[str, str | None, str]]:
    """What a route would be given now."""
    items = story.store.notifications.waiting(OPS, LATER)
    return [(item.event, item.account, item.facts["cause"]) for item in items]


def test_marked_account_is_left_in_the_outbox(story: Story) -> None:
    """The restore itself may end before anybody is told; whoever opens the store next does it."""
    account = enrol(story.store).account
    story.back_up()
    story.refresh(account)
    story.restore()
    assert _waiting(story) == [("needs_consent", "acme", "restored")]


def test_account_that_the_backup_does_not_hold_is_left_in_the_outbox(story: Story) -> None:
    """It has no row any more that could be found by anybody later."""
    story.back_up()
    enrol(story.store)
    story.restore()
    (item,) = story.store.notifications.waiting(OPS, LATER)
    assert (item.event, item.account) == ("needs_consent", "acme")
    assert item.facts["remedy"] == "worker enroll arlo acme"


def test_outbox_of_the_backup_is_no_news(story: Story) -> None:
    """It was told since, or has been over for long; and the account that it was about is well."""
    grant = enrol(story.store)
    story.store.grants.flag(grant, DEAD, NOW)
    enrol(story.store)
    assert len(story.store.notifications.waiting(OPS, NOW)) == 2
    story.back_up()
    story.restore()
    assert _waiting(story) == []


def test_people_are_reminded_of_accounts_that_need_consent_still(story: Story) -> None:
    """Whether they were told before the old machine was lost, nobody knows."""
    story.store.grants.flag(enrol(story.store), DEAD, NOW)
    story.back_up()
    story.restore()
    (item,) = story.store.notifications.waiting(OPS, LATER)
    assert (item.account, item.facts["cause"], item.facts["reminder"]) == ("acme", "revoked", True)


def test_outbox_is_kept_when_only_the_witness_is_missing(story: Story) -> None:
    """The database may well be what it was: its news still is."""
    story.store.grants.flag(enrol(story.store), DEAD, NOW)
    story.store.close()
    story.place.witness.unlink()
    story.open()
    (item,) = story.store.notifications.waiting(OPS, LATER)
    assert "reminder" not in item.facts
