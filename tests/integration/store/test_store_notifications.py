"""The outbox: written with what it tells of, handed to each route once, kept until the route took it."""

from __future__ import annotations

import pytest
from store_helpers import DEAD, NOW, enrol, schedule, tokens

from worker.config.sections.notify import EVENTS
from worker.states import AccountState
from worker.store import notifications
from worker.store.accounts import find_row, move
from worker.store.notifications import GIVEN_UP_AFTER, Addressee, Notification
from worker.store.records import SCOPE_MISSING, Finding
from worker.store.store import Store

OPS = Addressee("ops", EVENTS)
DAY = 86400.0


class _Crash(Exception):
    """The process ends here."""


def _flag(store: Store, account: str = "acme", now: float = NOW, finding: Finding = DEAD) -> None:
    grant = store.grants.read(store.accounts.get("arlo", account).id)
    store.grants.flag(grant, finding, now)


def _waiting(store: Store, now: float = NOW, route: Addressee = OPS) -> list[Notification]:
    return list(store.notifications.waiting(route, now))


def _events(store: Store, now: float = NOW, route: Addressee = OPS) -> list[tuple[str, str | None]]:
    return [(item.event, item.account) for item in _waiting(store, now, route)]


def test_events_of_the_config_are_those_of_the_outbox() -> None:
    """What can be asked for is what is written."""
    written = ("NEEDS_CONSENT", "INCIDENT", "FAILING", "HELD", "LATE", "RECOVERED")
    assert tuple(getattr(notifications, name) for name in written) == EVENTS


def test_flag_is_told_with_reason_evidence_and_remedy(store: Store) -> None:
    """Everything that whoever reads it has to know."""
    enrol(store)
    _flag(store)
    (item,) = _waiting(store)
    assert (item.event, item.integration, item.account) == ("needs_consent", "arlo", "acme")
    assert item.facts == {
        "cause": DEAD.cause,
        "reason": DEAD.reason,
        "remedy": "worker enroll arlo acme",
        "since": NOW,
        "evidence": DEAD.evidence,
    }


def test_missing_scope_is_told_with_what_to_add(store: Store) -> None:
    """The command alone would ask for the same scopes again."""
    grant = enrol(store)
    store.accounts.flag_scope(grant.account, Finding(SCOPE_MISSING, "lacks write"), NOW)
    (item,) = _waiting(store)
    assert item.facts["remedy"] == (
        "first add the scope to scopes under [integrations.arlo], then: worker enroll arlo acme"
    )


def test_undone_move_tells_nothing(store: Store) -> None:
    """The notification goes with the transaction that it tells of."""
    enrol(store)

    def move_and_crash() -> None:
        with store.database.write() as session:
            row = find_row(session, "arlo", "acme")
            assert row is not None
            move(session, row, AccountState.NEEDS_CONSENT, DEAD, NOW)
            raise _Crash

    with pytest.raises(_Crash):
        move_and_crash()
    assert _events(store) == []


def test_same_flag_again_is_no_news(store: Store) -> None:
    """Staying where it stands, for the same reason, is told once."""
    grant = enrol(store)
    for second in range(3):
        store.accounts.flag_scope(grant.account, Finding(SCOPE_MISSING, "lacks write"), NOW + second)
    assert _events(store, NOW + 3) == [("needs_consent", "acme")]


def test_flag_for_another_reason_is_news(store: Store) -> None:
    """First a scope was missing, now the grant is dead."""
    grant = enrol(store)
    store.accounts.flag_scope(grant.account, Finding(SCOPE_MISSING, "lacks write"), NOW)
    _flag(store, now=NOW + 1)
    assert [item.facts["cause"] for item in _waiting(store, NOW + 2)] == [SCOPE_MISSING, DEAD.cause]


def test_first_enrolment_tells_nothing(store: Store) -> None:
    """Nobody was told of trouble, so nobody is told of its end."""
    enrol(store)
    assert _events(store) == []


def test_consent_after_a_flag_is_told_as_recovered(store: Store) -> None:
    """Whoever was alarmed hears that it is over."""
    enrol(store)
    _flag(store)
    enrol(store)
    assert _events(store) == [("needs_consent", "acme"), ("recovered", "acme")]


