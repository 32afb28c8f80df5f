"""The main job, played once on a server: enrol, run, refresh, revoke, see the flag, consent again, make up for it.

It checks nothing. It answers what was seen on the way, as JSON, for the tests to judge.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from workplace import Workplace, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Server

#: Rows that appear while one of the accounts cannot be asked for.
MISSED = 5
#: Refreshes of an account that are waited for.
REFRESHES = 2


def prepare(server: Server, place: Workplace) -> None:
    """A config for the server, its job, its client secret."""
    place.configure(server.integration())
    place.configure(f'[jobs.sync]\nuses = "{server.uses}"\nintegration = "api"\nevery = "1s"\nsink = "local"')
    place.add_job(*server.job_file)
    place("config", "check")
    place("secrets", "set", "api", "client_secret", given=f"{server.client.secret}\n")


def consenting(server: Server, user: str) -> Callable[[str], str]:
    """What a user does with the authorization URL."""
    return lambda url: server.consent(url, user)


def play(server: Server, place: Workplace) -> dict[str, Any]:
    """The whole story, with two accounts: alice, who stays, and bob, whose grant is revoked."""
    prepare(server, place)
    seen: dict[str, Any] = {}
    seen["enrolled"] = place.paste("alice", consenting(server, "alice")).out
    place.paste("bob", consenting(server, "bob"))
    seen["at first"] = place.account("alice")
    with place.daemon() as daemon:
        for user in ("alice", "bob"):
            place.wait_for_run(user, lambda run: run["rows"] == server.rows, f"the first run of {user}")
            wait_until(lambda user=user: server.refreshes(user) >= REFRESHES, f"refreshes of {user}")
        seen["before"] = place.account("bob")
        server.revoke("bob")
        _see_flag(server, place, seen)
        place.paste("bob", consenting(server, "bob"))
        seen["catch_up"] = place.wait_for_run(
            "bob", lambda run: run["trigger"] == "catch_up" and run["finished_at"] is not None, "the catch-up"
        )
        seen["after"] = place.account("bob")
        calls = server.refreshes("bob")
        wait_until(lambda: server.refreshes("bob") > calls, "the new grant's first refresh")
        seen["exit code"] = daemon.stop()
        seen["errors"] = [line for line in daemon.lines() if line["level"] in {"ERROR", "CRITICAL"}]
        seen["lines of runs"] = [line for line in daemon.lines() if line["message"] == "run succeeded"]
    _see_end(server, place, seen)
    return seen


def _see_flag(server: Server, place: Workplace, seen: dict[str, Any]) -> None:
    wait_until(lambda: place("status", expect=None).code == 3, "status to answer 3")
    seen["flagged"] = place.account("bob")
    seen["why"] = place("accounts", "why", "api", "bob", "--json").json
    seen["why in words"] = place("accounts", "why", "api/bob").out
    seen["status"] = place("status", "--json", expect=3).json
    seen["run by hand"] = place("jobs", "run", "sync", "--account", "bob", expect=None).code
    server.add(MISSED)
    place.wait_for_run("alice", lambda run: run["rows"] == MISSED, "alice to get what bob misses")
    place.wait_for_run("bob", lambda run: run["state"] == "skipped", "a skipped run")
    seen["others"] = place.account("alice")["state"]


def _see_end(server: Server, place: Workplace, seen: dict[str, Any]) -> None:
    seen["accounts"] = place("accounts", "list", "--json").json
    seen["runs"] = {user: place.runs(user) for user in ("alice", "bob")}
    seen["refreshes"] = {user: server.refreshes(user) for user in ("alice", "bob")}
    seen["token calls"] = server.token_calls()
    with sqlite3.connect(place.folder / "state" / "data.db") as data:
        query = f'SELECT _account, count(*), count(DISTINCT "{server.key}") FROM {server.table} GROUP BY 1'
        seen["rows"] = {account: [count, distinct] for account, count, distinct in data.execute(query)}
    data.close()
