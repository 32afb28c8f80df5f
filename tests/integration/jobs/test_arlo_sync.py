"""jobs/arlo.py against the sandbox over real HTTP, into a real SQLite file: the sink equals the source."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from worker.errors import TryAgainLater, WorkerError
from worker.jobs.sinks import Stream


def _source(arlo, collection):
    """Id and full moment of every row at the source, in the sink's spelling."""
    key = "EventID" if collection == "events" else "RegistrationID"
    revised = "Description" if collection == "events" else "Grade"
    read_ticks, utc_text = (arlo.jobs["arlo.events"].function.__globals__[name] for name in ("read_ticks", "utc_text"))
    return {
        int(row[key]): (utc_text(read_ticks(row["LastModifiedDateTime"])[0]), row.get(revised) or None)
        for row in arlo.sandbox.call("rows", collection=collection)["rows"]
    }


def _sink(sink, collection):
    """The same of every row in the file."""
    key = "EventID" if collection == "events" else "RegistrationID"
    revised = "Description" if collection == "events" else "Grade"
    with closing(sqlite3.connect(sink.path)) as connection:
        return {
            number: (modified, text)
            for number, modified, text in connection.execute(
                f"SELECT {key}, LastModifiedDateTime, {revised} FROM {collection}"
            )
        }


@pytest.mark.parametrize("collection", ["events", "registrations"])
@pytest.mark.parametrize("top", [250, 7, 2, 1])
def test_arlo_first_sync_copies_every_row_whatever_the_page_size(arlo, sqlite_sink, collection, top):
    """Equal moments and equal milliseconds across page borders lose nothing."""
    arlo.run(collection, sqlite_sink, top=top)
    assert _sink(sqlite_sink, collection) == _source(arlo, collection)


def test_arlo_pages_bring_their_rows_along(arlo, sqlite_sink):
    """300 rows in pages of 250 take two requests: no row is asked for by itself."""
    arlo.run("registrations", sqlite_sink)
    assert len([url for url in arlo.asked if "/registrations/" in url]) == 2


def test_arlo_sync_without_changes_delivers_nothing(arlo, sqlite_sink):
    """The last row comes again, since a filter cannot name its moment, and is passed over."""
    arlo.run("events", sqlite_sink)
    assert arlo.run("events", sqlite_sink) == 0


def test_arlo_second_sync_delivers_what_changed(arlo, sqlite_sink):
    """Changed and new rows, and no others."""
    arlo.run("events", sqlite_sink)
    arlo.sandbox.call("touch", collection="events", count=5)
    arlo.sandbox.call("insert", collection="events", count=3)
    assert arlo.run("events", sqlite_sink) == 8
    assert _sink(sqlite_sink, "events") == _source(arlo, "events")


def test_arlo_crowded_millisecond_is_read_to_its_end(arlo, sqlite_sink):
    """A bulk change gives 280 rows one moment: more than a page holds, and a page never moves past it by itself."""
    arlo.run("registrations", sqlite_sink)
    arlo.sandbox.call("touch", collection="registrations", count=280, equal=True)
    arlo.sandbox.call("touch", collection="registrations", count=5)
    assert arlo.run("registrations", sqlite_sink, top=50) >= 280
    assert _sink(sqlite_sink, "registrations") == _source(arlo, "registrations")


def test_arlo_run_that_ends_in_a_crowded_millisecond_goes_on_inside_it(arlo, sqlite_sink):
    """The place within the millisecond is part of the cursor."""
    arlo.run("registrations", sqlite_sink)
    arlo.sandbox.call("touch", collection="registrations", count=280, equal=True)
    arlo.sandbox.call("advance", seconds=60)

    def stop(number):
        if number == 6:
            raise KeyboardInterrupt

    arlo.after_page = stop
    with pytest.raises(KeyboardInterrupt):
        arlo.run("registrations", sqlite_sink, top=50)
    assert sqlite_sink.read_cursor(Stream("registrations", "arlo", "acme"))["drained"] > 0
    arlo.after_page = lambda _number: None
    arlo.run("registrations", sqlite_sink, top=50)
    assert len(arlo.asked) < 7
    assert _sink(sqlite_sink, "registrations") == _source(arlo, "registrations")


