"""Grants and the transactions of a refresh: every answer, and every generation that has moved on meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from store_helpers import (
    ACCESS,
    DEAD,
    LATER,
    NOW,
    REFRESH,
    SILENCE,
    consent,
    enrol,
    entry,
    race,
    schedule,
    tokens,
)

from worker.errors import NeedsConsent, TamperedSecret, UsageFault
from worker.redact import Secret
from worker.states import AccountState
from worker.store.grants import GenerationMoved
from worker.store.records import SCOPE_MISSING, Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.store.records import Grant
    from worker.store.store import Store


def _again(store: Store, grant: Grant) -> Grant:
    return store.grants.read(grant.account.id)


def _refresh_token(store: Store, grant: Grant) -> str:
    return store.grants.read_refresh_token(_again(store, grant)).reveal()


# Enrolment


def test_consent_makes_an_active_account_of_generation_one(store: Store) -> None:
    """An account comes to be together with its grant."""
    grant = enrol(store)
    assert (grant.account.label, grant.account.state, grant.generation) == ("arlo/acme", AccountState.ACTIVE, 1)


def test_consent_stores_what_was_granted(store: Store, grant: Grant) -> None:
    """Read back by another transaction."""
    found = _again(store, grant)
    assert found == grant
    assert found.access_token == Secret(ACCESS)
    assert (found.scopes, found.lifetime, found.expires_at) == (("read", "offline_access"), 3600.0, NOW + 3600.0)


def test_consent_keeps_the_scopes_that_were_granted(store: Store) -> None:
    """They may be fewer than requested."""
    grant = enrol(store, tokens=replace(tokens(), scopes=("read",)))
    assert (grant.scopes, grant.requested_scopes) == (("read",), ("read", "offline_access"))


def test_consent_again_is_the_same_account_with_the_next_generation(store: Store, grant: Grant) -> None:
    """Re-consent in place: same id, same history."""
    renewed = enrol(store, tokens=tokens("new-access-token", "new-refresh-token"))
    assert (renewed.account.id, renewed.account.uid) == (grant.account.id, grant.account.uid)
    assert (renewed.generation, _refresh_token(store, grant)) == (2, "new-refresh-token")


@pytest.mark.parametrize("state", ["needs_consent", "in_doubt", "paused", "revoked"])
def test_consent_makes_an_account_active_from_any_state(store: Store, grant: Grant, state: str) -> None:
    """Whatever was wrong with it, a human has just consented."""
    _bring(store, grant, state)
    account = enrol(store).account
    assert (account.state, account.cause, account.reason) == (AccountState.ACTIVE, "", "")


def _bring(store: Store, grant: Grant, state: str) -> None:
    account = grant.account
    if state == "needs_consent":
        store.grants.flag(grant, DEAD, NOW)
    elif state == "in_doubt":
        store.grants.leave_in_doubt(grant, SILENCE, NOW, not_before=NOW + 9)
    elif state == "paused":
        store.accounts.pause(account, NOW, "")
    else:
        store.grants.erase(account, NOW)
    assert store.accounts.by_id(account.id).state == state


def test_consent_clears_intent_failures_and_doubt(store: Store, grant: Grant) -> None:
    """Nothing of the old grant's troubles sticks to the new one."""
    store.grants.begin_refresh(grant, "me", NOW)
    store.grants.leave_in_doubt(grant, SILENCE, NOW, not_before=NOW + 9)
    found = _again(store, enrol(store))
    assert (found.failures, found.failing_since, found.not_before, found.intent_started_at) == (0, None, None, None)
    assert (store.grants.doubt_of(found), store.grants.open_intents()) == ("", [])


def test_consent_without_identity_forgets_the_old_one(store: Store, grant: Grant) -> None:
    """Who consented now is unknown; the old name would be a guess."""
    enrol(store, identity={})
    assert store.grants.read_identity(grant.account.id) == {}


def test_consent_of_the_same_person_without_a_refresh_token_keeps_the_old_one(store: Store, grant: Grant) -> None:
    """Some providers send it only the first time."""
    renewed = enrol(store, tokens=tokens("new-access-token", None))
    assert (renewed.generation, _refresh_token(store, grant)) == (2, REFRESH)


