"""A job that lists what there is: deletions that are held and decided, rows that change their shape, a success that is
overdue. Runs are made in this process, decisions by commands.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from worker.engines.freshness import FreshnessWatch
from worker.jobs.sinks import Stream
from worker.store.notifications import Addressee

LISTING = '''
"""Emits what a file says, as a full listing."""

import json
from pathlib import Path

from worker import job


@job
def things(ctx):
    ctx.emit("things", json.loads((Path(ctx.params["folder"]) / "things").read_text()), key="id")
    ctx.complete("things")
'''
EVENTS = ("held", "late", "incident", "recovered")


def set_up(place, **options):
    """The job, and one account."""
    place.add_job_file("listing", LISTING)
    place.job("things", uses="listing.things", **options)
    place.enroll()
    return place


@pytest.fixture
def listed(place):
    """A place with the job and one account."""
    return set_up(place)


def run(place, rows):
    """One run that finds these rows; answers its record."""
    (place.meeting / "things").write_text(json.dumps(rows))
    wiring = place.wiring
    assignment = wiring.assignments("things")["things"]
    due = wiring.store.schedule.open_entry("things", wiring.store.accounts.get("books", "acme"))
    ended = wiring.runner.run(assignment, due, lambda _: None, trigger="manual")
    return wiring.store.runs.get(ended.run_id)


def things(*numbers, **more):
    """Rows with these ids."""
    return [{"id": number, "price": number, **more} for number in numbers]


def there(place):
    """How many rows there are."""
    with closing(sqlite3.connect(place.folder / "state" / "data.db")) as data:
        return data.execute("SELECT count(*) FROM things").fetchone()[0]


def told(place):
    """What waits to be told: event and words, oldest first."""
    waiting = place.wiring.store.notifications.waiting(Addressee("ops", EVENTS), place.wiring.clock.now())
    return [(item.event, item.facts["reason"]) for item in waiting]


def test_held_deletions_are_shown_and_approved(listed):
    """The run succeeds, nothing is deleted, people are told; an approval deletes, once."""
    run(listed, things(*range(100)))
    held = run(listed, things(*range(60)))
    assert (held.state, held.counts.held, held.counts.deleted, there(listed)) == ("succeeded", 40, 0, 100)
    assert [event for event, _ in told(listed)] == ["held"]
    change = json.loads(listed.command("--json", "changes", "list").stdout)[0]
    assert (change["gone"], change["present"], change["sample"][:2]) == (40, 100, ["60", "61"])
    status = listed.command("status")
    assert (status.returncode, f"worker changes show {change['id']}" in status.stdout) == (1, True)
    refused = listed.command("changes", "approve", change["id"])
    assert (refused.returncode, there(listed)) == (2, 100)
    approved = [listed.command("changes", "approve", change["id"][:6], "--yes") for _ in range(2)]
    assert [ended.returncode for ended in approved] == [0, 0]
    assert (": 40 rows deleted\n" in approved[0].stdout, "was already approved by " in approved[1].stdout) == (
        True,
        True,
    )
    assert approved[1].stdout.endswith("Z: 40 rows were deleted then\n")
    assert there(listed) == 60
    assert told(listed)[-1][0] == "recovered"


def test_rejected_deletions_stay_and_are_held_anew(listed):
    """A rejected change cannot be approved any more."""
    run(listed, things(*range(100)))
    run(listed, [])
    first = listed.wiring.store.changes.list()[0]
    assert listed.command("changes", "reject", first.id).returncode == 0
    again = listed.command("changes", "reject", first.id)
    assert (again.returncode, "was already rejected by " in again.stdout) == (0, True)
    run(listed, [])
    newer = listed.wiring.store.changes.list()[0]
    refused = listed.command("changes", "approve", first.id, "--yes")
    assert (refused.returncode, f"worker changes show {newer.id}" in refused.stderr) == (1, True)
    assert [change.reason for change in listed.wiring.store.changes.list()] == [first.reason]
    assert there(listed) == 100


def test_rejection_after_an_approval_that_was_not_recorded_tells_the_truth(listed):
    """The approval's process has ended between sink and store: the rows are gone, and the record says so."""
    run(listed, things(*range(100)))
    run(listed, things(*range(60)))
    held = listed.wiring.store.changes.list()[0]
    sink = listed.wiring.sink(listed.wiring.job("things"))
    sink.settle(held.id, Stream("things", "books", "acme"), "things", approve=True)
    rejected = listed.command("changes", "reject", held.id)
    assert (rejected.returncode, "was approved before: 40 rows deleted" in rejected.stderr) == (1, True)
    change = listed.wiring.store.changes.get(held.id)
    assert (change.state, change.applied) == ("approved", 40)


