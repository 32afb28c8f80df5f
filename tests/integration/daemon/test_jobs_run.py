"""`worker jobs run`: by hand; dry, limited, and from another place."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing


def numbers(place):
    with closing(sqlite3.connect(place.folder / "state" / "data.db")) as data:
        return [number for (number,) in data.execute("SELECT number FROM events ORDER BY number")]


def test_dry_run_writes_nothing(place):
    """No sink, no cursor, no history; the rows are shown."""
    place.job("events")
    place.enroll()
    ended = place.command("--json", "jobs", "run", "events", "--dry-run")
    shown = json.loads(ended.stdout)["accounts"][0]
    assert ended.returncode == 0
    assert [row["number"] for row in shown["tables"]["events"]] == [1, 2, 3, 4, 5]
    assert (place.runs(), (place.folder / "state" / "data.db").exists()) == ([], False)


def test_dry_run_begins_where_the_last_run_ended(place):
    """It shows what the next one would bring, and moves nothing."""
    place.job("events")
    place.enroll()
    place.command("jobs", "run", "events", "--limit", "2")
    before = numbers(place)
    ended = place.command("--json", "jobs", "run", "events", "--dry-run")
    shown = json.loads(ended.stdout)["accounts"][0]
    assert [row["number"] for row in shown["tables"]["events"]] == [3, 4, 5]
    assert numbers(place) == before == [1, 2]


def test_dry_run_from_elsewhere(place):
    """--since is the cursor it begins with."""
    place.job("events")
    place.enroll()
    ended = place.command("--json", "jobs", "run", "events", "--dry-run", "--since", '{"seen": 3}')
    assert [row["number"] for row in json.loads(ended.stdout)["accounts"][0]["tables"]["events"]] == [4, 5]


def test_dry_run_stops_at_the_limit(place):
    """Three rows are enough to look at."""
    place.job("events")
    place.enroll()
    ended = place.command("--json", "jobs", "run", "events", "--dry-run", "--limit", "3")
    assert len(json.loads(ended.stdout)["accounts"][0]["tables"]["events"]) == 3


def test_run_from_elsewhere_keeps_what_it_wrote(place):
    """Rows and cursor go to the real sink."""
    place.job("events")
    place.enroll()
    place.command("jobs", "run", "events", "--since", '{"seen": 3}')
    assert numbers(place) == [4, 5]


def test_run_by_hand_is_recorded_as_such(place):
    """And the schedule goes on from it."""
    place.job("quick")
    account = place.enroll()
    ended = place.command("jobs", "run", "quick")
    assert (ended.returncode, [(str(run.state), run.trigger) for run in place.runs()]) == (0, [("succeeded", "manual")])
    assert place.wiring.store.schedule.entry("quick", account.id).next_due > place.wiring.clock.now() - 1


def test_run_by_hand_for_one_account(place):
    """--account."""
    place.job("quick")
    place.enroll("acme")
    place.enroll("globex")
    place.command("jobs", "run", "quick", "--account", "globex")
    assert [run.account for run in place.runs()] == ["globex"]


def test_run_by_hand_that_fails_answers_1(place):
    """With the error."""
    place.job("failing")
    place.enroll()
    ended = place.command("--json", "jobs", "run", "failing")
    assert (ended.returncode, json.loads(ended.stdout)[0]["error"]) == (1, "ValueError: a bug")