@pytest.mark.parametrize("identity", [{"subject": "s2"}, {}])
def test_consent_of_somebody_else_keeps_no_refresh_token(store: Store, grant: Grant, identity: dict[str, str]) -> None:
    """Or of nobody knows whom: the old token may be another person's."""
    assert not enrol(store, identity=identity, tokens=tokens("new-access-token", None)).has_refresh_token


def test_consent_is_the_way_out_of_values_that_do_not_open(store: Store, grant: Grant) -> None:
    """Whatever stands in the row, a new grant replaces it."""
    for name in ("sealed_identity", "sealed_access_token", "sealed_refresh_token"):
        _put(store, grant, name, b"broken")
    assert enrol(store, tokens=tokens("new-access-token", "new-refresh-token")) == _again(store, grant)


def test_two_first_consents_at_once_make_one_account(store: Store) -> None:
    """Two enrolments of the same new name: the second one is a re-consent, not an error."""
    outcomes = race(8, lambda _: enrol(store).generation)
    assert sorted(outcomes, key=str) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(store.accounts.list()) == 1


# The intent


def test_intent_is_seen_by_whoever_reads_next(store: Store, grant: Grant) -> None:
    """Durable before the request is sent."""
    assert store.grants.begin_refresh(grant, "me", NOW + 5) == 0
    assert _again(store, grant).intent_started_at == NOW + 5
    assert store.grants.open_intents() == [grant.account.id]


def test_intent_counts_attempts_and_keeps_its_first_moment(store: Store, grant: Grant) -> None:
    """How often the token was sent, and since when its fate is unknown."""
    attempts = [store.grants.begin_refresh(grant, "me", NOW + step) for step in range(3)]
    assert (attempts, _again(store, grant).intent_started_at) == ([0, 1, 2], NOW)


def test_intent_of_an_older_generation_counts_for_nothing(store: Store, grant: Grant) -> None:
    """It speaks of a refresh token that is not there any more."""
    store.grants.begin_refresh(grant, "me", NOW)
    with store.database.write() as session:
        session.execute(text("UPDATE refresh_intent SET generation = 0"))
    assert _again(store, grant).intent_started_at is None
    assert store.grants.begin_refresh(grant, "me", NOW + 5) == 0
    assert _again(store, grant).intent_started_at == NOW + 5


# Complete


def test_completed_refresh_replaces_everything_at_once(store: Store, grant: Grant) -> None:
    """Tokens, generation, time; the intent is gone."""
    store.grants.begin_refresh(grant, "me", NOW)
    new = store.grants.complete_refresh(grant, replace(tokens(), scopes=("read",)), NOW + 1)
    assert new == _again(store, grant)
    assert (new.generation, new.access_token, new.scopes) == (2, Secret("second-access-token"), ("read",))
    assert (new.refreshed_at, new.intent_started_at) == (NOW + 1, None)
    assert _refresh_token(store, grant) == "second-refresh-token"


def test_completed_refresh_without_scopes_keeps_the_old_ones(store: Store, grant: Grant) -> None:
    """No scope in the answer means unchanged (RFC 6749, section 6)."""
    assert store.grants.complete_refresh(grant, tokens(), NOW).scopes == grant.scopes


def test_omitted_refresh_token_is_kept_and_sealed_anew(store: Store, grant: Grant) -> None:
    """The old token under the new generation: the ciphertext moves on with it, twice."""
    second = store.grants.complete_refresh(grant, tokens("second-access", None), NOW)
    third = store.grants.complete_refresh(second, tokens("third-access", None), NOW)
    assert (third.generation, third.has_refresh_token, _refresh_token(store, grant)) == (3, True, REFRESH)


def test_completed_refresh_without_any_refresh_token_stores_none(store: Store) -> None:
    """Some providers never give one."""
    grant = enrol(store, tokens=tokens(ACCESS, None))
    assert not store.grants.complete_refresh(grant, tokens("next-access", None), NOW).has_refresh_token


def test_grant_without_refresh_token_says_so(store: Store) -> None:
    """The hint names what to ask for."""
    grant = enrol(store, tokens=tokens(ACCESS, None))
    with pytest.raises(NeedsConsent, match="has no refresh token") as caught:
        store.grants.read_refresh_token(grant)
    assert "offline access" in caught.value.hint


def test_completed_refresh_settles_a_doubt(store: Store, grant: Grant) -> None:
    """In doubt, then an answer: active, with nothing left of the reason."""
    _bring(store, grant, "in_doubt")
    account = store.grants.complete_refresh(grant, tokens(), NOW).account
    assert (account.state, account.cause, account.reason) == (AccountState.ACTIVE, "", "")


