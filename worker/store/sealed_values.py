"""All that is sealed in the database, seen as one: which key seals how much, what does not open, what to seal anew.

Every column named `sealed_…` is here, except the key check itself, which belongs to one key for ever.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary, and_, func, or_, select
from sqlmodel import col

from worker.crypto.sealing import key_id_of
from worker.errors import KeyUnusable, TamperedSecret
from worker.store.sealed_grants import grant_binding
from worker.store.secrets import secret_binding
from worker.store.tables import AccountRow, ClientSecretRow, GrantRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from worker.crypto.sealing import Binding, Sealer
    from worker.store.database import Database

#: What a grant's row holds sealed: kind -> column. Kinds are fields of the binding.
GRANT_COLUMNS: Mapping[str, Any] = {
    "refresh_token": GrantRow.sealed_refresh_token,
    "access_token": GrantRow.sealed_access_token,
    "identity": GrantRow.sealed_identity,
}
CLIENT_SECRET = "client_secret"  # noqa: S105 - a kind
KINDS = (*GRANT_COLUMNS, CLIENT_SECRET)
#: Version, length, and the longest key id.
_HEADER_BYTES = 2 + 32
#: Rows read at a time.
_PAGE = 500


@dataclass(frozen=True)
class SealedValue:
    """One sealed value in its place."""

    kind: str
    #: `arlo/acme` for an account's, `arlo` for an integration's.
    owner: str
    binding: Binding
    sealed: bytes


@dataclass(frozen=True)
class Unopened:
    """A sealed value that does not open."""

    kind: str
    owner: str
    #: None: it is no sealed value at all.
    key_id: str | None
    #: Its key is not on the keyring; else the value was changed.
    key_missing: bool
    message: str


def count_by_key(session: Session) -> dict[str | None, Counter[str]]:
    """How many values of each kind each key seals; under None, what is no sealed value."""
    found: dict[str | None, Counter[str]] = {}
    for kind, column in {**GRANT_COLUMNS, CLIENT_SECRET: ClientSecretRow.sealed_value}.items():
        query = select(func.substr(col(column), 1, _HEADER_BYTES, type_=LargeBinary)).where(col(column).is_not(None))
        for header in session.scalars(query.execution_options(yield_per=_PAGE)):
            found.setdefault(key_id_of(bytes(header)), Counter())[kind] += 1
    return found


def not_sealed_with(key_id: str, columns: Sequence[Any]) -> ColumnElement[bool]:
    """Rows of which at least one of these columns is sealed with another key."""
    prefix = bytes((1, len(key_id))) + key_id.encode()
    return or_(
        *(
            and_(col(column).is_not(None), func.substr(col(column), 1, len(prefix), type_=LargeBinary) != prefix)
            for column in columns
        )
    )


def values_of_grant(row: GrantRow, account: AccountRow) -> Iterator[SealedValue]:
    """What is sealed in a grant's row."""
    generations = {"identity": row.consent_generation}
    for kind in GRANT_COLUMNS:
        sealed = getattr(row, f"sealed_{kind}")
        if sealed is not None:
            binding = grant_binding(account, kind, generations.get(kind, row.generation))
            yield SealedValue(kind, f"{account.integration}/{account.name}", binding, bytes(sealed))


def value_of_secret(row: ClientSecretRow) -> SealedValue:
    """What is sealed in a client secret's row."""
    binding = secret_binding(row.integration, row.name, row.generation)
    return SealedValue(CLIENT_SECRET, row.integration, binding, bytes(row.sealed_value))


def find_unopened(database: Database, sealer: Sealer) -> tuple[int, list[Unopened]]:
    """Open every sealed value there is: how many open, and which do not."""
    opened, unopened = 0, []
    with database.read() as session:
        for value in _all_values(session):
            fault = try_open(sealer, value)
            if fault is None:
                opened += 1
            else:
                unopened.append(fault)
    return opened, unopened


def find_unopened_of(database: Database, sealer: Sealer, account_id: int) -> list[Unopened]:
    """Which of an account's sealed values do not open."""
    query = select(GrantRow, AccountRow).join(AccountRow, col(AccountRow.id) == col(GrantRow.account_id))
    with database.read() as session:
        rows = session.execute(query.where(col(GrantRow.account_id) == account_id)).all()
    faults = [try_open(sealer, value) for row, account in rows for value in values_of_grant(row, account)]
    return [fault for fault in faults if fault is not None]


def try_open(sealer: Sealer, value: SealedValue) -> Unopened | None:
    """None when the value opens."""
    try:
        sealer.open(value.sealed, value.binding)
    except (TamperedSecret, KeyUnusable) as error:
        missing = isinstance(error, KeyUnusable)
        message = f"{value.owner}: {value.kind.replace('_', ' ')}: {error.message}"
        return Unopened(value.kind, value.owner, key_id_of(value.sealed), missing, message)
    return None


def _all_values(session: Session) -> Iterator[SealedValue]:
    secrets = select(ClientSecretRow).order_by(col(ClientSecretRow.integration), col(ClientSecretRow.name))
    for secret in session.scalars(secrets.execution_options(yield_per=_PAGE)):
        yield value_of_secret(secret)
    grants = (
        select(GrantRow, AccountRow)
        .join(AccountRow, col(AccountRow.id) == col(GrantRow.account_id))
        .order_by(col(AccountRow.integration), col(AccountRow.name))
    )
    for row, account in session.execute(grants.execution_options(yield_per=_PAGE)):
        yield from values_of_grant(row, account)
