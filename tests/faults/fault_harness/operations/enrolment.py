"""Enrolments: the answer of the consent page has come, and the code is redeemed, once.

Three kinds: a new account; a re-consent in place, whose old grant must go on until the new one is stored; and the
import of a refresh token from another tool, which the provider replaces as it is proved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fault_harness import faults
from fault_harness.a_run import EVERY_ROW
from fault_harness.oracle import Judgement, Outcome, has_gone_on, has_told, judge, unless
from fault_harness.place import ACCOUNT, admit
from fault_harness.provider import REDIRECT, earlier
from fault_harness.restart import go_on, heal, report
from fault_harness.steps import At, Step
from worker.accounts.enrolment import Choices
from worker.errors import WorkerError
from worker.redact import Secret
from worker.sandbox import give_consent

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_harness.oracle import Evidence
    from fault_harness.restart import Report
    from fault_harness.trial import Trial
    from worker.wiring import Wiring


def _steps(first: str, what: str) -> tuple[Step, ...]:
    return (
        Step(first),
        Step("connecting", "accounts.token_endpoint:ask"),
        Step("the request is being sent", "accounts.one_call:Form.read"),
        Step(f"{what} sent, the answer is outstanding", "accounts.one_call:Form.read", At.EXIT, sent=True),
        Step("the answer is being read", "accounts.lone_call:read_whole", optional=True, sent=True),
        Step("the answer is understood", "accounts.token_endpoint:ask", At.EXIT, sent=True),
        Step("the grant is being committed", "store.grants:Grants.store_consent", optional=True, sent=True),
        Step("grant committed", "store.grants:Grants.store_consent", At.ANSWER, optional=True, sent=True),
    )


class _Enrolment:
    """What the three have in common."""

    scope = ("accounts/", "store/", "crypto/", "oauth/")

    def between(self, trial: Trial, *, redeemed: bool) -> None:
        """Nothing."""

    def _code_flow(self, wiring: Wiring, trial: Trial) -> Callable[[], object]:
        """Everything up to the redirect; answers what redeems the code."""
        attempt = wiring.enrolment.begin(wiring.client("api"), ACCOUNT, REDIRECT)
        callback = give_consent(attempt.url, trial.user)
        return lambda: wiring.enrolment.finish(attempt, callback, Choices(how="by the trial"))

    def _open(self, trial: Trial) -> Wiring:
        """The store, in the victim."""
        trial.place.configure(trial.provider.addresses, read_timeout=trial.fault.read_timeout)
        return trial.place.wiring()


class NewAccount(_Enrolment):
    """A new account: stored as a whole, or not at all."""

    name = "enrolment"
    words = "the code of a new account's consent is redeemed and its grant stored"
    steps = _steps("the callback is being checked", "code")
    faults = (
        faults.NONE,
        faults.RESET_BEFORE,
        faults.RESET_AFTER,
        faults.TIMEOUT_AFTER,
        faults.HALF_BODY,
        faults.HTTP_500,
        faults.INVALID_CLIENT,
    )

    def arrange(self, trial: Trial) -> None:
        """Nothing: nobody has consented yet."""

    def prepare(self, trial: Trial) -> Callable[[], object]:
        """A human has consented; the redirect has come."""
        return _telling(self._code_flow(self._open(trial), trial))

    def restart(self, trial: Trial) -> dict[str, Any]:
        """The daemon starts; then the human enrols again, unless the account is there."""

        def act(wiring: Wiring, said: Report) -> None:
            go_on(wiring, said)
            if not said.exists:
                self._code_flow(wiring, trial)()
                go_on(wiring, said)
                said.healed = said.ran

        return report(trial.place, act)

    def judge(self, trial: Trial, evidence: Evidence) -> Judgement:
        """Whole or not at all, and then again."""
        accounts, stored = evidence.stored.tables["account"], evidence.stored.generation
        if stored:
            return judge(evidence, Outcome.WENT_ON, *has_gone_on(evidence, EVERY_ROW))
        return judge(
            evidence,
            Outcome.AGAIN,
            unless(not accounts, "an account is stored without its grant"),
            unless(evidence.said.healed, f"the second enrolment did not lead to a run: {evidence.said.run}"),
            *has_gone_on(evidence, EVERY_ROW),
        )


class Reconsent(_Enrolment):
    """A re-consent in place: the old grant goes on until the new one is stored."""

    name = "re-consent"
    words = "an account that exists consents again, in place"
    steps = _steps("the callback is being checked", "code")
    faults = (faults.NONE, faults.ENDED, faults.RESET_AFTER, faults.HTTP_500)

    def arrange(self, trial: Trial) -> None:
        """An account with a good grant."""
        trial.given["grant"] = trial.provider.control.grant(earlier(trial.user))

    def prepare(self, trial: Trial) -> Callable[[], object]:
        """It is stored; its owner has consented once more."""
        wiring = self._open(trial)
        admit(wiring, trial.given["grant"], trial.user)
        return _telling(self._code_flow(wiring, trial))

    def between(self, trial: Trial, *, redeemed: bool) -> None:
        """Some providers end the old grant when a new one is made."""
        if trial.fault.ended and redeemed:
            trial.provider.control.revoke(earlier(trial.user))

    def restart(self, trial: Trial) -> dict[str, Any]:
        """The daemon starts; a human consents if that is asked for."""

        def act(wiring: Wiring, said: Report) -> None:
            go_on(wiring, said)
            if said.state == "needs_consent":
                heal(wiring, said, trial.provider.control.grant(trial.user), trial.user)

        return report(trial.place, act)

    def judge(self, trial: Trial, evidence: Evidence) -> Judgement:
        """The account works before and after; it needs a human only where the provider has ended what was stored."""
        committed = evidence.stored.generation > 1
        redeemed = evidence.after.redeemed > evidence.before.redeemed
        if trial.fault.ended and redeemed and not committed:
            wrong = "lost in rotation" in evidence.said.reason
            told = has_told(evidence, EVERY_ROW, lost=False)
            return judge(
                evidence, Outcome.REFUSED, *told, unless(not wrong, "nothing was rotated, and it says so all the same")
            )
        return judge(evidence, Outcome.WENT_ON, *has_gone_on(evidence, EVERY_ROW))


class Import(_Enrolment):
    """A refresh token from another tool: proved by being spent."""

    name = "import"
    words = "a refresh token from another tool is proved by a refresh, and stored"
    steps = _steps("the request is being built", "token")
    faults = (faults.NONE, faults.GRACE)

    def arrange(self, trial: Trial) -> None:
        """The other tool's token."""
        trial.given["grant"] = trial.provider.control.grant(trial.user)

    def prepare(self, trial: Trial) -> Callable[[], object]:
        """It is read from standard input."""
        return _telling(self._import(self._open(trial), trial))

    def _import(self, wiring: Wiring, trial: Trial) -> Callable[[], object]:
        token = Secret(trial.given["grant"]["refresh_token"])
        client, choices = wiring.client("api"), Choices(how="by the trial")
        return lambda: wiring.enrolment.import_refresh_token(client, ACCOUNT, token, choices)

    def restart(self, trial: Trial) -> dict[str, Any]:
        """The daemon starts; the human imports again, and consents if the token has become void."""

        def act(wiring: Wiring, said: Report) -> None:
            go_on(wiring, said)
            if said.exists:
                return
            try:
                self._import(wiring, trial)()
            except WorkerError as error:
                said.told.append(error.message)
                self._code_flow(wiring, trial)()
            go_on(wiring, said)
            said.healed = said.ran

        return report(trial.place, act)

    def judge(self, trial: Trial, evidence: Evidence) -> Judgement:
        """Spent and not stored is the one case in which the token is void."""
        if evidence.stored.generation:
            return judge(evidence, Outcome.WENT_ON, *has_gone_on(evidence, EVERY_ROW))
        lost = evidence.granted > 0 and not trial.fault.grace
        told = " ".join(evidence.said.told)
        running = (
            unless(evidence.said.healed, f"what the human did then led to no run: {evidence.said.run}"),
            unless(evidence.taken, "the stored refresh token is not the living one"),
            unless(evidence.rows == EVERY_ROW, f"the sink holds {evidence.rows}"),
        )
        if lost:
            honest = unless("used before" in told, f'the imported token is void, and it says "{told}"')
            return judge(evidence, Outcome.REFUSED, honest, *running)
        return judge(evidence, Outcome.AGAIN, unless(not told, f"the token is good, and it says: {told}"), *running)


def _telling(act: Callable[[], object]) -> Callable[[], object]:
    """The operation, as a command runs it: an error of ours is told and ends it."""

    def told() -> None:
        try:
            act()
        except WorkerError as error:
            print(f"{type(error).__name__}: {error.message}")  # noqa: T201 - into the trial's log

    return told