def test_doubt_that_settles_is_not_told(store: Store) -> None:
    """Nobody has to do anything, neither before nor after."""
    grant = enrol(store)
    store.grants.begin_refresh(grant, "p", NOW)
    store.grants.leave_in_doubt(grant, Finding("no answer", "silence"), NOW, not_before=NOW)
    store.grants.complete_refresh(store.grants.read(grant.account.id), tokens(), NOW)
    assert _events(store) == []


def test_incident_is_told_when_it_opens_and_when_it_closes(store: Store) -> None:
    """Not when it is counted."""
    finding = Finding("client refused", "the provider refuses the client", {"error": "invalid_client"})
    for second in range(3):
        store.incidents.report("arlo", "client_refused", finding, NOW + second, remedy="mend it", not_before=NOW)
    store.incidents.close("arlo", "client_refused", NOW + 9)
    opened, closed = _waiting(store, NOW + 10)
    assert (opened.event, opened.facts["reason"], opened.facts["remedy"]) == ("incident", finding.reason, "mend it")
    assert (closed.event, closed.facts["cause"], closed.created_at) == ("recovered", "client_refused", NOW + 9)
    assert closed.facts["reason"] == f"over: {finding.reason}"


def test_route_gets_its_events_and_integrations_only(store: Store) -> None:
    """A filter holds back, and forgets nothing that others take."""
    enrol(store)
    _flag(store)
    assert _events(store, route=Addressee("quiet", ("incident",))) == []
    assert _events(store, route=Addressee("other", EVENTS, ("elsewhere",))) == []
    assert _events(store, route=Addressee("arlo", EVENTS, ("arlo",))) == [("needs_consent", "acme")]


def test_delivery_counts_for_its_route_alone(store: Store) -> None:
    """One route's success is not another's."""
    enrol(store)
    _flag(store)
    store.notifications.delivered(_waiting(store), "ops", NOW)
    assert _events(store) == []
    assert _events(store, route=Addressee("pager", EVENTS)) == [("needs_consent", "acme")]


def test_failed_delivery_waits_for_its_next_attempt(store: Store) -> None:
    """Not before, and with what was tried already."""
    enrol(store)
    _flag(store)
    store.notifications.failed(_waiting(store), "ops", "HTTP 500", NOW, NOW + 10)
    assert _events(store, NOW + 9) == []
    assert store.notifications.next_attempt("ops") == NOW + 10
    assert [item.attempts for item in _waiting(store, NOW + 10)] == [1]


def test_notification_is_given_up_after_a_day_of_failures(store: Store) -> None:
    """It is handed back, so that somebody can say so, and never tried again."""
    enrol(store)
    _flag(store)
    items = _waiting(store)
    assert list(store.notifications.failed(items, "ops", "HTTP 500", NOW + 60, NOW + 61)) == []
    late = NOW + GIVEN_UP_AFTER
    assert list(store.notifications.failed(items, "ops", "HTTP 500", late, late)) == items
    assert _events(store, late + 1) == []
    assert store.notifications.next_attempt("ops") is None


def test_new_route_is_not_given_what_is_older_than_a_day(store: Store) -> None:
    """The history is no news."""
    enrol(store)
    _flag(store)
    assert _events(store, NOW + GIVEN_UP_AFTER) == []


def test_route_gets_what_was_written_while_nobody_delivered(store: Store) -> None:
    """A worker that stood still for days has its old news told, if the route was served before."""
    enrol(store)
    _flag(store)
    store.notifications.delivered(_waiting(store), "ops", NOW)
    enrol(store, "beta")
    _flag(store, "beta")
    assert _events(store, NOW + 5 * DAY) == [("needs_consent", "beta")]


def test_reminder_comes_once_an_interval(store: Store) -> None:
    """As long as the account needs consent."""
    enrol(store)
    _flag(store)
    store.notifications.delivered(_waiting(store), "ops", NOW)
    assert [store.notifications.remind(OPS, DAY, NOW + hours * 3600) for hours in (12, 23, 25, 26)] == [0, 0, 1, 0]
    (item,) = _waiting(store, NOW + 26 * 3600)
    assert (item.event, item.facts["reminder"], item.facts["since"]) == ("needs_consent", True, NOW)


