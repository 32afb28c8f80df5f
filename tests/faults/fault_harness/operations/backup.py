"""A backup beside a working store, and a restore of one whose refresh token has been replaced since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fault_harness import faults
from fault_harness.a_run import EVERY_ROW, ready_to_run
from fault_harness.oracle import Judgement, Outcome, has_gone_on, has_told, judge, unless
from fault_harness.place import read_database
from fault_harness.restart import go_on, heal, report
from fault_harness.steps import At, Step
from worker.store.backup import back_up
from worker.store.restore import restore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fault_harness.oracle import Evidence
    from fault_harness.place import Place
    from fault_harness.restart import Report
    from fault_harness.trial import Trial
    from worker.wiring import Wiring


class Backup:
    """A backup: a whole file or none, and the store does not notice."""

    name = "backup"
    words = "the store is copied into a file, verified, and given its name"
    steps = (
        Step("the file is being made"),
        Step("the pages are being copied", "store.backup:_copy_pages"),
        Step("copied, the copy is being dated", "store.backup:_copy_pages", At.EXIT),
        Step("the copy is being verified", "store.backup:verify"),
        Step("verified, being synced", "store.backup:sync_file"),
        Step("synced, being named", "store.backup:_name"),
        Step("named", "store.backup:_name", At.EXIT),
    )
    scope = ("store/",)
    faults = (faults.NONE,)

    def arrange(self, trial: Trial) -> None:
        """An account whose access token is good."""
        trial.given["grant"] = trial.provider.control.grant(trial.user)

    def prepare(self, trial: Trial) -> Callable[[], object]:
        """The backup."""
        wiring = ready_to_run(trial.place, trial.given["grant"], trial.user).wiring
        return lambda: back_up(wiring.store.database, wiring.sealer, _file(trial.place), wiring.clock.now())

    def between(self, trial: Trial, *, redeemed: bool) -> None:
        """Nothing."""

    def restart(self, trial: Trial) -> dict[str, Any]:
        """Go on."""
        return report(trial.place, go_on)

    def judge(self, trial: Trial, evidence: Evidence) -> Judgement:
        """What bears the name is whole."""
        file = _file(trial.place)
        found = read_database(file) if file.exists() else None
        whole = found is None or (found.sound and len(found.tables["account"]) == 1)
        return judge(
            evidence, Outcome.WENT_ON, unless(whole, "the backup is not whole"), *has_gone_on(evidence, EVERY_ROW)
        )


class Restore:
    """A restore: the old store or the new one, and a refresh token that was spent since is never sent."""

    name = "restore"
    words = "a backup is put in the store's place; its account has been refreshed since it was made"
    steps = (
        Step("the store is being locked"),
        Step("the backup is being copied beside it", "store.restore_targets:copy_file"),
        Step("the copy is being checked", "store.restore:_check"),
        Step("the witness learns from the present store", "store.restore:_let_witness_learn"),
        Step("the present store is being kept aside", "store.restore_targets:FileTarget.keep_aside"),
        Step("the copy is being put in its place", "store.restore_targets:FileTarget.replace"),
        Step("in its place, being compared with the witness", "store.restore:_settle"),
        Step("its accounts are marked", "store.reconciliation:reconcile", At.EXIT),
    )
    scope = ("store/",)
    faults = (faults.NONE, faults.NEWEST)

    def arrange(self, trial: Trial) -> None:
        """An account whose access token is good."""
        trial.given["grant"] = trial.provider.control.grant(trial.user)

    def prepare(self, trial: Trial) -> Callable[[], object]:
        """The backup is made, and then the account is refreshed."""
        wiring = ready_to_run(trial.place, trial.given["grant"], trial.user).wiring
        back_up(wiring.store.database, wiring.sealer, _file(trial.place), wiring.clock.now())
        if trial.fault is not faults.NEWEST:
            wiring.refresher.refresh(wiring.store.accounts.list()[0].id, 1)
        place = wiring.store_place()
        wiring.store.close()
        _present(trial.place).write_text(str(trial.place.database.stat().st_ino))
        return lambda: restore(place, _file(trial.place), wiring.clock.now())

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
        """The old store goes on. The new one holds a spent token: it says so, without ever sending it."""
        unsent = unless(not evidence.reused, f"the spent token was sent {evidence.reused} times")
        if _replaced(trial.place) and trial.fault is not faults.NEWEST:
            says = "restored" in evidence.said.cause and "backup" in evidence.said.reason
            honest = unless(says, f'it says "{evidence.said.cause}: {evidence.said.reason}"')
            told = has_told(evidence, EVERY_ROW, lost=False)
            return judge(evidence, Outcome.STALE, unsent, honest, *told)
        return judge(evidence, Outcome.WENT_ON, unsent, *has_gone_on(evidence, EVERY_ROW))


def _file(place: Place) -> Path:
    return place.folder / "backup.db"


def _present(place: Place) -> Path:
    """Which file the store was, by its number."""
    return place.folder / "present"


def _replaced(place: Place) -> bool:
    """Whether another database has come into the store's place."""
    return _present(place).read_text() != str(place.database.stat().st_ino)