def test_completed_refresh_settles_a_doubt_behind_a_pause(store: Store, grant: Grant) -> None:
    """Paused stays paused, but it does not resume into a doubt that is settled."""
    _bring(store, grant, "in_doubt")
    _bring(store, grant, "paused")
    assert store.grants.complete_refresh(grant, tokens(), NOW).account.state == AccountState.PAUSED
    assert store.accounts.resume(grant.account, NOW).state == AccountState.ACTIVE


def test_completed_refresh_leaves_a_missing_scope_flagged(store: Store, grant: Grant) -> None:
    """A refresh brings no scope."""
    store.accounts.flag_scope(grant.account, Finding(SCOPE_MISSING, "lacks write"), NOW)
    account = store.grants.complete_refresh(_again(store, grant), tokens(), NOW).account
    assert (account.state, account.cause) == (AccountState.NEEDS_CONSENT, SCOPE_MISSING)


def test_completed_refresh_forgets_earlier_failures(store: Store, grant: Grant) -> None:
    """The next one starts without a wait."""
    store.grants.begin_refresh(grant, "me", NOW)
    store.grants.fail_refresh(grant, LATER, NOW, not_before=NOW + 60, doubt="an answer 502")
    new = store.grants.complete_refresh(grant, tokens(), NOW)
    assert (new.failures, new.failing_since, new.not_before, store.grants.doubt_of(new)) == (0, None, None, "")


# Fail


def test_failed_refresh_keeps_grant_and_state(store: Store, grant: Grant) -> None:
    """A 503 says nothing about the account."""
    store.grants.begin_refresh(grant, "me", NOW)
    store.grants.fail_refresh(grant, LATER, NOW + 1, not_before=NOW + 60)
    found = _again(store, grant)
    assert (found.generation, found.access_token, found.account.state) == (1, Secret(ACCESS), AccountState.ACTIVE)
    assert (found.failures, found.failing_since, found.not_before, found.intent_started_at) == (
        1,
        NOW + 1,
        NOW + 60,
        None,
    )


def test_failures_count_from_the_first_one(store: Store, grant: Grant) -> None:
    """Failing since then, so many times."""
    for step in (1, 2, 3):
        store.grants.begin_refresh(grant, "me", NOW)
        store.grants.fail_refresh(grant, LATER, NOW + step, not_before=NOW + 60 * step)
    found = _again(store, grant)
    assert (found.failures, found.failing_since, found.not_before) == (3, NOW + 1, NOW + 180)


def test_failed_refresh_remembers_an_answer_that_may_hide_a_rotation(store: Store, grant: Grant) -> None:
    """A 502 from a proxy, then a clear 503: the doubt stays with this generation."""
    for doubt in ("an answer 502", ""):
        store.grants.begin_refresh(grant, "me", NOW)
        store.grants.fail_refresh(grant, LATER, NOW, not_before=NOW, doubt=doubt)
    assert store.grants.doubt_of(grant) == "an answer 502"


def test_failed_refresh_after_silence_keeps_the_doubt(store: Store, grant: Grant) -> None:
    """No answer, then a 503: the first attempt may still have spent the refresh token."""
    store.grants.begin_refresh(grant, "me", NOW)
    store.grants.leave_in_doubt(grant, SILENCE, NOW, not_before=NOW)
    store.grants.begin_refresh(_again(store, grant), "me", NOW + 9)
    store.grants.fail_refresh(grant, LATER, NOW + 9, not_before=NOW + 60)
    assert store.grants.doubt_of(grant) == "a refresh begun at 2026-01-01T00:00:00.000Z whose outcome is unknown"
    assert _again(store, grant).account.state == AccountState.IN_DOUBT


def test_failed_first_attempt_casts_no_doubt(store: Store, grant: Grant) -> None:
    """An answer came, and it was no answer of a rotation."""
    store.grants.begin_refresh(grant, "me", NOW)
    store.grants.fail_refresh(grant, LATER, NOW, not_before=NOW)
    assert store.grants.doubt_of(grant) == ""


# In doubt


