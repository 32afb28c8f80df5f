"""Each sealed value, on each database, tampered with in each way: refused, named, and nobody else harmed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from store_helpers import NOW, consent, enrol, tokens

from worker.crypto.keyring import Keyring, new_key
from worker.crypto.sealing import Binding, Sealer
from worker.errors import KeyUnusable, TamperedSecret, WorkerError
from worker.redact import Secret
from worker.store.sealed_values import find_unopened, find_unopened_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.store.store import Store

_FIELDS = ["refresh_token", "access_token", "identity", "client_secret", "key_check"]
_TAMPERINGS = [
    "other row",
    "other field",
    "older",
    "truncated",
    "empty",
    "flipped",
    "garbage",
    "relabelled",
    "unknown key",
]


@dataclass(frozen=True)
class Place:
    """Where a sealed value lies."""

    table: str
    column: str
    where: str

    def read(self, store: Store) -> bytes:
        """The sealed value."""
        with store.database.read() as session:
            return bytes(
                session.execute(text(f"SELECT {self.column} FROM {self.table} WHERE {self.where}")).scalar_one()
            )

    def write(self, store: Store, value: bytes) -> None:
        """Put another one there."""
        with store.database.write() as session:
            session.execute(text(f"UPDATE {self.table} SET {self.column} = :v WHERE {self.where}"), {"v": value})


def _place(field: str, name: str = "acme") -> Place:
    if field == "client_secret":
        return Place("client_secret", "sealed_value", f"integration = '{name}'")
    if field == "key_check":
        return Place("key_check", "sealed_check", "key_id = 'k1'")
    account = f"account_id = (SELECT id FROM account WHERE name = '{name}')"
    return Place("grant_", f"sealed_{field}", account)


@pytest.fixture
def filled(store: Store) -> Store:
    """Two accounts and two client secrets, all of generation 2."""
    for name in ("acme", "beta"):
        enrol(store, name)
        store.grants.store_consent(consent(name, tokens=tokens(f"at-{name}", f"rt-{name}")), NOW)
        for value in ("old", "new"):
            store.secrets.set(name, "client_secret", Secret(f"{value} secret of {name}"), NOW)
    return store


def _tampered(store: Store, field: str, tampering: str, older: bytes) -> bytes:
    sealed = _place(field).read(store)
    other = {"client_secret": "refresh_token", "key_check": "client_secret"}.get(field, "client_secret")
    stranger = Sealer(Keyring((new_key("k7"),)))
    ways: dict[str, Callable[[], bytes]] = {
        "other row": lambda: _place(field if field != "key_check" else "identity", "beta").read(store),
        "other field": lambda: _place(other).read(store),
        "older": lambda: older,
        "truncated": lambda: sealed[:-1],
        "empty": lambda: b"",
        "flipped": lambda: sealed[:-1] + bytes((sealed[-1] ^ 1,)),
        "garbage": lambda: bytes(range(60)),
        "relabelled": lambda: sealed.replace(b"k1", b"k2", 1),
        "unknown key": lambda: stranger.seal(Secret("forged"), Binding("grant", "x", field)),
    }
    return ways[tampering]()


def _use(store: Store, field: str, name: str) -> object:
    """Use the value as the product does."""
    account = store.accounts.get("arlo", name)
    uses: dict[str, Callable[[], object]] = {
        "refresh_token": lambda: store.grants.read_refresh_token(store.grants.look(account.id)),
        "access_token": lambda: store.grants.read(account.id).access_token,
        "identity": lambda: store.grants.read_identity(account.id),
        "client_secret": lambda: store.secrets.get(name, "client_secret"),
    }
    return uses[field]()


@pytest.mark.parametrize("tampering", _TAMPERINGS)
@pytest.mark.parametrize("field", _FIELDS[:4])
def test_tampered_value_is_refused_named_and_alone(filled: Store, sealer: Sealer, field: str, tampering: str) -> None:
    """The owner and the field are told; the neighbour's value opens as before."""
    before = _use(filled, field, "beta")
    older = _older(filled, field)
    _place(field).write(filled, _tampered(filled, field, tampering, older))
    (fault,) = find_unopened(filled.database, sealer)[1]
    if field == "access_token" and not fault.key_missing:
        used: object = filled.grants.read(filled.accounts.get("arlo", "acme").id).unreadable
    else:
        with pytest.raises((TamperedSecret, KeyUnusable)) as caught:
            _use(filled, field, "acme")
        used = caught.value.message
    owner = "acme" if field == "client_secret" else "arlo/acme"
    assert (fault.owner, fault.kind, str(used) in fault.message) == (owner, field, True)
    assert _use(filled, field, "beta") == before


def _older(store: Store, field: str) -> bytes:
    """The value that stood there a generation ago; then a new one is made."""
    old = _place(field).read(store)
    if field == "client_secret":
        store.secrets.set("acme", "client_secret", Secret("a newer one"), NOW)
    else:
        store.grants.store_consent(consent("acme", tokens=tokens("newer at", "newer rt")), NOW)
    return old


@pytest.mark.parametrize("tampering", [one for one in _TAMPERINGS if one != "older"])
def test_tampered_key_check_is_refused(filled: Store, keyring: Keyring, tampering: str) -> None:
    """It has no older generation: one for each key, for ever."""
    from worker.store.key_check import verify_key

    place = _place("key_check")
    place.write(filled, _tampered(filled, "key_check", tampering, b""))
    with pytest.raises(WorkerError, match=r"key check k1|\"k1\""):
        verify_key(filled.database, Sealer(keyring), NOW)


def test_message_about_a_tampered_value_shows_no_secret(filled: Store, sealer: Sealer) -> None:
    """Neither the value nor what was put in its place."""
    for field in _FIELDS[:4]:
        _place(field).write(filled, _place(field, "beta").read(filled))
    faults = find_unopened(filled.database, sealer)[1]
    words = " ".join(fault.message for fault in faults)
    assert (len(faults), [word for word in ("rt-", "at-", "secret of", "s1 ") if word in words]) == (4, [])


def test_faults_of_one_account_are_its_own(filled: Store, sealer: Sealer) -> None:
    """What `accounts list` asks for each row."""
    _place("identity").write(filled, b"")
    found = {
        account.name: [fault.kind for fault in find_unopened_of(filled.database, sealer, account.id)]
        for account in filled.accounts.list()
    }
    assert found == {"acme": ["identity"], "beta": []}


def test_look_needs_no_key(filled: Store) -> None:
    """`status` and `accounts list` go on telling."""
    for field in _FIELDS[:3]:
        _place(field).write(filled, b"\x01\x02k9" + bytes(40))
    grant = filled.grants.look(filled.accounts.get("arlo", "acme").id)
    assert (grant.generation, grant.access_token, grant.has_refresh_token) == (2, None, True)