def test_newer_listing_supersedes_a_held_one(listed):
    """And people are told that nothing waits any more."""
    run(listed, things(*range(100)))
    run(listed, [])
    run(listed, things(*range(99)))
    assert listed.wiring.store.changes.list() == []
    assert [change.state for change in listed.wiring.store.changes.list(only_waiting=False)] == ["superseded"]
    assert [event for event, _ in told(listed)] == ["held", "recovered"]
    assert there(listed) == 99


def test_brake_of_the_config_is_the_jobs(place):
    """`delete_brake = "off"`."""
    listed = set_up(place, delete_brake="off")
    run(listed, things(*range(100)))
    assert run(listed, []).counts.deleted == 100


def test_shape_that_changes_is_recorded_and_a_new_kind_is_an_incident(listed):
    """A new column is a remark; text where numbers were is a fault that somebody has to know of."""
    run(listed, things(1))
    assert run(listed, things(1, vip=True)).drift == ("things.vip is new: boolean",)
    assert told(listed) == []
    changed = run(listed, [{"id": 1, "price": "1,00", "vip": False}])
    assert changed.drift == ("things.price was number, and now holds text",)
    assert listed.wiring.store.incidents.find_open("books", "schema_change").cause.endswith(changed.drift[0])
    shown = listed.command("runs", "show", changed.id)
    assert changed.drift[0] in shown.stdout


def test_number_of_rows_far_from_the_norm_is_noted(listed):
    """After eight runs that make one."""
    for _ in range(8):
        assert run(listed, things(*range(60))).note == ""
    assert run(listed, []).note == "0 rows, usually about 60 (the last 8 runs)"


def test_overdue_success_is_told_once_and_its_end(listed, clock):
    """Late after three intervals and the timeout; a success ends it."""
    run(listed, things(1))
    store, heard = listed.wiring.store, []
    account = store.accounts.get("books", "acme")
    store.schedule.ensure("things", {account.id: listed.wiring.clock.now()})
    watch = FreshnessWatch(store, clock, heard.append)
    assignments = listed.wiring.assignments()
    clock.set_wall(listed.wiring.clock.now() + 4 * 3600 - 5)
    watch.look(assignments)
    clock.advance(605)  # past the grace after a start
    for _ in range(2):
        watch.look(assignments)
        clock.advance(300)
    assert [(event.job, event.account) for event in heard] == [("things", "acme")]
    late = store.freshness.late(clock.now())
    assert [one.job for one in late] == ["things"]
    run(listed, things(1))
    waiting = store.notifications.waiting(Addressee("ops", EVENTS), clock.now())
    assert [item.event for item in waiting] == ["late", "recovered"]
    assert waiting[0].facts["since"] == waiting[1].facts["since"]


def test_metrics_are_what_prometheus_reads(listed):
    """Every figure parses; what is held and when the job last succeeded are among them; no key is needed."""
    run(listed, things(*range(50)))
    run(listed, [])
    listed.wiring.store.schedule.ensure("things", {listed.wiring.store.accounts.get("books", "acme").id: 0.0})
    (listed.folder / "worker.key").unlink()
    written = listed.folder / "worker.prom"
    assert listed.command("metrics", "--output", str(written)).returncode == 0
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(written.read_text())
        for sample in family.samples
    }
    assert samples["worker_accounts", "active", "books"] == 1
    assert samples["worker_runs", "succeeded", "things"] == 2
    assert samples["worker_held_rows", "things"] == 50
    assert samples["worker_last_success_timestamp_seconds", "acme", "books", "things"] > 0
    assert samples["worker_late", "things"] == 0
    assert oct(written.stat().st_mode & 0o777) == "0o644"
