"""Accounts: names, states, and the moves that are allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from store_helpers import DEAD, NOW, enrol, entry, schedule

from worker.errors import UsageFault, WorkerError
from worker.states import AccountState
from worker.store.records import SCOPE_MISSING, Finding

if TYPE_CHECKING:
    from worker.store.records import Grant
    from worker.store.store import Store

_NO_SCOPE = Finding(SCOPE_MISSING, "job sync lacks write", {"missing_scopes": ["write"]})


def test_unknown_account_is_none_or_a_fault_with_a_hint(store: Store) -> None:
    """To look, and to insist."""
    assert store.accounts.find("arlo", "nobody") is None
    with pytest.raises(UsageFault, match="no account arlo/nobody") as caught:
        store.accounts.get("arlo", "nobody")
    assert "worker enroll arlo nobody" in caught.value.hint


def test_account_is_found_by_name_and_by_number(store: Store, grant: Grant) -> None:
    """The same record."""
    assert store.accounts.get("arlo", "acme") == store.accounts.by_id(grant.account.id) == grant.account


def test_removed_account_is_a_fault_by_number(store: Store, grant: Grant) -> None:
    """An error of ours."""
    store.accounts.remove(grant.account)
    with pytest.raises(UsageFault, match="removed"):
        store.accounts.by_id(grant.account.id)


def test_accounts_are_listed_by_integration_and_name(store: Store) -> None:
    """Or those of one integration."""
    for integration, name in (("b", "x"), ("a", "z"), ("a", "y")):
        enrol(store, name, integration=integration)
    assert [account.label for account in store.accounts.list()] == ["a/y", "a/z", "b/x"]
    assert [account.label for account in store.accounts.list("b")] == ["b/x"]


def test_names_that_differ_in_case_are_different_accounts(store: Store) -> None:
    """On both databases."""
    assert enrol(store, "Acme").account.id != enrol(store, "acme").account.id


def test_paused_account_resumes_where_it_stood(store: Store, grant: Grant) -> None:
    """Active before, active after."""
    assert store.accounts.pause(grant.account, NOW, "holiday").state == AccountState.PAUSED
    assert store.accounts.by_id(grant.account.id).reason == "holiday"
    resumed = store.accounts.resume(grant.account, NOW + 5)
    assert (resumed.state, resumed.state_since) == (AccountState.ACTIVE, NOW + 5)


def test_pause_twice_is_one_pause(store: Store, grant: Grant) -> None:
    """It does not resume into a pause."""
    for _ in range(2):
        store.accounts.pause(grant.account, NOW, "")
    assert store.accounts.resume(grant.account, NOW).state == AccountState.ACTIVE


def test_flagged_account_paused_and_resumed_needs_consent_for_the_same_reason(store: Store, grant: Grant) -> None:
    """A pause mends nothing and hides nothing."""
    flagged = store.grants.flag(grant, DEAD, NOW)
    store.accounts.pause(flagged, NOW, "")
    resumed = store.accounts.resume(flagged, NOW)
    assert (resumed.state, resumed.cause, resumed.reason) == (AccountState.NEEDS_CONSENT, "revoked", DEAD.reason)


def test_account_without_a_scope_stays_usable_after_a_pause(store: Store, grant: Grant) -> None:
    """Its grant works: the other jobs go on as before."""
    flagged = store.accounts.flag_scope(grant.account, _NO_SCOPE, NOW)
    assert flagged.usable
    store.accounts.pause(flagged, NOW, "")
    assert store.accounts.resume(flagged, NOW).usable


def test_resume_makes_missed_runs_due(store: Store, grant: Grant) -> None:
    """A daily job does not wait until tomorrow."""
    due = schedule(store, grant)
    paused = store.accounts.pause(grant.account, NOW, "")
    store.runs.skip(replace(due, account=paused), "paused", NOW, NOW + 86400)
    store.accounts.resume(paused, NOW + 10)
    assert (entry(store, grant).next_due, entry(store, grant).trigger) == (NOW + 10, "catch_up")


def test_resume_does_not_unpark_a_job(store: Store, grant: Grant) -> None:
    """The scope is still missing."""
    schedule(store, grant)
    store.schedule.park("sync", grant.account.id, "lacks a scope", [])
    store.accounts.resume(store.accounts.pause(grant.account, NOW, ""), NOW)
    assert entry(store, grant).parked == "lacks a scope"


def test_resume_of_an_account_that_is_not_paused_is_a_fault(store: Store, grant: Grant) -> None:
    """With its state."""
    with pytest.raises(UsageFault, match="not paused; it is active"):
        store.accounts.resume(grant.account, NOW)


def test_revoked_account_cannot_be_paused(store: Store, grant: Grant) -> None:
    """The table of moves does not allow it, and nothing is written."""
    store.grants.erase(grant.account, NOW)
    with pytest.raises(WorkerError, match="arlo/acme cannot go from revoked to paused"):
        store.accounts.pause(grant.account, NOW, "")
    assert store.accounts.by_id(grant.account.id).state == AccountState.REVOKED


def test_missing_scope_flags_a_usable_account(store: Store, grant: Grant) -> None:
    """And tells what is missing."""
    account = store.accounts.flag_scope(grant.account, _NO_SCOPE, NOW)
    assert (account.state, account.cause, account.usable) == (AccountState.NEEDS_CONSENT, SCOPE_MISSING, True)


def test_missing_scope_does_not_soften_a_dead_grant(store: Store, grant: Grant) -> None:
    """The worse reason stays."""
    store.grants.flag(grant, DEAD, NOW)
    account = store.accounts.flag_scope(grant.account, _NO_SCOPE, NOW)
    assert (account.cause, account.usable) == ("revoked", False)


def test_missing_scope_leaves_a_paused_account_paused(store: Store, grant: Grant) -> None:
    """The operator's word stands."""
    store.accounts.pause(grant.account, NOW, "")
    assert store.accounts.flag_scope(grant.account, _NO_SCOPE, NOW).state == AccountState.PAUSED


