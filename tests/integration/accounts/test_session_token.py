"""The token in hand: sent without a call while it is good, replaced before sending once it has lapsed."""

from __future__ import annotations

import pytest
from account_house import SCOPES, at_once

from worker.errors import NeedsConsent, WorkerError

YEAR = 365 * 86400.0


def set_our_clock(clock, sandbox, seconds):
    """Set the wall clock of this machine alone: the provider, which lives by the same one here, stays where it is."""
    clock.set_wall(clock.now() + seconds)
    sandbox.advance(-seconds)


def test_session_sends_the_cached_token_without_a_call(house, sandbox):
    """Ten requests with a good token: the authorization server hears nothing."""
    session = house.session(house.enrol())
    assert [session.get("events/").status_code for _ in range(10)] == [200] * 10
    assert sandbox.stats()["token_calls_total"] == 0


def test_session_refreshes_a_lapsed_token_before_sending(house, sandbox, clock):
    """A token past its `expires_in` is never sent: the API sees no rejection."""
    session = house.session(house.enrol())
    session.get("events/")
    clock.advance(3600)
    assert session.get("events/").status_code == 200
    assert (house.refresh_calls, sandbox.stats()["rejections"]) == (1, {})


def test_session_in_another_process_refreshes_a_lapsed_token(house, sandbox, clock):
    """A session that begins with a stored token beyond its time refreshes it first."""
    account = house.enrol()
    clock.advance(4000)
    assert house.session(account).get("events/").status_code == 200
    assert (house.refresh_calls, sandbox.stats()["rejections"]) == (1, {})


def test_session_does_not_refresh_a_token_ahead_of_time(house, clock):
    """Two seconds before its end a token of an hour is still good."""
    session = house.session(house.enrol())
    clock.advance(3598)
    assert session.get("events/").status_code == 200
    assert house.refresh_calls == 0


@pytest.mark.parametrize("lifetime", [1, 2, 4, 10, 60, 3600])
def test_session_margin_is_never_above_a_quarter_of_the_lifetime(house, sandbox, clock, lifetime):
    """With three quarters of its lifetime gone, a token of any lifetime is still sent."""
    sandbox.set(access_ttl=lifetime)
    session = house.session(house.enrol())
    clock.advance(lifetime * 0.75)
    session.get("events/")
    assert house.refresh_calls == 0


def test_session_takes_what_another_session_has_refreshed(house, sandbox, clock):
    """A lapsed token is replaced by what the store has, without a call of its own."""
    account = house.enrol()
    first, second = house.session(account), house.session(account)
    first.get("events/")
    second.get("events/")
    clock.advance(3600)
    first.get("events/")
    assert second.get("events/").status_code == 200
    assert house.refresh_calls == 1


def test_session_does_not_send_a_stored_token_that_has_lapsed_meanwhile(house, sandbox, clock):
    """A long idle session finds a newer generation in the store, lapsed as well: it refreshes, and sends it not."""
    account = house.enrol()
    idle, busy = house.session(account), house.session(account)
    idle.get("events/")
    clock.advance(3600)
    busy.get("events/")
    clock.advance(3600)
    assert idle.get("events/").status_code == 200
    assert (house.refresh_calls, sandbox.stats()["rejections"]) == (2, {})


def test_session_believes_the_monotonic_clock_when_the_wall_clock_is_set_back(house, sandbox, clock):
    """Set back by a day, the wall clock cannot make a token live longer."""
    session = house.session(house.enrol())
    session.get("events/")
    clock.advance(3600)
    clock.set_wall(clock.now() - 86400)
    session.get("events/")
    assert house.refresh_calls == 1


def test_session_that_begins_after_the_clock_was_set_back_gives_a_token_no_more_than_its_lifetime(house, clock):
    """A token that seems to come from tomorrow is good for its lifetime, not for a day longer."""
    account = house.enrol()
    clock.set_wall(clock.now() - 86400)
    session = house.session(account)
    session.get("events/")
    clock.advance(3600)
    session.get("events/")
    assert house.refresh_calls == 1


def test_session_sends_its_token_on_when_the_wall_clock_jumps_forward(house, sandbox, clock):
    """A wrong clock is no reason to refresh: the API takes the token, and nobody else is asked."""
    session = house.session(house.enrol())
    session.get("events/")
    set_our_clock(clock, sandbox, YEAR)
    assert [session.get("events/").status_code for _ in range(3)] == [200] * 3
    assert house.refresh_calls == 0


