"""Client secrets and other credentials of an integration, sealed. They go in, are used, and are never shown again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlmodel import col

from worker.crypto.sealing import Binding
from worker.store.database import alone, row_count
from worker.store.tables import ClientSecretRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.crypto.sealing import Sealer
    from worker.redact import Secret
    from worker.store.database import Database


class ClientSecrets:
    """The credentials set with `worker secrets set`."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    def set(self, integration: str, name: str, value: Secret, now: float) -> bool:
        """Store a credential; answers whether it replaced one."""
        with self._database.write() as session:
            alone(session, f"client secret {name} of {integration}")
            row = session.get(ClientSecretRow, (integration, name))
            generation = 1 if row is None else row.generation + 1
            sealed = self._sealer.seal(value, secret_binding(integration, name, generation))
            if row is None:
                session.add(ClientSecretRow(integration=integration, name=name, sealed_value=sealed, updated_at=now))
                return False
            row.sealed_value, row.generation, row.updated_at = sealed, generation, now
            return True

    def get(self, integration: str, name: str) -> Secret | None:
        """The credential, or None."""
        with self._database.read() as session:
            row = session.get(ClientSecretRow, (integration, name))
            if row is None:
                return None
            return self._sealer.open(row.sealed_value, secret_binding(integration, name, row.generation))

    def list(self) -> Sequence[tuple[str, str, float]]:
        """(integration, name, updated at) of every credential; never a value."""
        query = select(ClientSecretRow).order_by(col(ClientSecretRow.integration), col(ClientSecretRow.name))
        with self._database.read() as session:
            return [(row.integration, row.name, row.updated_at) for row in session.scalars(query)]

    def remove(self, integration: str, name: str) -> bool:
        """Delete a credential; answers whether there was one."""
        statement = delete(ClientSecretRow).where(
            col(ClientSecretRow.integration) == integration, col(ClientSecretRow.name) == name
        )
        with self._database.write() as session:
            return row_count(session.execute(statement)) > 0


def secret_binding(integration: str, name: str, generation: int) -> Binding:
    """What a credential is bound to."""
    return Binding("client secret", f"{integration}/{name}", "value", generation)