def test_silence_leaves_the_intent_and_the_doubt(store: Store, grant: Grant) -> None:
    """The outcome is unknown, and stays known to be unknown."""
    store.grants.begin_refresh(grant, "me", NOW)
    store.grants.leave_in_doubt(grant, SILENCE, NOW + 1, not_before=NOW + 60)
    found = _again(store, grant)
    assert (found.account.state, found.intent_started_at, found.not_before) == (AccountState.IN_DOUBT, NOW, NOW + 60)
    assert found.account.reason == SILENCE.reason


def test_silence_again_is_no_second_move(store: Store, grant: Grant) -> None:
    """In doubt already: a failure more."""
    _bring(store, grant, "in_doubt")
    store.grants.leave_in_doubt(grant, SILENCE, NOW + 1, not_before=NOW + 60)
    kinds = [item.kind for item in store.timeline.of(grant.account)]
    assert kinds == ["state", "state", "refresh_failed"]


# Flag


def test_flag_keeps_the_refresh_token(store: Store, grant: Grant) -> None:
    """Until a consent replaces it: the verdict may have been wrong."""
    store.grants.begin_refresh(grant, "me", NOW)
    account = store.grants.flag(grant, DEAD, NOW)
    assert (account.state, account.cause, account.reason) == (AccountState.NEEDS_CONSENT, "revoked", DEAD.reason)
    assert (_refresh_token(store, grant), store.grants.open_intents()) == (REFRESH, [])


def test_flag_behind_a_pause_shows_after_it(store: Store, grant: Grant) -> None:
    """Paused stays paused; resumed it needs consent, for the reason that was found."""
    _bring(store, grant, "paused")
    assert store.grants.flag(grant, DEAD, NOW).state == AccountState.PAUSED
    account = store.accounts.resume(grant.account, NOW)
    assert (account.state, account.cause, account.reason) == (AccountState.NEEDS_CONSENT, "revoked", DEAD.reason)


@pytest.mark.parametrize(
    "words", ["half a pair \ud800", "a NUL \0 inside", "ünïcödé \N{GRINNING FACE}"], ids=["surrogate", "nul", "unicode"]
)
def test_flag_takes_any_words_and_evidence(store: Store, grant: Grant, words: str) -> None:
    """A provider's strangest answer must not keep an account from being flagged."""
    store.grants.flag(grant, Finding("revoked", words, {"said": words, "raw": words.encode(errors="replace")}), NOW)
    assert store.accounts.by_id(grant.account.id).state == AccountState.NEEDS_CONSENT
    assert store.timeline.of(grant.account)[-1].evidence["said"] == words


# The generation


_WRITES: dict[str, Callable[[Store, Grant], object]] = {
    "read_refresh_token": lambda store, grant: store.grants.read_refresh_token(grant),
    "begin": lambda store, grant: store.grants.begin_refresh(grant, "me", NOW),
    "complete": lambda store, grant: store.grants.complete_refresh(grant, tokens("late-access", "late-refresh"), NOW),
    "fail": lambda store, grant: store.grants.fail_refresh(grant, LATER, NOW, not_before=NOW),
    "leave_in_doubt": lambda store, grant: store.grants.leave_in_doubt(grant, SILENCE, NOW, not_before=NOW),
    "flag": lambda store, grant: store.grants.flag(grant, DEAD, NOW),
}


@pytest.mark.parametrize("write", _WRITES)
def test_step_on_an_older_generation_is_refused(store: Store, grant: Grant, write: str) -> None:
    """Somebody has refreshed meanwhile."""
    store.grants.complete_refresh(grant, tokens(), NOW)
    with pytest.raises(GenerationMoved):
        _WRITES[write](store, grant)


@pytest.mark.parametrize("write", _WRITES)
def test_consent_during_a_refresh_wins(store: Store, grant: Grant, write: str) -> None:
    """Whatever becomes of the old grant's request, the human's new grant stays as it is."""
    store.grants.begin_refresh(grant, "me", NOW)
    renewed = enrol(store, tokens=tokens("consented-access", "consented-refresh"))
    history = len(store.timeline.of(grant.account))
    with pytest.raises(GenerationMoved):
        _WRITES[write](store, grant)
    assert _again(store, grant) == renewed
    assert _refresh_token(store, grant) == "consented-refresh"
    assert len(store.timeline.of(grant.account)) == history


