"""What a run shows of its tables, beside its rows: how much its listings take away, and how the rows' shape differs
from before. It never fails a run.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError
from worker.events import DeletionsHeld, IncidentOpened
from worker.jobs.brake import Brake, read_rule
from worker.jobs.shapes import drift
from worker.store.observed import NOTHING, Observed
from worker.store.profiles import Profile
from worker.store.records import SCHEMA_CHANGE, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.jobs.buffer import RunTally
    from worker.runner.services import Services
    from worker.store.records import Claim
    from worker.store.store import Store

log = logging.getLogger(__name__)


class TableWatch:
    """Looks at one attempt; asks the store only when there is something to compare."""

    def __init__(self, store: Store, job: str, account_id: int, rule: str) -> None:
        self._store = store
        self._job = job
        self._account_id = account_id
        self._rule = rule

    @cached_property
    def _profiles(self) -> Mapping[str, Profile]:
        return self._store.profiles.of(self._job, self._account_id)

    def brake(self) -> Brake:
        """The brake, with what the job's listings usually take away."""
        history = {table: profile.swept for table, profile in self._profiles.items()}
        return Brake(read_rule(self._rule), history)

    def observe(self, tally: RunTally, *, whole: bool) -> Observed:
        """What the attempt has shown; `whole`: it has succeeded."""
        columns: dict[str, dict[str, Any]] = {}
        sentences: list[str] = []
        changes: list[str] = []
        shapes = {table: shape for table, shape in tally.shapes.items() if shape.rows}
        try:
            profiles = self._profiles if shapes else {}
        except WorkerError as error:
            log.warning("the shape of the rows was not compared", extra={"error": error.message})
            return Observed(tuple(tally.swept))
        for table, shape in shapes.items():
            known = profiles.get(table, Profile()).columns
            found = drift(table, known, shape, whole=whole)
            if found.columns != known:
                columns[table] = found.columns
            sentences += found.sentences
            changes += found.changes
        if not (columns or tally.swept):
            return NOTHING
        return Observed(tuple(tally.swept), columns, tuple(sentences), tuple(changes))


def tell_of_tables(services: Services, claim: Claim, observed: Observed) -> None:
    """Log what was observed, and open an incident when values have become of another kind."""
    for swept in observed.swept:
        facts = {"table": swept.table, "rows": swept.gone.rows, "present": swept.gone.present}
        if swept.unusable:
            log.info("a listing was not used", extra={"table": swept.table, "reason": swept.unusable})
        elif swept.change:
            hint = f"worker changes show {swept.change}"
            log.warning("deletions are held", extra={**facts, "reason": swept.objection, "hint": hint})
            label = (claim.account.integration, claim.account.name, claim.job)
            services.events.publish(DeletionsHeld(*label, swept.table, swept.change, swept.gone.rows))
        elif swept.gone.rows:
            log.info("rows that are gone at the source were deleted", extra=facts)
    for sentence in observed.drift:
        log.warning("the shape of the rows has changed", extra={"drift": sentence})
    if observed.changes:
        _open_incident(services, claim, observed)


def _open_incident(services: Services, claim: Claim, observed: Observed) -> None:
    integration, now = claim.account.integration, services.clock.now()
    words = f"{claim.job} of {claim.account.label}: {'; '.join(observed.changes)}"
    evidence = {"job": claim.job, "account": claim.account.name, "run": claim.run_id}
    finding, remedy = Finding(SCHEMA_CHANGE, words, evidence), f"worker runs show {claim.run_id}"
    try:
        opened = services.store.incidents.report(
            integration, SCHEMA_CHANGE, finding, now, not_before=now, remedy=remedy
        )
    except WorkerError as error:
        log.error("an incident could not be recorded", extra={"error": error.message, "hint": error.hint})
        return
    if opened:
        services.events.publish(IncidentOpened(integration, SCHEMA_CHANGE, words, remedy))
