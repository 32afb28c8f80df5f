"""A refresh: a run finds that its access token is dead, refreshes, and replays the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fault_harness import faults
from fault_harness.a_run import EVERY_ROW, ready_to_run
from fault_harness.oracle import Judgement, Outcome, has_gone_on, has_told, judge, unless
from fault_harness.restart import go_on, heal, report
from fault_harness.steps import At, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_harness.oracle import Evidence
    from fault_harness.restart import Report
    from fault_harness.trial import Trial
    from worker.wiring import Wiring

_STEPS = (
    Step("the run is claimed, its token is sent and rejected"),
    Step("before the account's lock", "accounts.refresh:Refresher.refresh"),
    Step("lock held, the grant is read again", "store.locks:FileLocks._acquire", At.EXIT),
    Step("the intent is being committed", "store.grants:Grants.begin_refresh"),
    Step("intent committed", "store.grants:Grants.begin_refresh", At.EXIT),
    Step("connecting", "accounts.token_endpoint:ask"),
    Step("the request is being sent", "accounts.one_call:Form.read"),
    Step("request sent, the answer is outstanding", "accounts.one_call:Form.read", At.EXIT, sent=True),
    Step("the answer is being read", "accounts.lone_call:read_whole", optional=True, sent=True),
    Step("the answer is understood", "accounts.token_endpoint:ask", At.EXIT, sent=True),
    Step("new tokens, the commit is under way", "store.grants:Grants.complete_refresh", optional=True, sent=True),
    Step("tokens committed, lock held", "store.grants:Grants.complete_refresh", At.ANSWER, optional=True, sent=True),
    Step("lock released, the outcome is used", "accounts.refresh:Refresher.refresh", At.EXIT, sent=True),
)


class Refresh:
    """See the module."""

    name = "refresh"
    words = "a run finds its access token dead, refreshes and goes on"
    steps = _STEPS
    scope = ("accounts/", "store/", "crypto/", "oauth/", "runner/")
    faults = (
        faults.NONE,
        faults.GRACE,
        faults.RESET_BEFORE,
        faults.RESET_AFTER,
        faults.TIMEOUT,
        faults.TIMEOUT_AFTER,
        faults.TIMEOUT_GRACE,
        faults.HALF_BODY,
        faults.HTTP_500,
        faults.HTTP_429,
        faults.INVALID_GRANT,
        faults.INVALID_CLIENT,
        faults.ENDED,
        faults.DISK_FULL,
    )

    def arrange(self, trial: Trial) -> None:
        """An account whose access token has died; `ended`: whose grant has died."""
        control = trial.provider.control
        trial.given["grant"] = control.grant(trial.user)
        control.expire(trial.user)
        if trial.fault.ended:
            control.revoke(trial.user)

    def prepare(self, trial: Trial) -> Callable[[], object]:
        """The run."""
        trial.place.configure(trial.provider.addresses, read_timeout=trial.fault.read_timeout)
        return ready_to_run(trial.place, trial.given["grant"], trial.user).make

    def between(self, trial: Trial, *, redeemed: bool) -> None:
        """Nothing."""

    def restart(self, trial: Trial) -> dict[str, Any]:
        """Go on; when the product asks for a human, be one."""

        def act(wiring: Wiring, said: Report) -> None:
            go_on(wiring, said)
            if said.state == "needs_consent":
                heal(wiring, said, trial.provider.control.grant(trial.user), trial.user)

        return report(trial.place, act)

    def judge(self, trial: Trial, evidence: Evidence) -> Judgement:
        """Lost is what the provider has granted and the store does not hold."""
        fault, asked_for_human = trial.fault, evidence.said.state == "needs_consent"
        if fault.ended:
            return judge(evidence, Outcome.REFUSED, *has_told(evidence, EVERY_ROW, lost=False))
        rotated, committed = evidence.granted > 0, evidence.stored.generation > 1
        if rotated and not committed and not fault.grace and not _stored_later(evidence):
            return judge(
                evidence,
                Outcome.LOST,
                *has_told(evidence, EVERY_ROW, lost=True),
                unless(evidence.reused == 1, f"the spent token was tried {evidence.reused} times, not once"),
            )
        if fault.plays == "invalid_grant" and asked_for_human:
            # The provider has said so, once; that it takes the token all the same is known to nobody but us.
            return judge(evidence, Outcome.REFUSED, *has_told(evidence, EVERY_ROW, lost=False))
        settled = evidence.intent or any("in_doubt" in state for state in _states(evidence))
        outcome = Outcome.SETTLED if settled else Outcome.WENT_ON
        calls = evidence.end.granted - evidence.before.granted
        repeated = evidence.end.repeated - evidence.before.repeated
        return judge(
            evidence,
            outcome,
            *has_gone_on(evidence, EVERY_ROW),
            unless(calls <= 1, f"{calls} refreshes were granted where one was needed"),
            unless(repeated <= bool(fault.grace), f"the grace period was used {repeated} times"),
        )


def _stored_later(evidence: Evidence) -> bool:
    """Whether tokens were kept after all, by a process that was not stopped (the disk had room again)."""
    return not evidence.stopped and evidence.stored.generation > 1


def _states(evidence: Evidence) -> list[str]:
    return [str(row["state"]) for row in evidence.stored.tables["account"]]
