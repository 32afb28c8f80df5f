"""What was over before a route was told: neither the trouble nor its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store_helpers import DEAD, NOW, enrol

from worker.config.sections.notify import EVENTS
from worker.states import AccountState
from worker.store.notifications import Addressee
from worker.store.records import Finding

if TYPE_CHECKING:
    from worker.store.store import Store

NEW = Addressee("new", EVENTS)
DOWN = Finding("down", "down!")


def _flag(store: Store, account: str = "acme") -> None:
    store.grants.flag(store.grants.read(store.accounts.get("arlo", account).id), DEAD, NOW)


def _told(store: Store, route: Addressee = NEW) -> list[tuple[str, str | None]]:
    """What the route is given now."""
    outbox = store.notifications
    items, _ = outbox.without_outdated(outbox.waiting(route, NOW), route, NOW)
    return [(item.event, item.account) for item in items]


def test_route_that_is_new_is_spared_what_was_mended(store: Store) -> None:
    """And told of what is not."""
    enrol(store)
    enrol(store, "zenith")
    _flag(store)
    _flag(store, "zenith")
    enrol(store)
    assert _told(store) == [("needs_consent", "zenith")]


def test_what_was_over_is_done_with(store: Store) -> None:
    """It does not wait on, and is no trouble of the route's."""
    enrol(store)
    _flag(store)
    enrol(store)
    assert _told(store) == []
    assert list(store.notifications.waiting(NEW, NOW)) == []


def test_route_that_was_told_of_trouble_is_told_of_its_end(store: Store) -> None:
    """As ever."""
    enrol(store)
    _flag(store)
    store.notifications.delivered(store.notifications.waiting(NEW, NOW), "new", NOW)
    enrol(store)
    assert _told(store) == [("recovered", "acme")]


def test_route_that_was_tried_in_vain_is_told_of_the_end_alone(store: Store) -> None:
    """It may have taken the trouble before it failed."""
    enrol(store)
    _flag(store)
    store.notifications.failed(store.notifications.waiting(NEW, NOW), "new", "timeout", NOW, NOW)
    enrol(store)
    assert _told(store) == [("recovered", "acme")]


def test_later_trouble_is_told_without_what_went_before(store: Store) -> None:
    """Flagged, mended, flagged again."""
    enrol(store)
    for _ in range(2):
        _flag(store)
        enrol(store)
    _flag(store)
    assert _told(store) == [("needs_consent", "acme")]


def test_account_that_was_taken_away_needs_nobody(store: Store) -> None:
    """Revoking writes no recovery."""
    grant = enrol(store)
    _flag(store)
    store.grants.erase(grant.account, NOW)
    assert store.accounts.get("arlo", "acme").state is AccountState.REVOKED
    assert _told(store) == []


def test_account_that_is_paused_in_its_trouble_is_told_of(store: Store) -> None:
    """A pause mends nothing."""
    enrol(store)
    _flag(store)
    store.accounts.pause(store.accounts.get("arlo", "acme"), NOW, "holiday")
    assert _told(store) == [("needs_consent", "acme")]


def test_incident_that_is_over_is_not_told_and_another_is(store: Store) -> None:
    """By what it is and when it began."""
    for kind in ("down", "client_refused"):
        store.incidents.report("arlo", kind, DOWN, NOW, remedy="mend it", not_before=NOW)
    store.incidents.close("arlo", "down", NOW + 1)
    outbox = store.notifications
    items, _ = outbox.without_outdated(outbox.waiting(NEW, NOW), NEW, NOW)
    assert [(item.event, item.facts["cause"]) for item in items] == [("incident", "client_refused")]


def test_route_that_takes_recoveries_alone_is_given_them(store: Store) -> None:
    """It was never to be told of trouble."""
    enrol(store)
    _flag(store)
    enrol(store)
    assert _told(store, Addressee("calm", ("recovered",))) == [("recovered", "acme")]