def test_sessions_of_all_accounts_send_their_tokens_on_when_the_wall_clock_jumps_forward(house, sandbox, clock):
    """No mass refresh: ten accounts, whose runs begin after the jump, cost no call."""
    accounts = [house.enrol(f"acme-{number}") for number in range(10)]
    set_our_clock(clock, sandbox, YEAR)
    assert [house.session(account).get("events/").status_code for account in accounts] == [200] * 10
    assert house.refresh_calls == 0


def test_session_lets_the_api_decide_about_a_token_that_a_jump_has_hidden(house, sandbox, clock):
    """The machine stood still and the token did lapse: one rejected request, one refresh."""
    session = house.session(house.enrol())
    clock.set_wall(clock.now() + 7200)
    assert session.get("events/").status_code == 200
    assert (house.refresh_calls, sum(sandbox.stats()["rejections"].values())) == (1, 1)


def test_session_counts_a_token_fetched_under_a_wrong_clock_from_the_right_moment(house, sandbox, clock):
    """Refreshed while the clock was a year ahead, and set right again: it is good for its hour and no longer."""
    account = house.enrol()
    session = house.session(account)
    set_our_clock(clock, sandbox, YEAR)
    sandbox.expire()
    session.get("events/")
    set_our_clock(clock, sandbox, -YEAR)
    clock.advance(1800)
    assert session.get("events/").status_code == 200
    assert house.refresh_calls == 1
    clock.advance(1800)
    session.get("events/")
    assert house.refresh_calls == 2


def test_session_uses_a_token_without_lifetime_until_it_is_rejected(house, sandbox, clock):
    """No `expires_in`: only the API can say that it is over."""
    issued = sandbox.grant("acme")
    account = house.admit("acme", issued["access_token"], issued["refresh_token"], lifetime=None)
    session = house.session(account)
    session.get("events/")
    clock.advance(1800)
    session.get("events/")
    assert house.refresh_calls == 0
    clock.advance(3600)
    assert session.get("events/").status_code == 200
    assert (house.refresh_calls, sandbox.stats()["rejections"].get("expired_token")) == (1, 1)


def test_session_counts_the_generations_it_has_seen(house, sandbox):
    """What a run records as its refreshes."""
    session = house.session(house.enrol())
    session.get("events/")
    sandbox.expire()
    session.get("events/")
    assert (session.refreshes, session.requests_sent) == (1, 3)


def test_session_of_a_paused_account_says_how_to_resume_it(house, clock):
    """A pause stops the next session, with the command that ends it."""
    account = house.enrol()
    house.store.accounts.pause(account, clock.now(), "")
    with pytest.raises(WorkerError, match="is paused") as caught:
        house.session(account).get("events/")
    assert caught.value.hint == "worker accounts resume arlo acme"


def test_session_of_a_flagged_account_makes_no_call(house, sandbox):
    """Once flagged, an account is not asked about again: the error names the command that mends it."""
    account = house.enrol()
    sandbox.revoke("acme")
    with pytest.raises(NeedsConsent):
        house.session(account).get("events/")
    sandbox.reset_stats()
    with pytest.raises(NeedsConsent) as caught:
        house.session(account).get("events/")
    assert caught.value.hint == "worker enroll arlo acme"
    assert sandbox.stats()["token_calls_total"] == 0
    assert sandbox.stats()["api_requests_total"] == 0


def test_session_goes_on_for_an_account_that_merely_lacks_a_scope(house, clock):
    """Flagged for a missing scope, the grant itself still works, refreshes included."""
    from worker.store.records import SCOPE_MISSING, Finding

    account = house.enrol()
    house.store.accounts.flag_scope(account, Finding(SCOPE_MISSING, "job x lacks y"), clock.now())
    clock.advance(3600)
    assert house.session(account).get("events/").status_code == 200


def test_session_shared_by_threads_refreshes_a_lapsed_token_once(house, sandbox, clock):
    """Sixteen threads of one session at the end of a lifetime: one call, everybody served."""
    sandbox.set(token_delay=0.05)
    session = house.session(house.enrol(scopes=SCOPES))
    session.get("events/")
    clock.advance(3600)
    answers = at_once([lambda: session.get("events/").status_code] * 16)
    assert answers == [200] * 16
    assert (house.refresh_calls, sandbox.stats()["rejections"]) == (1, {})
