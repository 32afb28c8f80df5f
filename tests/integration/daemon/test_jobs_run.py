"""`worker jobs run`: by hand; dry, limited, and from another place."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from worker.store.records import Finding


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


def test_dry_run_that_fails_tells_it_once(place):
    """With the account, the traceback and what to do."""
    place.job("failing")
    place.enroll()
    ended = place.command("jobs", "run", "failing", "--dry-run")
    assert (ended.returncode, "ValueError" in ended.stdout) == (1, False)
    assert [line for line in ended.stderr.splitlines() if "ValueError:" in line] == [
        "ValueError: a bug",
        "worker: books/acme: ValueError: a bug",
    ]
    assert "Try: mend the job's file" in ended.stderr


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


# ---- exit codes, and runs that are not made


FIELDS = {
    "id", "job", "integration", "account", "state", "trigger", "attempt", "due_at", "started_at", "finished_at",
    "seconds", "rows", "deleted", "held", "requests", "refreshes", "error", "note", "drift", "holder",
}  # fmt: skip


def flag(place, account):
    grant = place.wiring.store.grants.read(account.id)
    place.wiring.store.grants.flag(grant, Finding("revoked", "refused"), place.wiring.clock.now())


def test_run_by_hand_of_an_unscheduled_job_that_a_pause_mends_answers_75(place, sandbox):
    """Nobody tries it again by itself; whoever called it may."""
    place.job("events", every=None)
    place.enroll()
    sandbox.fault("api", "http_500")
    ended = place.command("--json", "jobs", "run", "events")
    assert (ended.returncode, json.loads(ended.stdout)[0]["state"]) == (75, "failed")


def test_run_by_hand_for_a_paused_account_answers_1(place):
    """An operator's decision: neither a retry nor a consent helps."""
    place.job("quick")
    account = place.enroll()
    place.wiring.store.accounts.pause(account, place.wiring.clock.now(), "enough")
    ended = place.command("--json", "jobs", "run", "quick")
    assert (ended.returncode, json.loads(ended.stdout)[0]["error"]) == (1, "paused: enough")


def test_run_by_hand_for_an_account_that_needs_consent_answers_3(place):
    """A human has to act."""
    place.job("quick")
    flag(place, place.enroll())
    assert place.command("jobs", "run", "quick").returncode == 3


def test_run_by_hand_for_several_accounts_answers_what_somebody_has_to_act_upon(place):
    """One is paused, one needs consent, one ran."""
    place.job("quick")
    flag(place, place.enroll("acme"))
    place.wiring.store.accounts.pause(place.enroll("globex"), place.wiring.clock.now(), "")
    place.enroll("initech")
    ended = place.command("--json", "jobs", "run", "quick")
    assert (ended.returncode, [run["state"] for run in json.loads(ended.stdout)]) == (
        3,
        ["skipped"] * 2 + ["succeeded"],
    )


def test_run_by_hand_shows_the_same_fields_for_what_was_skipped(place):
    """Whoever reads the JSON need not look which kind it is."""
    place.job("quick")
    flag(place, place.enroll("acme"))
    place.enroll("globex")
    shown = json.loads(place.command("--json", "jobs", "run", "quick").stdout)
    assert [set(run) for run in shown] == [FIELDS, FIELDS]


def test_run_by_hand_of_a_job_that_is_running_answers_75(place):
    """In the daemon, say."""
    place.job("waiting")
    place.enroll()
    place.ready()
    place.entered("waiting")
    ended = place.command("--json", "jobs", "run", "waiting")
    assert (ended.returncode, json.loads(ended.stdout)[0]["error"]) == (75, "it is running already")


# ---- the headline


def test_status_tells_of_a_job_that_fails_every_time(place):
    """How often, for how long, and why."""
    place.job("failing")
    place.enroll()
    for _ in range(3):
        place.command("jobs", "run", "failing")
    shown = place.command("status").stdout
    assert "job       failing of books/acme failed 3 times in a row, for " in shown
    assert "last error: ValueError: a bug" in shown


def test_status_says_nothing_of_a_job_that_failed_twice(place):
    """A bad quarter of an hour is no news."""
    place.job("failing")
    place.enroll()
    for _ in range(2):
        place.command("jobs", "run", "failing")
    assert json.loads(place.command("--json", "status").stdout)["failing_jobs"] == []
