"""`uses = "rest"` into the embedded sinks, against an API that changes while it is read."""

from __future__ import annotations

import contextlib
import random
import sqlite3

import pytest

_JOB = """
[sinks.local]
type = "sqlite"
path = "state/data.db"
[jobs.crm]
uses = "rest"
integration = "crm"
every = "1h"
sink = "local"
[[jobs.crm.resources]]
name = "customers"
paging = {{ style = "cursor", path = "meta.next", parameter = "after" }}
rows = "data"
params = {{ limit = 7 }}
primary_key = "id"
incremental = {{ field = "updated_at", param = "since", initial = "2020-01-01T00:00:00Z"{order} }}
"""


def delivered(place):
    """The table, as the source has its rows."""
    with contextlib.closing(sqlite3.connect(place.folder / "state" / "data.db")) as connection:
        rows = connection.execute("SELECT id, name, updated_at FROM customers ORDER BY id").fetchall()
    return [dict(zip(("id", "name", "updated_at"), row, strict=True)) for row in rows]


def test_rest_job_delivers_whole_though_its_token_dies_between_two_pages(place, api, sandbox):
    """One refresh, and not a row is missing."""
    place.configure(_JOB.format(order=""))
    api.fill("customers", 30)
    api.after_page = lambda number: sandbox.call("expire") if number == 2 else None
    run = place.run("crm")
    assert (run.state, run.counts.rows, run.counts.refreshes) == ("succeeded", 30, 1), run.error
    assert delivered(place) == api.collections["customers"]


def test_rest_job_asks_the_second_time_for_what_has_changed(place, api):
    """From the last change on, less the overlap."""
    place.configure(_JOB.format(order=""))
    api.fill("customers", 30, minutes=True)
    place.run("crm")
    api.asked.clear()
    assert place.run("crm").counts.rows == 3
    assert api.asked == ["/customers?limit=7&since=2026-01-01T00%3A14%3A00Z"]


@pytest.mark.parametrize("order", ["", ', order = "ascending"'], ids=["any", "ascending"])
@pytest.mark.parametrize("seed", range(2))
def test_rest_job_misses_nothing_that_changes_while_it_reads(place, api, order, seed):
    """Changes between pages, many at equal times across their borders; then quiet: the table equals the source."""
    place.configure(_JOB.format(order=order))
    chance, now = random.Random(seed), [100]
    api.fill("customers", 40)
    api.by_time = bool(order)

    def change(_number):
        now[0] += chance.randrange(3)
        api.date = api.moment(now[0])
        for row in chance.sample(api.collections["customers"], 5):
            row.update(name=f"at {now[0]}", updated_at=api.time(now[0]))

    change(0)
    for _ in range(3):
        begun = len(api.asked)
        # A list that is sorted by change, and changes for ever, has no end.
        api.after_page = lambda number, begun=begun: change(number) if number - begun < 12 else None
        place.run("crm")
    api.after_page = lambda _number: None
    assert place.run("crm").state == "succeeded"
    assert delivered(place) == sorted(api.collections["customers"], key=lambda row: row["id"])