def test_one_of_many_completions_of_a_generation_wins(store: Store, grant: Grant) -> None:
    """Compare and swap: on PostgreSQL, too, only one transaction moves a generation."""
    outcomes = race(
        16, lambda number: store.grants.complete_refresh(grant, tokens(f"access-{number}", f"refresh-{number}"), NOW)
    )
    winners = [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
    assert len(winners) == 1
    assert {type(outcome) for outcome in outcomes if isinstance(outcome, Exception)} == {GenerationMoved}
    assert (_again(store, grant).generation, _refresh_token(store, grant)) == (2, f"refresh-{winners[0]}")


def test_consent_and_completion_at_once_never_lose_the_consent(store: Store, grant: Grant) -> None:
    """Either the refresh came first and was replaced, or it is refused."""

    def act(number: int) -> object:
        if number:
            return store.grants.complete_refresh(grant, tokens(), NOW)
        return enrol(store, tokens=tokens("consented-access", "consented-refresh"))

    race(4, act)
    assert _refresh_token(store, grant) == "consented-refresh"


def test_generation_goes_on_after_revocation_and_new_consent(store: Store, grant: Grant) -> None:
    """Whoever holds generation 1 in memory must see that the new grant is newer."""
    store.grants.erase(grant.account, NOW)
    assert enrol(store).generation > grant.generation


def test_refused_generation_is_remembered_for_that_generation_only(store: Store, grant: Grant) -> None:
    """The API refuses a fresh token: no refresh mends that, until there is another one."""
    store.grants.set_refused(grant, refused=True)
    assert _again(store, grant).refused_generation == 1
    new = store.grants.complete_refresh(grant, tokens(), NOW)
    store.grants.set_refused(grant, refused=True)
    assert (new.refused_generation, _again(store, grant).refused_generation) == (None, None)


def test_refused_generation_can_be_forgotten(store: Store, grant: Grant) -> None:
    """It was accepted after all."""
    store.grants.set_refused(grant, refused=True)
    store.grants.set_refused(grant, refused=False)
    assert _again(store, grant).refused_generation is None


def test_refused_token_that_was_taken_elsewhere_is_alive(store: Store, grant: Grant) -> None:
    """The refusal is about something else; forgotten with the next generation."""
    store.grants.set_refused(grant, refused=True)
    store.grants.set_alive(grant)
    assert _again(store, grant).refused_alive
    assert not store.grants.complete_refresh(grant, tokens(), NOW).refused_alive


def test_token_that_was_not_refused_is_not_called_alive(store: Store, grant: Grant) -> None:
    """Late news about an older generation changes nothing either."""
    store.grants.set_alive(grant)
    assert not _again(store, grant).refused_alive


# Identity


def test_identity_reads_back(store: Store, grant: Grant) -> None:
    """Who consented."""
    assert store.grants.read_identity(grant.account.id) == {"subject": "s1"}


def test_identity_belongs_to_the_consent_not_to_the_tokens(store: Store, grant: Grant) -> None:
    """It survives refreshes without being sealed anew."""
    store.grants.complete_refresh(grant, tokens(), NOW)
    assert store.grants.read_identity(grant.account.id) == {"subject": "s1"}


def test_identity_of_an_older_consent_is_refused(store: Store, grant: Grant) -> None:
    """Put back by hand after a re-consent, it does not open."""
    old = _column(store, grant, "sealed_identity")
    enrol(store, identity={"subject": "s2"})
    _put(store, grant, "sealed_identity", old)
    with pytest.raises(TamperedSecret, match="field identity, generation 2"):
        store.grants.read_identity(grant.account.id)


# Ciphertexts that were moved


def test_refresh_token_of_another_account_is_refused(store: Store, grant: Grant) -> None:
    """Whoever can write the database cannot make one account speak with another's grant."""
    other = enrol(store, "beta")
    _put(store, grant, "sealed_refresh_token", _column(store, other, "sealed_refresh_token"))
    with pytest.raises(TamperedSecret, match=grant.account.uid):
        store.grants.read_refresh_token(grant)


def test_access_token_in_the_place_of_a_refresh_token_is_refused(store: Store, grant: Grant) -> None:
    """Nor one field with another's."""
    _put(store, grant, "sealed_refresh_token", _column(store, grant, "sealed_access_token"))
    with pytest.raises(TamperedSecret, match="refresh_token"):
        store.grants.read_refresh_token(grant)


def test_spent_refresh_token_put_back_is_refused(store: Store, grant: Grant) -> None:
    """Nor bring back a generation that is over."""
    old = _column(store, grant, "sealed_refresh_token")
    new = store.grants.complete_refresh(grant, tokens(), NOW)
    _put(store, grant, "sealed_refresh_token", old)
    with pytest.raises(TamperedSecret, match="generation 2"):
        store.grants.read_refresh_token(new)


def test_removed_account_made_again_does_not_open_old_values(store: Store, grant: Grant) -> None:
    """Same name, same number perhaps, but another row."""
    old = _column(store, grant, "sealed_access_token")
    store.accounts.remove(grant.account)
    again = enrol(store)
    _put(store, again, "sealed_access_token", old)
    found = _again(store, again)
    assert (found.access_token, again.account.uid in found.unreadable) == (None, True)


def _column(store: Store, grant: Grant, name: str) -> bytes:
    with store.database.read() as session:
        query = text(f"SELECT {name} FROM grant_ WHERE account_id = :id")
        return bytes(session.execute(query, {"id": grant.account.id}).scalar_one())


def _put(store: Store, grant: Grant, name: str, value: bytes) -> None:
    with store.database.write() as session:
        statement = text(f"UPDATE grant_ SET {name} = :value WHERE account_id = :id")
        session.execute(statement, {"id": grant.account.id, "value": value})


# Revocation, removal, crashes


def test_erased_grant_needs_consent_and_leaves_no_ciphertext(store: Store, grant: Grant) -> None:
    """Given back: the account's history stays, its tokens do not."""
    store.grants.begin_refresh(grant, "me", NOW)
    store.grants.erase(grant.account, NOW)
    with pytest.raises(NeedsConsent, match="arlo/acme has no grant: it is revoked"):
        _again(store, grant)
    with store.database.read() as session:
        query = text("SELECT sealed_refresh_token, sealed_access_token, sealed_identity FROM grant_")
        assert tuple(session.execute(query).one()) == (None, None, None)
    assert (store.grants.open_intents(), store.grants.read_identity(grant.account.id)) == ([], {})


def test_answer_that_comes_after_a_revocation_is_refused(store: Store, grant: Grant) -> None:
    """No tokens for an account that was given up."""
    store.grants.erase(grant.account, NOW)
    with pytest.raises(NeedsConsent):
        store.grants.complete_refresh(grant, tokens(), NOW)


def test_answer_that_comes_after_a_removal_is_refused_clearly(store: Store, grant: Grant) -> None:
    """An error of ours, not the mapper's."""
    store.accounts.remove(grant.account)
    with pytest.raises(UsageFault, match="removed meanwhile"):
        store.grants.complete_refresh(grant, tokens(), NOW)


def test_refresh_cut_off_by_a_crash_is_marked_in_doubt(store: Store, grant: Grant, spawn) -> None:
    """SIGKILL between the request and the answer: the next process finds the intent and says what it means."""
    process = spawn("begin-refresh", store, "acme")
    assert process.line() == "begun"
    process.kill()
    assert store.grants.open_intents() == [grant.account.id]
    assert store.grants.interrupted(NOW + 9, frozenset({grant.account.id})) == 1
    found = _again(store, grant)
    assert (found.account.state, found.account.cause) == (AccountState.IN_DOUBT, "interrupted")
    assert f"process {process.process.pid} stopped during a refresh" in found.account.reason
    assert found.intent_started_at == NOW


def test_refresh_of_a_live_process_is_not_in_doubt(store: Store, grant: Grant) -> None:
    """Only intents whose holder is gone count."""
    store.grants.begin_refresh(grant, "me", NOW)
    assert store.grants.interrupted(NOW, frozenset()) == 0
    assert _again(store, grant).account.state == AccountState.ACTIVE


def test_interrupted_refresh_is_told_once(store: Store, grant: Grant) -> None:
    """Already in doubt: nothing more to say."""
    store.grants.begin_refresh(grant, "me", NOW)
    gone = frozenset({grant.account.id})
    assert [store.grants.interrupted(NOW, gone) for _ in range(2)] == [1, 0]


def test_consent_wakes_what_was_missed(store: Store, grant: Grant) -> None:
    """In the same transaction: missed runs are due now."""
    due = schedule(store, grant)
    account = store.grants.flag(grant, DEAD, NOW)
    store.runs.skip(replace(due, account=account), "needs consent", NOW, NOW + 3600)
    store.grants.store_consent(consent(), NOW + 100)
    woken = entry(store, grant)
    assert (woken.next_due, woken.trigger, woken.missed_since) == (NOW + 100, "catch_up", NOW)