@pytest.mark.parametrize("seed", range(6))
def test_arlo_changes_during_the_sync_and_crashes_lose_nothing(arlo, sqlite_sink, seed):
    """After quiescence the sink equals the source, whatever changed or was interrupted between two pages."""
    dice = random.Random(seed)

    def meddle(_number):
        what = dice.randrange(6)
        if what < 3:
            arlo.sandbox.call("touch", collection="events", count=dice.randrange(1, 40), equal=what == 0)
        elif what == 3:
            arlo.sandbox.call("insert", collection="events", count=dice.randrange(1, 20), equal=True)
        elif what == 4:
            raise ConnectionError("the network is gone")

    arlo.after_page = meddle
    for _ in range(8):
        try:
            arlo.run("events", sqlite_sink, top=dice.choice([2, 5, 30, 250]), settle=dice.choice([0, 2]))
        except ConnectionError:
            continue
    arlo.after_page = lambda _number: None
    arlo.run("events", sqlite_sink)
    assert _sink(sqlite_sink, "events") == _source(arlo, "events")


def test_arlo_rows_newer_than_the_servers_clock_allows_come_once_more(arlo, sqlite_sink):
    """A change committed late could lie before them, so the stored place stays behind."""
    arlo.run("events", sqlite_sink)
    arlo.sandbox.call("touch", collection="events", count=4)
    assert arlo.run("events", sqlite_sink, settle=60) == 4
    assert arlo.run("events", sqlite_sink, settle=60) == 4
    arlo.sandbox.call("advance", seconds=100)
    assert arlo.run("events", sqlite_sink, settle=60) == 4
    assert arlo.run("events", sqlite_sink, settle=60) == 0


def test_arlo_times_are_utc_with_their_offset_beside_them(arlo, sqlite_sink):
    """A start at 09:00+13:00 is stored as 20:00 of the day before, and the offset is kept."""
    arlo.run("events", sqlite_sink)
    rows = {int(row["EventID"]): row for row in arlo.sandbox.call("rows", collection="events")["rows"]}
    with closing(sqlite3.connect(sqlite_sink.path)) as connection:
        number, start, offset = connection.execute(
            "SELECT EventID, StartDateTime, StartDateTimeOffset FROM events LIMIT 1"
        ).fetchone()
        there = connection.execute("SELECT unixepoch(?)", (rows[number]["StartDateTime"],)).fetchone()
        assert connection.execute("SELECT unixepoch(?)", (start,)).fetchone() == there
    assert rows[number]["StartDateTime"].endswith(offset)
    assert start.endswith("Z")


def test_arlo_registrations_know_their_event_and_contact(arlo, sqlite_sink):
    """The ids stand in the links."""
    arlo.run("registrations", sqlite_sink)
    with closing(sqlite3.connect(sqlite_sink.path)) as connection:
        missing = connection.execute("SELECT count(*) FROM registrations WHERE EventID IS NULL OR ContactID IS NULL")
        assert missing.fetchone() == (0,)


def test_arlo_rate_limit_is_a_pause_as_long_as_the_api_says(arlo, sqlite_sink):
    """A 429 with a JSON body on an XML API."""
    arlo.sandbox.call("set", rate_limit=1)
    with pytest.raises(TryAgainLater) as caught:
        arlo.run("events", sqlite_sink)
    assert caught.value.after is not None
    assert caught.value.after > 1
    assert "exceeded the allowed number of requests" in caught.value.message


def test_arlo_exception_is_told_in_the_apis_words(arlo, sqlite_sink):
    """A parameter that it cannot read is a 400 with an ApiException."""
    arlo.session.params = {"skip": "x"}
    with pytest.raises(WorkerError, match=r"answered 400 .*skip must be a whole number"):
        arlo.run("events", sqlite_sink)
