"""Sealing everything anew with the newest key, while others refresh, enrol and read.

Batch by batch: a rotation of a hundred thousand accounts must not hold up a refresh for longer than one batch takes,
and what was done when it is stopped stays done. Nothing is remembered about the progress: the values themselves say
with which key they are sealed.

Two things make "nothing is sealed with the old key" true, and not merely likely:

- Every process seals with the newest key of the keyring file as it is at that moment (`worker.crypto.origin`). What can
  still come with an older key is a transaction that had sealed before the new key was there. Those are waited for
  once: on SQLite writers take turns anyway; PostgreSQL tells which transactions are older.
- A row that somebody else holds is left for the next pass, and each value is replaced only where generation and
  ciphertext are still what was read. A refresh is never waited for, and never overwritten.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text, update
from sqlmodel import col

from worker.errors import TryAgainLater
from worker.store.database import row_count
from worker.store.sealed_values import (
    GRANT_COLUMNS,
    Unopened,
    not_sealed_with,
    try_open,
    value_of_secret,
    values_of_grant,
)
from worker.store.tables import AccountRow, ClientSecretRow, GrantRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from worker.crypto.sealing import Sealer
    from worker.store.database import Database
    from worker.store.sealed_values import SealedValue

#: Rows a transaction. SQLite's other writers wait for it to end: a quarter of a second on a slow machine, which a
#: refresh hardly notices beside its own request. Half as many halve that, and make a rotation a sixth longer.
BATCH = 100
#: Seconds between two batches, so that others who wait for SQLite's one writer get their turn.
_BREATH = 0.02
#: Passes over what is left before giving up on somebody who goes on sealing with an older key; seconds between them.
_PASSES, _PAUSE = 20, 0.25
#: Seconds for which transactions that began before the new key are waited for. Ours take milliseconds.
_PATIENCE = 30.0


@dataclass
class Resealed:
    """What came of it so far."""

    values: int = 0
    #: Values that do not open, and so cannot be sealed anew; by their place.
    unopened: dict[str, Unopened] = field(default_factory=dict)


class Resealing:
    """One sealing anew of a whole database. `step` is told of every batch, before and after it is committed."""

    def __init__(self, database: Database, sealer: Sealer, step: Callable[[str], None], batch: int = BATCH) -> None:
        self._database = database
        self._sealer = sealer
        self._step = step
        self._batch = batch
        self._key_id = sealer.keyring.newest.id
        self.result = Resealed()

    def run(self) -> Resealed:
        """Seal anew until nothing but what does not open is left. Raises TryAgainLater when it does not come to that.

        To be called when every process that seals knows the newest key.
        """
        wait_for_older_writers(self._database)
        for _ in range(_PASSES):
            self.result.unopened.clear()
            self._pass_over_secrets()
            self._pass_over_grants()
            if self.remaining() == len(self.result.unopened):
                return self.result
            time.sleep(_PAUSE)
        raise TryAgainLater(
            f"{self.remaining()} values are still sealed with an older key: a process goes on sealing with it",
            hint="let every process see the keyring with its newest key; then: worker keys rotate",
        )

    def remaining(self) -> int:
        """How many values are not sealed with the newest key, as a transaction sees it that could write."""
        with self._database.write() as session:
            columns = [*GRANT_COLUMNS.values(), ClientSecretRow.sealed_value]
            counts = [select(func.count()).where(not_sealed_with(self._key_id, [column])) for column in columns]
            return sum(session.scalar(query) or 0 for query in counts)

    def _pass_over_grants(self) -> None:
        after = 0
        while True:
            query = (
                select(GrantRow, AccountRow)
                .join(AccountRow, col(AccountRow.id) == col(GrantRow.account_id))
                .where(col(GrantRow.account_id) > after, not_sealed_with(self._key_id, list(GRANT_COLUMNS.values())))
                .order_by(col(GrantRow.account_id))
                .limit(self._batch)
                .with_for_update(of=GrantRow, key_share=True, skip_locked=True)
            )
            with self._database.write() as session:
                rows = session.execute(query).all()
                for row, account in rows:
                    self._reseal_grant(session, row, account)
                self._step("batch sealed")
            self._step("batch stored")
            if not rows:
                return
            after = rows[-1][0].account_id
            time.sleep(_BREATH)

    def _reseal_grant(self, session: Session, row: GrantRow, account: AccountRow) -> None:
        unchanged = [col(GrantRow.account_id) == row.account_id, col(GrantRow.generation) == row.generation]
        fresh: dict[str, bytes] = {}
        for value in values_of_grant(row, account):
            sealed = self._sealed_anew(value)
            if sealed is not None:
                fresh[f"sealed_{value.kind}"] = sealed
                unchanged.append(col(GRANT_COLUMNS[value.kind]) == value.sealed)
        if fresh:
            self._replace(session, update(GrantRow).where(*unchanged).values(fresh), len(fresh))

    def _pass_over_secrets(self) -> None:
        query = select(ClientSecretRow).where(not_sealed_with(self._key_id, [ClientSecretRow.sealed_value]))
        with self._database.write() as session:
            for row in session.scalars(query.with_for_update(key_share=True, skip_locked=True)).all():
                value = value_of_secret(row)
                sealed = self._sealed_anew(value)
                if sealed is not None:
                    statement = update(ClientSecretRow).where(
                        col(ClientSecretRow.integration) == row.integration,
                        col(ClientSecretRow.name) == row.name,
                        col(ClientSecretRow.generation) == row.generation,
                        col(ClientSecretRow.sealed_value) == value.sealed,
                    )
                    self._replace(session, statement.values(sealed_value=sealed), 1)
            self._step("secrets sealed")
        self._step("secrets stored")

    def _sealed_anew(self, value: SealedValue) -> bytes | None:
        """The value under the newest key; None when it is that already, or does not open."""
        if value.sealed.startswith(bytes((1, len(self._key_id))) + self._key_id.encode()):
            return None
        fault = try_open(self._sealer, value)
        if fault is not None:
            self.result.unopened[str(value.binding)] = fault
            return None
        return self._sealer.seal(self._sealer.open(value.sealed, value.binding), value.binding)

    def _replace(self, session: Session, statement: Any, values: int) -> None:
        self.result.values += values * row_count(
            session.execute(statement.execution_options(synchronize_session=False))
        )


def wait_for_older_writers(database: Database) -> None:
    """Wait until every transaction that is under way now has ended. Raises TryAgainLater when one does not."""
    if database.is_sqlite:
        with database.write():
            return  # our turn: whoever was before us is done
    ours = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name = 'headless-worker' AND xact_start < CAST(:since AS timestamptz)"
    )
    with database.read() as session:
        since = session.execute(text("SELECT CAST(clock_timestamp() AS text)")).scalar_one()
    deadline = time.monotonic() + _PATIENCE
    while True:
        with database.read() as session:
            if not session.execute(text(ours), {"since": since}).scalar_one():
                return
        if time.monotonic() >= deadline:
            raise TryAgainLater("a transaction on the store does not end, and may hold values sealed with an older key")
        time.sleep(_BREATH)
