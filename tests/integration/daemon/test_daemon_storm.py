"""Everything at once: what one of these survives alone, it has to survive in the middle of all the others."""

from __future__ import annotations

import signal
import sqlite3
import threading
from contextlib import closing

import pytest

JOB = '''
"""Asks the API, so that tokens are refreshed, and leaves one row for each run."""

from worker import job


@job
def sync(ctx):
    ctx.get("events/")
    ctx.emit("runs", {"run": ctx.run_id})
'''
SCOPES = ["read", "all_claims", "offline_access"]
NAMES = ("acme", "globex", "initech")


@pytest.fixture
def stormed(place):
    """A place with three accounts whose runs are due every second, and whose tokens live for a few."""
    place.sandbox.set(access_ttl=5.0)
    place.add_job_file("storm", JOB)
    place.job("sync", every="1s", uses="storm.sync")
    place.job("idle", every="1s", uses="test.quick")
    for name in NAMES:
        place.enroll(name)
    yield place
    place.sandbox.set(access_ttl=3600.0)


@pytest.fixture
def hailed(stormed):
    """The daemon, which hears SIGHUP without a pause until the test ends or says so."""
    daemon = stormed.ready()
    over = threading.Event()

    def hail() -> None:
        while not over.wait(0.02):
            daemon.send(signal.SIGHUP)

    thread = threading.Thread(target=hail)
    thread.start()

    def calm() -> None:
        over.set()
        thread.join()

    daemon.calm = calm
    yield daemon
    calm()


def rows(place, table):
    """What the sink holds: the ids of the runs that wrote."""
    with closing(sqlite3.connect(place.folder / "state" / "data.db", timeout=30)) as database:
        return sorted(run for (run,) in database.execute(f"SELECT run FROM {table}"))


def succeeded(place, job, account):
    """How many runs of it have succeeded."""
    return sum(run.account == account and run.state == "succeeded" for run in place.runs(job))


def test_daemon_outlives_reloads_in_the_middle_of_everything(stormed, hailed, until):
    """Refreshes, consents, a pause and a rotation of the key under a storm of SIGHUP: nothing is lost."""
    place = stormed
    for command in (
        ("accounts", "pause", "books", "globex"),
        ("keys", "rotate"),
        ("accounts", "resume", "books", "globex"),
    ):
        done = place.command(*command)
        assert done.returncode == 0, done.stderr
    for name in ("acme", "hooli"):
        token = place.sandbox.grant(name, SCOPES)["refresh_token"]
        done = place.command("enroll", "books", name, "--import-token", given=f"{token}\n")
        assert done.returncode == 0, done.stderr
    names = (*NAMES, "hooli")
    before = {name: succeeded(place, "sync", name) for name in names}
    for name, count in before.items():
        until(lambda: succeeded(place, "sync", name) > count + 1, f"runs of {name}")  # noqa: B023 - called at once
    until(lambda: place.sandbox.stats()["token_calls"]["refresh_token"]["granted"] > len(names), "refreshes")
    hailed.calm()
    assert hailed.stop() == 0
    # Nothing is left open. A pause interrupts the run it meets; a token that lapses on its way is answered 401.
    assert {str(run.state) for run in place.runs()} <= {"succeeded", "skipped", "failed", "interrupted"}
    assert all(run.account == "globex" for run in place.runs() if run.state == "interrupted")
    assert all("401" in run.error for run in place.runs() if run.state == "failed")
    assert {account.name: str(account.state) for account in place.wiring.store.accounts.list()} == dict.fromkeys(
        names, "active"
    )
    for job, table in (("sync", "runs"), ("idle", "quick")):
        assert rows(place, table) == sorted(run.id for run in place.runs(job) if run.state == "succeeded")
    assert "died" not in hailed.text
    assert "Traceback" not in hailed.text
