"""A daemon whose store is taken away, shared by mistake, or whose server forgets that it is the only one."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest

from worker.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Callable


def test_daemon_whose_database_was_deleted_says_so_and_goes_on_when_it_is_back(place, until):
    """It saves the content, starts nothing, does not pretend to be well, and needs no restart afterwards."""
    place.job("quick", every="1s")
    place.enroll()
    daemon = place.ready()
    until(lambda: "succeeded" in place.states())
    database = place.wiring.store.database.path
    database.unlink()
    daemon.send(signal.SIGHUP)
    told = daemon.says("the store does not answer")
    assert "was deleted while it was in use; its content was saved to" in told["error"]
    (saved,) = database.parent.glob("worker.db.rescued-*")
    assert told["hint"] == f"mv {saved} {database}"
    saved.rename(database)
    daemon.send(signal.SIGHUP)
    daemon.says("the database file is back in its place")
    before = len(place.runs())
    until(lambda: len(place.runs()) > before)
    assert daemon.stop() == 0


def test_second_daemon_with_another_state_folder_is_refused(place):
    """The same database in two configurations: the lock is the database's."""
    place.wiring.store.accounts.list()
    place.ready()
    database = place.wiring.store.database.path
    place.options["state_dir"] = "elsewhere"
    place.write()
    with (place.folder / "config.toml").open("a") as config:
        config.write(f'\n[store]\nurl = "sqlite:///{database}"\n')
    second = place.daemon()
    assert second.end() == 78
    assert "another daemon uses this store already: the daemon, process" in second.text


@pytest.fixture
def served(place, new_postgresql) -> Callable[[], None]:
    """Moves the place's store to the server; calling the result ends the sessions that hold locks."""
    url = new_postgresql()
    with (place.folder / "config.toml").open("a") as config:
        config.write(f'\n[store]\nurl = "{url}"\n')

    def forget() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
                " AND starts_with(application_name, 'headless-worker: ')"
            )

    return forget


def test_daemon_takes_its_lock_again_after_the_server_forgot_it(place, served, until):
    """As after a restart of the server."""
    daemon = place.ready()
    served()
    daemon.send(signal.SIGHUP)

    def taken() -> bool:
        try:
            with place.wiring.store.locks.hold("daemon", patience=0):
                return False
        except Busy:
            return True

    until(taken)
    assert daemon.stop() == 0


def test_daemon_that_was_replaced_meanwhile_stops_and_says_by_whom(place, served):
    """Another one took the lock before it could: two of them would run every job twice."""
    daemon = place.ready()
    with ExitStack() as held:
        place.wiring.store.accounts.list()
        daemon.send(signal.SIGSTOP)
        served()
        held.enter_context(place.wiring.store.locks.hold("daemon", patience=30, note="the other daemon"))
        daemon.send(signal.SIGHUP)
        daemon.send(signal.SIGCONT)
        assert daemon.end() == 78
    assert "another daemon uses this store already: headless-worker: the other daemon" in daemon.text