def test_missing_scope_found_during_a_pause_is_told_when_it_ends(store: Store, grant: Grant) -> None:
    """By a run that was under way."""
    store.accounts.pause(grant.account, NOW, "")
    store.accounts.flag_scope(grant.account, _NO_SCOPE, NOW)
    account = store.accounts.resume(grant.account, NOW)
    assert (account.state, account.cause, account.usable) == (AccountState.NEEDS_CONSENT, SCOPE_MISSING, True)


def test_missing_scope_found_during_a_pause_does_not_soften_a_dead_grant(store: Store, grant: Grant) -> None:
    """The worse reason stays, behind a pause as well."""
    store.grants.flag(grant, DEAD, NOW)
    store.accounts.pause(grant.account, NOW, "")
    store.accounts.flag_scope(grant.account, _NO_SCOPE, NOW)
    assert store.accounts.resume(grant.account, NOW).cause == "revoked"


def test_state_since_counts_from_the_move_not_from_the_last_word(store: Store, grant: Grant) -> None:
    """A second reason in the same state does not start the time anew."""
    store.accounts.flag_scope(grant.account, _NO_SCOPE, NOW + 5)
    again = store.accounts.flag_scope(grant.account, replace(_NO_SCOPE, reason="job other lacks admin"), NOW + 50)
    assert (again.state_since, again.reason) == (NOW + 5, "job other lacks admin")


def test_removed_account_takes_everything_with_it(store: Store, grant: Grant) -> None:
    """Grant, schedule, runs, timeline, intent; the neighbour keeps its own."""
    for mine in (grant, enrol(store, "beta")):
        due = schedule(store, mine, f"sync-{mine.account.name}")
        store.schedule.claim(due, NOW, NOW + 60, "me", "first")
        store.grants.begin_refresh(mine, "me", NOW)
    store.accounts.remove(grant.account)
    with store.database.read() as session:
        for table in ("grant_", "schedule", "run", "timeline", "refresh_intent"):
            owners = session.execute(text(f"SELECT DISTINCT account_id FROM {table}")).scalars().all()
            assert grant.account.id not in owners
            assert len(owners) == 1
