"""The oracle of the fault harness: what it lets pass, and what it calls a violation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fault_harness import faults
from fault_harness.operations.refresh import Refresh
from fault_harness.oracle import Evidence, Outcome
from fault_harness.place import Stored
from fault_harness.processes import Ended
from fault_harness.provider import Counted
from fault_harness.restart import Report
from fault_harness.steps import At, Progress, Step
from fault_harness.trial import Trial, TrialId

ROWS = [0, 1, 2, 3, 4, 5]
BEFORE = Counted(granted=0, reused=0, repeated=0, redeemed=0, calls=0, alive=1)
ROTATED = replace(BEFORE, granted=1, calls=1)
CAUGHT = replace(ROTATED, reused=1, calls=2)
SAYS_LOST = Report(
    exists=True,
    state="needs_consent",
    cause="lost in rotation",
    reason="lost in rotation: the provider refuses the refresh token",
    run=("skipped", "api/acme needs consent"),
    healed=True,
)
RUNS = Report(exists=True, state="active", ran=True, run=("succeeded", ""))


def stored(generation):
    """A store with one account whose grant has come so far."""
    return Stored({"grant_": [{"generation": generation}], "account": [{"state": "active"}]}, {}, sound=True)


def evidence(**changes):
    """A stop before anything was sent, after which the account went on."""
    settings = {
        "fault": faults.NONE,
        "victim": Ended(-9),
        "stopped": True,
        "before": BEFORE,
        "after": BEFORE,
        "end": ROTATED,
        "stored": stored(1),
        "rows": ROWS,
        "said": RUNS,
        "taken": True,
    }
    return Evidence(**(settings | changes))


def lost(**changes):
    """A stop after the provider had rotated and before the commit; told as what it is."""
    return evidence(**({"after": ROTATED, "end": CAUGHT, "said": SAYS_LOST} | changes))


def judged(given):
    """By the judge of a refresh."""
    trial = Trial(TrialId("refresh", given.fault.name, 1, "kill"), given.fault, None, None, "user")
    return Refresh().judge(trial, given)


def test_oracle_lets_an_account_go_on():
    """Nothing was lost, and it ran."""
    assert judged(evidence()).outcome is Outcome.WENT_ON


def test_oracle_lets_a_lost_token_be_told():
    """The one loss that nobody can prevent."""
    assert judged(lost()).outcome is Outcome.LOST


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (evidence(said=SAYS_LOST), "no human is needed"),
        (evidence(said=replace(RUNS, ran=False)), "no human is needed"),
        (evidence(said=replace(RUNS, state="in_doubt")), "no human is needed"),
        (evidence(end=replace(ROTATED, alive=0)), "the grant has died"),
        (evidence(end=CAUGHT), "a spent token was presented 1 times"),
        (evidence(end=replace(ROTATED, granted=2)), "2 refreshes were granted"),
        (evidence(taken=False), "not the living one"),
        (evidence(rows=ROWS[:-1]), "the sink holds"),
        (evidence(rows=[*ROWS, 5]), "the sink holds"),
        (evidence(said=replace(RUNS, refused="KeyUnusable: no")), "the store does not open"),
        (evidence(said=replace(RUNS, undecryptable="TamperedSecret: no")), "does not open"),
        (evidence(victim=Ended(-9, hung=True)), "hung"),
        (evidence(stored=replace(stored(1), sound=False)), "damaged"),
        (lost(said=replace(SAYS_LOST, cause="revoked", reason="the provider refuses it")), "lost in rotation, and it"),
        (lost(end=replace(CAUGHT, reused=2)), "presented 2 times"),
        (lost(end=replace(CAUGHT, reused=0)), "tried 0 times"),
        (lost(said=replace(SAYS_LOST, healed=False)), "the missed run was not made"),
        (lost(said=replace(SAYS_LOST, run=("succeeded", ""))), "does not name the cause"),
    ],
)
def test_oracle_calls_a_broken_promise_a_violation(given, words):
    """Each with its reason."""
    judgement = judged(given)
    assert judgement.outcome is Outcome.VIOLATION
    assert words in judgement.words


def test_oracle_lets_nothing_be_lost_within_a_grace_period():
    """The provider repeats the answer: to ask for a human would be wrong."""
    assert judged(lost(fault=faults.GRACE)).outcome is Outcome.VIOLATION


def test_steps_come_in_order_and_optional_ones_may_be_passed_by():
    """What is waited for: the optional ones ahead, up to the next that has to come."""
    steps = (
        Step("first"),
        Step("read", "m:read", optional=True),
        Step("done", "m:done", At.EXIT),
        Step("after", "m:x"),
    )
    progress = Progress(steps)
    heard = [progress.hear("m:x", At.ENTRY), progress.hear("m:done", At.ENTRY), progress.hear("m:done", At.EXIT)]
    assert (heard, progress.step) == ([False, False, True], 2)


@pytest.mark.parametrize("text", ["refresh:0123:kill", "refresh+timeout_after:0000:exit", "key-rotation:0004:fsync"])
def test_trial_ids_read_back(text):
    """What a report prints is what `ONLY=` takes."""
    assert str(TrialId.parse(text)) == text
