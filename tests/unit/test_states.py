"""The tables of allowed moves: complete, and without a trap."""

import pytest

from worker.states import ACCOUNT_MOVES, FINISHED, RUN_MOVES, USABLE, AccountState, RunState


def test_account_moves_name_every_state() -> None:
    """A state without a row would be a KeyError at the worst moment."""
    assert set(ACCOUNT_MOVES) == set(AccountState)


def test_run_moves_name_every_state() -> None:
    """Likewise for runs."""
    assert set(RUN_MOVES) == set(RunState)


def test_no_account_state_is_a_dead_end() -> None:
    """From everywhere a consent leads back to active."""
    assert all(AccountState.ACTIVE in moves for state, moves in ACCOUNT_MOVES.items() if state != AccountState.ACTIVE)


def test_no_account_state_moves_to_itself() -> None:
    """Staying is not a move of the table."""
    assert not [state for state, moves in ACCOUNT_MOVES.items() if state in moves]


def test_only_a_working_grant_can_fall_into_doubt() -> None:
    """Nobody refreshes the grant of an account that needs consent or was revoked."""
    sources = {state for state, moves in ACCOUNT_MOVES.items() if AccountState.IN_DOUBT in moves}
    assert sources == {AccountState.ACTIVE, AccountState.PAUSED}


def test_revoked_account_comes_back_only_by_consent() -> None:
    """No pause, no doubt, no flag."""
    assert ACCOUNT_MOVES[AccountState.REVOKED] == {AccountState.ACTIVE}


def test_usable_states_are_active_and_in_doubt() -> None:
    """The next use is what settles a doubt."""
    assert {AccountState.ACTIVE, AccountState.IN_DOUBT} == USABLE


@pytest.mark.parametrize("state", ["succeeded", "failed", "skipped", "interrupted", "timed_out"])
def test_finished_run_state_has_no_way_out(state: str) -> None:
    """What is over stays as it was recorded."""
    assert RunState(state) in FINISHED


def test_run_states_are_those_of_the_contract() -> None:
    """These are the run states that operators see."""
    assert " ".join(RunState) == "queued running succeeded failed retrying skipped interrupted timed_out"
