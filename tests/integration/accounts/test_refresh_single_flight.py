"""One refresh per token lifetime, whoever wants the token, on both databases."""

from __future__ import annotations

import pytest
from account_house import SCOPES, House, at_once

from worker.errors import NeedsConsent


@pytest.fixture
def shared(tmp_path, store, clock, sandbox):
    """A house on either database."""
    sandbox.set(token_delay=0.1, api_delay=0.005)
    return House(tmp_path, store, clock, sandbox)


def get(session):
    return lambda: session.get("events/").status_code


def test_sixteen_threads_of_one_session_refresh_once(shared, sandbox):
    """A dead token met by a crowd: one call, everybody served, the grant alive."""
    session = shared.session(shared.enrol())
    session.get("events/")
    sandbox.expire()
    assert at_once([get(session)] * 16) == [200] * 16
    assert (shared.refresh_calls, sandbox.stats()["reuse_detected"]) == (1, 0)


def test_sixteen_sessions_of_one_account_refresh_once(shared, sandbox):
    """Each with a token of its own in hand, as runs of different jobs have."""
    account = shared.enrol()
    sessions = [shared.session(account, refresher=shared.new_refresher()) for _ in range(16)]
    for session in sessions:
        session.get("events/")
    sandbox.expire()
    assert at_once([get(session) for session in sessions]) == [200] * 16
    assert (shared.refresh_calls, sandbox.stats()["grants"]) == (1, {"acme": 1})


def test_crowd_asks_a_dead_grant_once(shared, sandbox):
    """Revoked: one call, one flag, the same error for all."""
    account = shared.enrol()
    sandbox.revoke("acme")
    sessions = [shared.session(account) for _ in range(16)]
    caught = at_once([get(session) for session in sessions])
    assert [type(one) for one in caught] == [NeedsConsent] * 16
    assert (shared.refresh_calls, shared.account().state) == (1, "needs_consent")


def test_accounts_do_not_wait_for_each_other(shared, sandbox):
    """The lock is the account's: calls of different accounts overlap."""
    sandbox.set(token_delay=0.5)
    accounts = [shared.enrol(name) for name in ("a", "b", "c")]
    sandbox.expire()
    at_once([get(shared.session(account)) for account in accounts])
    assert sandbox.stats()["peak_concurrent_token_calls"] == 3


def test_re_consent_during_a_refresh_is_not_overwritten(shared, sandbox):
    """A human consents while a refresh is under way: the newer grant stays, whatever the late answer says."""
    account = shared.enrol(scopes=SCOPES)
    sandbox.set(token_delay=0.4)
    results = at_once([lambda: shared.refresh(account).generation, lambda: shared.consent().grant.generation])
    assert sorted(results) == [2, 3]
    assert shared.session(account).get("events/").status_code == 200
    assert sandbox.stats()["reuse_detected"] == 0
