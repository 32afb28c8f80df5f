"""A store that cannot be written just after the refresh token was spent must not cost the grant."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from worker.accounts.keeping import NotStored
from worker.errors import Busy, TryAgainLater
from worker.events import GrantRefreshed
from worker.store.locks import account_lock

FULL = (
    "CREATE TRIGGER full BEFORE UPDATE OF sealed_refresh_token ON grant_"
    " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
)


def execute(house, statement: str) -> None:
    with house.store.database.write() as session:
        session.connection().exec_driver_sql(statement)


def wait_for(condition) -> None:
    waiting = threading.Event()
    for _ in range(400):
        if condition():
            return
        waiting.wait(0.05)
    pytest.fail("it did not happen")


@pytest.fixture
def hasty(house):
    """A refresher that gives up waiting soon, and an account."""
    house.enrol()
    house.refresher = house.new_refresher(store_pauses=(0.01, 0.1))
    return house


def test_tokens_are_kept_and_stored_later(hasty, sandbox):
    """The disk is mended: the new tokens are stored without anybody asking, and without another call."""
    account = hasty.account()
    execute(hasty, FULL)
    with pytest.raises(NotStored, match="cannot be stored"):
        hasty.refresh(account)
    execute(hasty, "DROP TRIGGER full")
    wait_for(lambda: hasty.grant().generation == 2)
    assert hasty.session(account).get("events/").status_code == 200
    assert (hasty.refresh_calls, sandbox.stats()["reuse_detected"]) == (1, 0)
    wait_for(lambda: len(hasty.told(GrantRefreshed)) == 1)


def test_tokens_are_not_used_before_they_are_stored(hasty, sandbox):
    """The session raises, and the API has not seen the new token."""
    account = hasty.account()
    sandbox.expire()
    execute(hasty, FULL)
    with pytest.raises(TryAgainLater):
        hasty.session(account).get("events/")
    assert (sandbox.stats()["api_users"], hasty.grant().generation) == ({}, 1)
    execute(hasty, "DROP TRIGGER full")
    wait_for(lambda: hasty.grant().generation == 2)


def test_waiting_tokens_keep_every_other_process_from_spending_the_old_one(hasty, sandbox):
    """The account's lock stays held until they are stored."""
    account = hasty.account()
    execute(hasty, FULL)
    with pytest.raises(NotStored):
        hasty.refresh(account)
    with pytest.raises(Busy), hasty.store.locks.hold(account_lock(account.id), patience=0):
        pass
    with pytest.raises(NotStored, match="wait to be stored"):
        hasty.refresh(account)
    assert hasty.refresh_calls == 1
    execute(hasty, "DROP TRIGGER full")
    with hasty.store.locks.hold(account_lock(account.id), patience=20):
        assert hasty.grant().generation == 2


def test_waiting_refresh_of_the_same_account_finds_the_stored_tokens(hasty, sandbox):
    """Whoever waited for the lock takes what was stored at last."""
    account = hasty.account()
    execute(hasty, FULL)
    found = []

    def refresh_elsewhere() -> None:
        with suppress(TryAgainLater):
            found.append(hasty.new_refresher().refresh(account.id, 1).generation)

    with pytest.raises(NotStored):
        hasty.refresh(account)
    waiter = threading.Thread(target=refresh_elsewhere, daemon=True)
    waiter.start()
    execute(hasty, "DROP TRIGGER full")
    waiter.join(20)
    assert (found, hasty.refresh_calls) == ([2], 1)


def test_tokens_are_kept_although_the_machine_gives_no_thread(hasty, monkeypatch):
    """The one who waits goes on trying himself."""
    execute(hasty, FULL)
    start = threading.Thread.start

    def refuse(thread):
        if not thread.name.startswith("keep-"):
            start(thread)
            return
        execute(hasty, "DROP TRIGGER full")
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with suppress(TryAgainLater):
        hasty.refresh(hasty.account())
    assert hasty.grant().generation == 2
    assert hasty.refresher.wait_settled(0)


def test_short_fault_of_the_store_goes_unnoticed(house, sandbox):
    """Half a second of a full disk: the caller just waits."""
    account = house.enrol()
    house.refresher = house.new_refresher(store_pauses=(0.05,) * 200)
    execute(house, FULL)
    timer = threading.Timer(0.3, lambda: execute(house, "DROP TRIGGER full"))
    timer.start()
    assert house.refresh(account).generation == 2
    timer.join()


def test_full_disk_before_the_refresh_spends_nothing(house):
    """The intent cannot be committed: the refresh token is not sent."""
    account = house.enrol()
    execute(
        house,
        "CREATE TRIGGER full BEFORE INSERT ON refresh_intent"
        " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    )
    with pytest.raises(TryAgainLater):
        house.refresh(account)
    assert (house.refresh_calls, house.account().state) == (0, "active")


class TestSettled:
    """What a process waits for before it ends."""

    def test_is_at_once_when_nothing_is_under_way(self, house):
        """The usual case."""
        house.refresh(house.enrol())
        assert house.refresher.wait_settled(0) is True

    def test_is_not_while_a_refresh_is_under_way(self, house, sandbox):
        """The answer may be on its way; then it is, when that has been stored."""
        account = house.enrol()
        sandbox.set(token_delay=0.5)
        refresh = threading.Thread(target=lambda: house.refresh(account))
        refresh.start()
        wait_for(lambda: sandbox.stats()["peak_concurrent_token_calls"])
        assert house.refresher.wait_settled(0.01) is False
        assert house.refresher.wait_settled(20) is True
        assert house.grant().generation == 2
        refresh.join()

    def test_is_not_while_tokens_wait_to_be_stored(self, hasty):
        """A process that ended now would lose them."""
        execute(hasty, FULL)
        with pytest.raises(NotStored):
            hasty.refresh(hasty.account())
        assert hasty.refresher.wait_settled(0.01) is False
        execute(hasty, "DROP TRIGGER full")
        assert hasty.refresher.wait_settled(20) is True
        assert hasty.grant().generation == 2
