"""Incidents: told once, counted after, at most one open of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store_helpers import NOW, enrol, entry, race, schedule

from worker.store.records import Finding

if TYPE_CHECKING:
    from worker.store.store import Store

_REFUSED = Finding("client refused", "the provider refuses the client", {"error": "invalid_client"})


def _report(store: Store, now: float = NOW, kind: str = "client_refused", integration: str = "arlo") -> bool:
    return store.incidents.report(integration, kind, _REFUSED, now, remedy="mend it", not_before=now + 30)


def test_first_report_opens_and_the_next_ones_count(store: Store) -> None:
    """Whoever is to be told is told once."""
    assert [_report(store, NOW + step) for step in range(3)] == [True, False, False]
    (incident,) = store.incidents.list()
    assert (incident.opened_at, incident.last_at, incident.occurrences) == (NOW, NOW + 2, 3)
    assert (incident.not_before, incident.closed_at) == (NOW + 32, None)


def test_incident_keeps_cause_remedy_and_evidence(store: Store) -> None:
    """What happened, what to do."""
    _report(store)
    found = store.incidents.find_open("arlo", "client_refused")
    assert found is not None
    assert (found.cause, found.remedy, found.evidence) == (_REFUSED.reason, "mend it", {"error": "invalid_client"})


def test_kinds_and_integrations_have_their_own_incidents(store: Store) -> None:
    """One fault does not hide another."""
    assert all((_report(store), _report(store, kind="down"), _report(store, integration="other")))


def test_closed_incident_is_history(store: Store) -> None:
    """Not open any more, listed when asked for; the next fault opens another."""
    _report(store)
    closed = store.incidents.close("arlo", "client_refused", NOW + 9)
    assert closed is not None
    assert closed.closed_at == NOW + 9
    assert (store.incidents.find_open("arlo", "client_refused"), store.incidents.list()) == (None, [])
    assert len(store.incidents.list(only_open=False)) == 1
    assert _report(store)


def test_end_of_an_incident_wakes_what_was_missed(store: Store) -> None:
    """In one transaction, so that no crash leaves it asleep until its next firing."""
    _report(store)
    grant = enrol(store)
    store.runs.skip(schedule(store, grant), "client refused", NOW, NOW + 86400)
    assert store.incidents.close("arlo", "client_refused", NOW + 9, wake=True)
    assert (entry(store, grant).next_due, entry(store, grant).trigger) == (NOW + 9, "catch_up")


def test_closing_what_is_not_open_is_nothing(store: Store) -> None:
    """The usual end of a refresh."""
    assert store.incidents.close("arlo", "client_refused", NOW) is None


def test_reports_at_once_open_one_incident(store: Store) -> None:
    """Sixteen accounts meet the same refusal; PostgreSQL too makes one of them the first."""
    outcomes = race(16, lambda _: _report(store))
    assert sorted(outcomes, key=str) == [False] * 15 + [True]
    assert [incident.occurrences for incident in store.incidents.list()] == [16]


def test_closings_at_once_close_it_once(store: Store) -> None:
    """One of them tells the good news."""
    _report(store)
    outcomes = race(8, lambda _: store.incidents.close("arlo", "client_refused", NOW))
    assert [outcome is not None for outcome in outcomes].count(True) == 1


def test_released_incident_stays_open_without_a_wait(store: Store) -> None:
    """Somebody has acted: the next attempt tells whether it helped."""
    _report(store)
    assert store.incidents.release("arlo", "client_refused", NOW + 1)
    found = store.incidents.find_open("arlo", "client_refused")
    assert found is not None
    assert found.not_before == NOW + 1


def test_releasing_what_is_not_open_is_nothing(store: Store) -> None:
    """No incident, no wait."""
    assert not store.incidents.release("arlo", "client_refused", NOW)
