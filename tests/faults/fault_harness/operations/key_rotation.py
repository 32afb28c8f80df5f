"""A key rotation: a new key is added to the keyring, and everything sealed is sealed anew with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fault_harness import faults
from fault_harness.a_run import EVERY_ROW, ready_to_run
from fault_harness.oracle import Judgement, Outcome, has_gone_on, judge, unless
from fault_harness.restart import go_on, report
from fault_harness.steps import At, Step
from worker.store.rotation import Rotation
from worker.store.sealed_values import count_by_key, find_unopened

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_harness.oracle import Evidence
    from fault_harness.place import Place
    from fault_harness.restart import Report
    from fault_harness.trial import Trial
    from worker.wiring import Wiring

_OLD, _BOTH = ["k1"], ["k1", "k2"]


class KeyRotation:
    """See the module."""

    name = "key-rotation"
    words = "a key is added, everything is sealed anew, and a run then needs a refresh"
    steps = (
        Step("the rotation's lock is being taken"),
        Step("lock held, what seals what is counted", "store.rotation:Rotation._wants_key"),
        Step("the keyring file is being replaced", "crypto.keyring_file:append_key"),
        Step("keyring file replaced, read again", "crypto.keyring_file:append_key", At.EXIT),
        Step("the new key is being registered", "store.key_check:verify_key"),
        Step("registered, the daemon is told", "store.key_check:verify_key", At.EXIT),
        Step("everything is being sealed anew", "store.resealing:Resealing.run"),
        Step("sealed anew, the old key is being marked", "store.resealing:Resealing.run", At.EXIT),
        Step("the old key is marked", "store.rotation:Rotation._mark", At.EXIT),
    )
    scope = ("store/", "crypto/")
    faults = (faults.NONE,)

    def arrange(self, trial: Trial) -> None:
        """An account whose access token has died: the next run has to open, and to seal, its refresh token."""
        trial.given["grant"] = trial.provider.control.grant(trial.user)
        trial.provider.control.expire(trial.user)

    def prepare(self, trial: Trial) -> Callable[[], object]:
        """The rotation."""
        wiring = ready_to_run(trial.place, trial.given["grant"], trial.user).wiring
        rotation = _rotation(wiring)
        return lambda: rotation.run(wiring.clock.now())

    def between(self, trial: Trial, *, redeemed: bool) -> None:
        """Which keys the file holds, read without the product."""
        trial.given["keys"] = _keys(trial.place)

    def restart(self, trial: Trial) -> dict[str, Any]:
        """Go on as it stands; then rotate again, unless nothing is left to do."""

        def act(wiring: Wiring, said: Report) -> None:
            go_on(wiring, said)
            _, unopened = find_unopened(wiring.store.database, wiring.sealer)
            said.told += [f"does not open: {one.message}" for one in unopened]
            if _sealing(wiring) != _BOTH[-1:]:
                _rotation(wiring).run(wiring.clock.now())
            said.told += [f"still sealed with {key}" for key in _sealing(wiring) if key != _BOTH[-1]]

        return report(trial.place, act)

    def judge(self, trial: Trial, evidence: Evidence) -> Judgement:
        """No key is lost, no value is without its key, and the second rotation finishes the first."""
        keys, end = trial.given["keys"], _keys(trial.place)
        litter = [path.name for path in trial.place.folder.glob(".worker.key*")]
        calls = evidence.end.granted - evidence.before.granted
        return judge(
            evidence,
            Outcome.WENT_ON,
            unless(keys in (_OLD, _BOTH), f"after the stop the keyring holds {keys}"),
            unless(end == _BOTH, f"in the end the keyring holds {end}"),
            unless(not evidence.said.told, "; ".join(evidence.said.told)),
            unless(not litter, f"left beside the keyring: {litter}"),
            unless(calls <= 1, f"{calls} refreshes were granted where one was needed"),
            *has_gone_on(evidence, EVERY_ROW),
        )


def _rotation(wiring: Wiring) -> Rotation:
    return Rotation(
        wiring.store,
        wiring.sealer,
        wiring.keyring_file,
        wiring.keyring_place,
        wiring.state_folder,
        ring=lambda: False,
    )


def _sealing(wiring: Wiring) -> list[str]:
    """The keys that seal anything, as `worker keys list` shows them."""
    with wiring.store.database.read() as session:
        return [str(key) for key in count_by_key(session)]


def _keys(place: Place) -> list[str]:
    lines = place.keyring.read_text().splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]
