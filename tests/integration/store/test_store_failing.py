"""Refreshes that fail for long, on both databases: who is told of, and how often."""

from __future__ import annotations

import pytest
from store_helpers import LATER, NOW, enrol, race, tokens

from worker.store.failing import AGAIN

HOUR = 3600.0


@pytest.fixture
def failed(store, grant):
    """The account's refresh failed now."""
    store.grants.fail_refresh(grant, LATER, NOW, not_before=NOW + 2)
    return grant


def names(found):
    return [failing.account.name for failing in found]


def test_failing_grant_is_handed_out_when_its_time_has_come(store, failed):
    """Not a second before."""
    assert names(store.failing.tell("arlo", 6 * HOUR, NOW + 6 * HOUR - 1)) == []
    assert names(store.failing.tell("arlo", 6 * HOUR, NOW + 6 * HOUR)) == ["acme"]


def test_failing_grant_is_handed_out_once_a_day(store, failed):
    """And again when a day has passed."""
    moments = [NOW + 6 * HOUR, NOW + 7 * HOUR, NOW + 6 * HOUR + AGAIN - 1, NOW + 6 * HOUR + AGAIN]
    assert [len(store.failing.tell("arlo", 6 * HOUR, moment)) for moment in moments] == [1, 0, 0, 1]


def test_failing_grant_is_handed_out_to_one_of_many(store, failed):
    """Eight who look at the same moment."""
    assert sorted(race(8, lambda _: len(store.failing.tell("arlo", HOUR, NOW + HOUR)))) == [0] * 7 + [1]


def test_failing_grant_is_handed_out_at_once_when_it_has_to_wait_that_long(store, grant):
    """A `Retry-After` of a day."""
    store.grants.fail_refresh(grant, LATER, NOW, not_before=NOW + 24 * HOUR)
    (failing,) = store.failing.tell("arlo", 6 * HOUR, NOW + 1)
    assert failing.words.endswith("; the next attempt at 2026-01-02T00:00:00.000Z")


def test_failing_grant_comes_with_its_story(store, failed):
    """Since when, how often, and what came last."""
    store.grants.fail_refresh(failed, LATER, NOW + HOUR, not_before=NOW + HOUR + 2)
    (failing,) = store.failing.tell("arlo", 6 * HOUR, NOW + 6 * HOUR)
    assert (failing.since, failing.attempts, failing.last_answer) == (NOW, 2, LATER.reason)
    assert failing.words == f"failing for 6 h, 2 attempts, last answer: {LATER.reason}"
    assert store.timeline.of(failed.account)[-1].message == failing.words


def test_failing_grants_of_other_integrations_are_theirs(store, failed):
    """Each integration has its own threshold."""
    assert store.failing.tell("books", 0.0, NOW + 99 * HOUR) == []


def test_grant_that_works_is_not_handed_out(store, failed):
    """A success ends it, the alarm too."""
    store.failing.tell("arlo", 6 * HOUR, NOW + 6 * HOUR)
    fresh = store.grants.complete_refresh(store.grants.read(failed.account.id), tokens(), NOW + 7 * HOUR)
    assert (fresh.alerted_at, store.failing.tell("arlo", 0.0, NOW + 99 * HOUR)) == (None, [])


def test_alarm_and_its_end_are_kept_in_the_outbox(store, failed):
    """For an account that stayed active all the while."""
    from worker.store.notifications import Addressee

    store.failing.tell("arlo", 6 * HOUR, NOW + 6 * HOUR)
    store.grants.complete_refresh(store.grants.read(failed.account.id), tokens(), NOW + 7 * HOUR)
    told = store.notifications.waiting(Addressee("mail", ("failing", "recovered")), NOW + 7 * HOUR)
    assert [item.event for item in told] == ["failing", "recovered"]


def test_every_enrolled_account_is_looked_at(store, failed):
    """Not only the first."""
    other = enrol(store, "other")
    store.grants.fail_refresh(other, LATER, NOW, not_before=NOW + 2)
    assert names(store.failing.tell("arlo", HOUR, NOW + HOUR)) == ["acme", "other"]