def test_reminder_is_for_the_route_that_wants_it(store: Store) -> None:
    """Another one has its own interval, or none."""
    enrol(store)
    _flag(store)
    store.notifications.remind(OPS, DAY, NOW + 2 * DAY)
    assert _events(store, NOW + 2 * DAY, Addressee("pager", EVENTS)) == []


@pytest.mark.parametrize("route", [Addressee("ops", ("incident",)), Addressee("ops", EVENTS, ("elsewhere",))])
def test_route_is_reminded_of_what_it_takes_only(store: Store, route: Addressee) -> None:
    """Nothing is written that nobody would be given."""
    enrol(store)
    _flag(store)
    assert store.notifications.remind(route, DAY, NOW + 2 * DAY) == 0


def test_reminders_of_several_accounts_fall_together(store: Store) -> None:
    """One message a day, whenever each was flagged."""
    for hour, account in enumerate(("acme", "beta", "corp")):
        enrol(store, account)
        _flag(store, account, NOW + hour * 3600)
    assert store.notifications.remind(OPS, DAY, NOW + DAY + 60) == 3


def test_reminders_end(store: Store) -> None:
    """Nobody reads the fifteenth."""
    enrol(store)
    _flag(store)
    reminded = [store.notifications.remind(OPS, DAY, NOW + day * DAY + 60) for day in range(1, 20)]
    assert sum(reminded) == 13


def test_account_that_recovered_is_not_reminded_of(store: Store) -> None:
    """Only those that still need consent."""
    enrol(store)
    _flag(store)
    enrol(store)
    assert store.notifications.remind(OPS, DAY, NOW + 2 * DAY) == 0


def test_jobs_that_wait_for_the_account_are_counted(store: Store) -> None:
    """A firing that was skipped because somebody has to consent."""
    grant = enrol(store)
    due = schedule(store, grant)
    schedule(store, grant, "other")
    _flag(store)
    due = next(one for one in store.schedule.due(NOW + 1, 10) if one.job == due.job)
    store.runs.skip(due, "needs consent", NOW + 1, NOW + 60)
    assert store.notifications.jobs_waiting("arlo", "acme") == 1


def test_pruning_keeps_a_month(store: Store) -> None:
    """Reminders count by what was told, however short the history."""
    enrol(store)
    _flag(store)
    assert store.notifications.prune(NOW + 40 * DAY, NOW + 30 * DAY) == 0
    assert store.notifications.prune(NOW + 40 * DAY, NOW + 40 * DAY) == 1


def test_long_failure_is_told_and_so_is_its_end(store: Store) -> None:
    """Whoever hands out the alarm writes it into the outbox in the same transaction."""
    grant = enrol(store)
    store.grants.fail_refresh(grant, Finding("try again later", "503"), NOW, not_before=NOW)
    store.failing.tell("arlo", 3600.0, NOW + 7200)
    store.grants.complete_refresh(store.grants.read(grant.account.id), tokens(), NOW + 7300)
    assert _events(store, NOW + 7300) == [("failing", "acme"), ("recovered", "acme")]


class _Always:
    """A rule by which every refusal is one of many."""

    within = 600.0

    def reached(self, _refused: int, _alive: int) -> bool:
        return True

    def next_probe(self, _opened: float, now: float) -> float | None:
        return now + 60


def test_held_refusals_are_one_incident_until_they_are_confirmed(store: Store) -> None:
    """Then each account's owner is told; nobody before."""
    for account in ("acme", "beta"):
        store.holds.refuse(enrol(store, account), Finding("revoked", "invalid_grant"), NOW, _Always())
    assert _events(store) == [("incident", None)]
    store.holds.confirm("arlo", NOW + 60)
    assert _events(store, NOW + 60)[1:] == [("needs_consent", "acme"), ("needs_consent", "beta")]


def test_released_refusals_end_with_the_incident(store: Store) -> None:
    """Nobody had to consent, so no owner hears of it."""
    for account in ("acme", "beta"):
        store.holds.refuse(enrol(store, account), Finding("revoked", "invalid_grant"), NOW, _Always())
    store.holds.release("arlo", NOW + 60, "the canary was answered")
    assert _events(store, NOW + 60) == [("incident", None), ("recovered", None)]
