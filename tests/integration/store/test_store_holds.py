"""Held refusals on both databases: counted together, decided together, never half."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from store_helpers import DEAD, NOW, SILENCE, enrol, entry, race, schedule, tokens

from worker.states import AccountState
from worker.store.grants import GenerationMoved
from worker.store.holds import GRANTS_REFUSED
from worker.store.records import Finding


@dataclass(frozen=True)
class Three:
    """Three refusals are too many; one probe after a minute."""

    within: float = 600.0

    def reached(self, refused: int, alive: int) -> bool:
        return refused >= 3 and alive >= refused

    def next_probe(self, opened: float, now: float) -> float | None:
        return now + 60 if now < opened + 60 else None


@pytest.fixture
def grants(store):
    """Six enrolled accounts' grants."""
    return [enrol(store, f"a{number}") for number in range(6)]


def refuse(store, grant, now=NOW):
    return store.holds.refuse(grant, DEAD, now, Three())


def states(store):
    return [str(account.state) for account in store.accounts.list()]


def test_refusals_are_held_from_the_third_on(store, grants):
    """The first two stay flagged, and are marked to come back with the others."""
    outcomes = [refuse(store, grant) for grant in grants[:4]]
    assert [(outcome.held, outcome.opened) for outcome in outcomes] == [
        (False, False), (False, False), (True, True), (True, False),
    ]  # fmt: skip
    assert states(store) == ["needs_consent", "needs_consent", "in_doubt", "in_doubt", "active", "active"]
    assert store.holds.held("arlo") == 4


def test_refusals_at_the_same_moment_are_counted_one_after_the_other(store, grants):
    """Six threads: two are flagged, four held, one incident."""
    outcomes = race(6, lambda number: refuse(store, grants[number]))
    assert sorted(outcome.held for outcome in outcomes) == [False, False, True, True, True, True]
    assert sum(outcome.opened for outcome in outcomes) == 1
    assert len(store.incidents.list()) == 1


def test_refusals_long_ago_do_not_count(store, grants):
    """Nor those that a clock set back has moved into the future."""
    for number, grant in enumerate(grants[:4]):
        assert not refuse(store, grant, NOW + number * 400).held
    assert not refuse(store, grants[4], NOW - 86400).held


def test_refusals_of_another_integration_do_not_count(store):
    """Each for itself."""
    for name in ("a", "b"):
        refuse(store, enrol(store, name))
    assert not refuse(store, enrol(store, "c", integration="books")).held


def test_refusal_of_an_older_generation_is_refused(store, grants):
    """Somebody rotated meanwhile."""
    store.grants.complete_refresh(grants[0], tokens(), NOW)
    with pytest.raises(GenerationMoved):
        refuse(store, grants[0])


def test_release_brings_everybody_back_and_wakes_what_was_missed(store, grants):
    """In one transaction with the end of the incident."""
    due = schedule(store, grants[3])
    for grant in grants[:4]:
        refuse(store, grant)
    store.runs.skip(entry(store, grants[3]), "held", NOW, NOW + 9e5)
    assert due.next_due == NOW
    moved = store.holds.release("arlo", NOW + 60, "canary a0 was refreshed")
    assert len(moved) == 4
    assert (set(states(store)), store.incidents.list()) == ({"active"}, [])
    assert entry(store, grants[3]).next_due == NOW + 60


def test_release_keeps_the_doubt_of_a_probe_that_was_not_answered(store, grants):
    """Its next use settles it."""
    for grant in grants[:4]:
        refuse(store, grant)
    held = store.grants.read(grants[3].account.id)
    store.grants.begin_refresh(held, "host 1", NOW)
    store.grants.leave_in_doubt(held, SILENCE, NOW, not_before=NOW + 60)
    store.holds.release("arlo", NOW + 60, "canary a0 was refreshed")
    grant = store.grants.read(grants[3].account.id)
    assert (grant.account.state, grant.account.cause, grant.intent_started_at) == (
        AccountState.IN_DOUBT,
        "no answer",
        NOW,
    )
    assert grant.account.usable


def test_confirm_flags_each_with_its_own_evidence(store, grants):
    """What was found when it was refused."""
    for number, grant in enumerate(grants[:4]):
        finding = Finding("revoked", f"refused as number {number}", {"status": 400, "number": number})
        store.holds.refuse(grant, finding, NOW, Three())
    moved = store.holds.confirm("arlo", NOW + 60)
    assert [one.account.reason for one in moved] == [f"refused as number {number}" for number in range(4)]
    assert store.timeline.of(grants[3].account)[-1].evidence["number"] == 3
    assert (states(store)[:4], store.incidents.list()) == (["needs_consent"] * 4, [])


@pytest.mark.parametrize("decide", ["release", "confirm"])
def test_decision_is_made_once(store, grants, decide):
    """The second finds nobody."""
    for grant in grants[:4]:
        refuse(store, grant)
    arguments = ("canary",) if decide == "release" else ()
    counts = race(2, lambda _: len(getattr(store.holds, decide)("arlo", NOW + 60, *arguments)))
    assert sorted(counts) == [0, 4]


@pytest.mark.parametrize("decide", ["release", "confirm"])
def test_account_that_was_held_once_is_not_held_again(store, grants, decide):
    """Its next refusal is its own, and counts for nobody else."""
    for grant in grants[:4]:
        refuse(store, grant)
    arguments = ("canary",) if decide == "release" else ()
    getattr(store.holds, decide)("arlo", NOW + 60, *arguments)
    if decide == "release":
        assert [refuse(store, grant, NOW + 61).held for grant in grants[:4]] == [False] * 4
    assert [refuse(store, grant, NOW + 62).held for grant in grants[4:]] == [False] * 2


def test_success_forgets_that_an_account_was_held(store, grants):
    """The next outage is another one."""
    for grant in grants[:4]:
        refuse(store, grant)
    store.holds.release("arlo", NOW + 60, "canary")
    fresh = [store.grants.complete_refresh(grant, tokens(), NOW + 61) for grant in grants[:4]]
    assert [refuse(store, grant, NOW + 3600).held for grant in fresh] == [False, False, True, True]


def test_canaries_are_those_that_can_tell(store, grants):
    """Nobody paused; last whoever may have lost a rotation meanwhile."""
    for grant in grants[:5]:
        refuse(store, grant)
    first, second, third = (grant.account for grant in grants[:3])
    store.accounts.pause(second, NOW, "")
    held = store.grants.read(first.id)
    store.grants.begin_refresh(held, "host 1", NOW)
    numbers = [third.id, grants[3].account.id, grants[4].account.id, first.id]
    assert list(store.holds.canaries("arlo")) == numbers


def test_incident_is_kept_in_the_outbox(store, grants):
    """Told when it opens, and when the accounts go on."""
    from worker.store.notifications import Addressee

    route = Addressee("mail", ("incident", "recovered"))
    for grant in grants[:4]:
        refuse(store, grant)
    store.holds.release("arlo", NOW + 60, "canary arlo/a0 was refreshed")
    told = store.notifications.waiting(route, NOW + 60)
    kinds = [(item.event, item.facts["cause"]) for item in told if item.account is None]
    assert kinds == [("incident", GRANTS_REFUSED), ("recovered", GRANTS_REFUSED)]
