"""Account and run states, and the moves between them. One table each; the store refuses any other move."""

from __future__ import annotations

from enum import StrEnum


class AccountState(StrEnum):
    """Where an account stands."""

    ACTIVE = "active"
    #: The grant is dead or lacks a scope; only a human can mend it.
    NEEDS_CONSENT = "needs_consent"
    #: A refresh was interrupted and its outcome is unknown; the next use settles it.
    IN_DOUBT = "in_doubt"
    #: Set aside by the operator.
    PAUSED = "paused"
    #: Removed on purpose; the grant was given back to the provider.
    REVOKED = "revoked"


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    #: Failed in a way that a pause mends; the same run goes on at its next attempt.
    RETRYING = "retrying"
    #: Not started, for the reason recorded with it.
    SKIPPED = "skipped"
    #: The process ended while it ran; a new run starts first thing.
    INTERRUPTED = "interrupted"
    TIMED_OUT = "timed_out"


_A = AccountState
ACCOUNT_MOVES: dict[AccountState, frozenset[AccountState]] = {
    _A.ACTIVE: frozenset({_A.NEEDS_CONSENT, _A.IN_DOUBT, _A.PAUSED, _A.REVOKED}),
    _A.NEEDS_CONSENT: frozenset({_A.ACTIVE, _A.PAUSED, _A.REVOKED}),
    _A.IN_DOUBT: frozenset({_A.ACTIVE, _A.NEEDS_CONSENT, _A.PAUSED, _A.REVOKED}),
    # Resuming returns to where the account stood before the pause, which is recorded with it.
    _A.PAUSED: frozenset({_A.ACTIVE, _A.NEEDS_CONSENT, _A.IN_DOUBT, _A.REVOKED}),
    _A.REVOKED: frozenset({_A.ACTIVE}),
}

_R = RunState
RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    _R.QUEUED: frozenset({_R.RUNNING, _R.SKIPPED, _R.INTERRUPTED}),
    _R.RUNNING: frozenset({_R.SUCCEEDED, _R.FAILED, _R.RETRYING, _R.SKIPPED, _R.INTERRUPTED, _R.TIMED_OUT}),
    _R.RETRYING: frozenset({_R.RUNNING, _R.FAILED, _R.SKIPPED, _R.INTERRUPTED}),
    _R.SUCCEEDED: frozenset(),
    _R.FAILED: frozenset(),
    _R.SKIPPED: frozenset(),
    _R.INTERRUPTED: frozenset(),
    _R.TIMED_OUT: frozenset(),
}

#: States in which a job may use the account's grant. In doubt counts: the next use is what settles it.
USABLE = frozenset({AccountState.ACTIVE, AccountState.IN_DOUBT})
#: Runs that are over.
FINISHED = frozenset(state for state, moves in RUN_MOVES.items() if not moves)
