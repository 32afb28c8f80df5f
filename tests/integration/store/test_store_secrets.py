"""Client secrets: set, read, listed without a value, bound to their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from store_helpers import NOW, race

from worker.errors import TamperedSecret
from worker.redact import Secret

if TYPE_CHECKING:
    from worker.store.store import Store


def test_secret_reads_back(store: Store) -> None:
    """The one way out."""
    assert not store.secrets.set("arlo", "client_secret", Secret("s3cret"), NOW)
    assert store.secrets.get("arlo", "client_secret") == Secret("s3cret")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text())
def test_secret_of_any_text_reads_back(store: Store, value: str) -> None:
    """Line breaks, NULs, other scripts."""
    store.secrets.set("arlo", "client_secret", Secret(value), NOW)
    assert store.secrets.get("arlo", "client_secret") == Secret(value)


def test_secret_that_was_never_set_is_none(store: Store) -> None:
    """No error: there are clients without one."""
    assert store.secrets.get("arlo", "client_secret") is None


def test_secret_set_again_is_replaced(store: Store) -> None:
    """And says so."""
    store.secrets.set("arlo", "client_secret", Secret("old"), NOW)
    assert store.secrets.set("arlo", "client_secret", Secret("new"), NOW + 1)
    assert store.secrets.get("arlo", "client_secret") == Secret("new")


def test_secrets_are_listed_without_their_values(store: Store) -> None:
    """Which there are, and since when."""
    store.secrets.set("b", "api_key", Secret("x"), NOW)
    store.secrets.set("a", "client_secret", Secret("y"), NOW + 1)
    assert store.secrets.list() == [("a", "client_secret", NOW + 1), ("b", "api_key", NOW)]


def test_removed_secret_is_gone(store: Store) -> None:
    """Answers whether there was one."""
    store.secrets.set("arlo", "client_secret", Secret("x"), NOW)
    assert [store.secrets.remove("arlo", "client_secret") for _ in range(2)] == [True, False]
    assert store.secrets.get("arlo", "client_secret") is None


def test_secret_of_another_integration_is_refused(store: Store) -> None:
    """Copied in the database, it does not open, and the place is named."""
    store.secrets.set("arlo", "client_secret", Secret("x"), NOW)
    store.secrets.set("other", "client_secret", Secret("y"), NOW)
    _copy(store, "UPDATE client_secret SET sealed_value = :value WHERE integration = 'other'")
    with pytest.raises(TamperedSecret, match="client secret other/client_secret"):
        store.secrets.get("other", "client_secret")


def test_replaced_secret_put_back_is_refused(store: Store) -> None:
    """An older generation of the same place."""
    store.secrets.set("arlo", "client_secret", Secret("old"), NOW)
    with store.database.read() as session:
        old = bytes(session.execute(text("SELECT sealed_value FROM client_secret")).scalar_one())
    store.secrets.set("arlo", "client_secret", Secret("new"), NOW)
    with store.database.write() as session:
        session.execute(text("UPDATE client_secret SET sealed_value = :value"), {"value": old})
    with pytest.raises(TamperedSecret, match="generation 2"):
        store.secrets.get("arlo", "client_secret")


def _copy(store: Store, statement: str) -> None:
    with store.database.write() as session:
        query = text("SELECT sealed_value FROM client_secret WHERE integration = 'arlo'")
        session.execute(text(statement), {"value": bytes(session.execute(query).scalar_one())})


def test_secrets_set_at_once_leave_one_that_opens(store: Store) -> None:
    """The first time, too, when there is no row to wait for."""
    outcomes = race(12, lambda number: store.secrets.set("arlo", "client_secret", Secret(f"value {number}"), NOW))
    assert sorted(outcomes, key=str) == [False] + [True] * 11
    found = store.secrets.get("arlo", "client_secret")
    assert found is not None
    assert found.reveal().startswith("value ")
