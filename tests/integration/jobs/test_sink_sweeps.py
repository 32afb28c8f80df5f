"""Deletions by difference in both databases: what a full listing does not name goes, and only that."""

from __future__ import annotations

import itertools
import secrets
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest

from worker.errors import WorkerError
from worker.jobs.brake import Brake, Rule
from worker.jobs.buffer import Buffer, RunTally
from worker.jobs.sinks import Stream, TableBatch
from worker.jobs.sinks.postgresql import PostgresqlSink
from worker.jobs.sinks.sqlite import SqliteSink
from worker.runner.trial import dry_sink
from worker.testing import ManualClock

_FENCES = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def make(request, tmp_path):
    """Makes sinks in one place that is not there yet."""
    if request.param == "sqlite":
        yield lambda **options: SqliteSink(tmp_path / "data.db", ManualClock(), **options)
        return
    url, schema = request.getfixturevalue("postgresql_server"), f"50% {secrets.token_hex(6)}"
    yield lambda **options: PostgresqlSink("sinks.w", lambda: url, ManualClock(), schema=schema, **options)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


@pytest.fixture
def sink(make):
    """One of them."""
    return make()


def rows(*numbers):
    """Rows with these ids."""
    return [{"id": number, "name": f"n{number}"} for number in numbers]


def listing(sink, emitted=(), *, seen=(), job="list", account="acme", brake=Brake, during=lambda: None):
    """One run that lists the table `t`; answers what became of it."""
    session = sink.open(Stream(job, "books", account), next(_FENCES))
    with closing(session), Buffer(session, run=RunTally(brake=brake)) as buffer:
        buffer.emit("t", emitted, key="id")
        buffer.seen("t", seen)
        during()
        buffer.complete("t")
        buffer.checkpoint(at=next(_FENCES))
        return buffer.run.swept[0]


def deliver(sink, emitted, *, job="other", account="acme"):
    """A run of another job, without a listing."""
    session = sink.open(Stream(job, "books", account), next(_FENCES))
    with closing(session), Buffer(session) as buffer:
        buffer.emit("t", emitted, key="id")
        buffer.finish()


def ids(sink, query="SELECT id FROM t ORDER BY id"):
    """The ids that are there."""
    if isinstance(sink, SqliteSink):
        connection = sqlite3.connect(sink.path)
    else:
        connection = sink.server.connect()
        connection.execute(f'SET search_path TO "{sink.schema}"')
    with closing(connection):
        return [number for (number,) in connection.execute(query)]


def test_sweep_takes_away_what_the_listing_does_not_name(sink):
    """The difference, and nothing but the difference."""
    listing(sink, rows(1, 2, 3))
    assert listing(sink, rows(1, 3)).gone.rows == 1
    assert ids(sink) == [1, 3]


def test_sweep_believes_keys_that_were_only_seen(sink):
    """A listing of ids, without the rows; spelt as text, although the column holds numbers."""
    listing(sink, rows(1, 2, 3, 4))
    listing(sink, seen=["1", 2, {"id": 4, "more": "x"}])
    assert ids(sink) == [1, 2, 4]


def test_sweep_leaves_other_accounts_alone(sink):
    """Accounts share tables, not rows."""
    deliver(sink, rows(1, 2), job="list", account="globex")
    listing(sink, rows(1, 2))
    listing(sink, rows(1))
    assert ids(sink, "SELECT id FROM t WHERE _account = 'globex'") == [1, 2]


def test_sweep_of_a_run_that_ends_before_the_checkpoint_deletes_nothing(sink):
    """Complete, and then the process is gone."""
    listing(sink, rows(1, 2))
    session = sink.open(Stream("list", "books", "acme"), next(_FENCES))
    with closing(session), Buffer(session) as buffer:
        buffer.seen("t", [1])
        buffer.complete("t")
    assert ids(sink) == [1, 2]


def test_sweep_spares_rows_that_another_job_delivered_meanwhile(sink):
    """They may be younger than the listing, new ones and old ones alike."""
    listing(sink, rows(1, 2, 3))
    listing(sink, rows(1, 3), during=lambda: deliver(sink, rows(2, 9)))
    assert ids(sink) == [1, 2, 3, 9]


def test_sweep_takes_away_what_another_job_delivered_before(sink):
    """The spared row goes with the next listing that does not name it."""
    listing(sink, rows(1, 2))
    listing(sink, rows(1), during=lambda: deliver(sink, rows(2)))
    listing(sink, rows(1))
    assert ids(sink) == [1]


def test_first_sweep_beside_another_writer_is_not_believed(sink):
    """Nobody has noted what the other one delivered."""
    deliver(sink, rows(1, 2))
    swept = listing(sink, rows(1), during=lambda: deliver(sink, rows(2)))
    assert "from the next one on" in swept.unusable
    assert ids(sink) == [1, 2]


def test_sweep_of_too_many_is_held(sink):
    """Nothing is deleted; the rest of the run counts."""
    listing(sink, rows(*range(100)))
    swept = listing(sink, rows(*range(70), 200))
    assert (swept.gone.rows, bool(swept.change)) == (30, True)
    assert ids(sink) == [*range(100), 200]


def test_approved_change_takes_away_exactly_what_was_held_and_has_not_come_back(sink):
    """A row delivered since is no deletion any more."""
    listing(sink, rows(*range(100)))
    swept = listing(sink, rows(*range(70)))
    deliver(sink, rows(80, 500))
    stream = Stream("list", "books", "acme")
    assert [sink.settle(swept.change, stream, "t", approve=True) for _ in range(2)] == [29, 29]
    assert ids(sink) == [*range(70), 80, 500]


def test_rejected_change_is_dropped_and_held_anew(sink):
    """The next listing that says so asks again."""
    listing(sink, rows(*range(100)))
    swept = listing(sink, rows(*range(70)))
    sink.settle(swept.change, Stream("list", "books", "acme"), "t", approve=False)
    again = listing(sink, rows(*range(70)))
    assert again.change
    assert len(ids(sink)) == 100


def test_newer_listing_supersedes_what_is_held(sink):
    """A change that nobody approved is not approved by a later mind."""
    listing(sink, rows(*range(100)))
    swept = listing(sink, rows(*range(70)))
    listing(sink, rows(*range(100)))
    assert sink.settle(swept.change, Stream("list", "books", "acme"), "t", approve=True) is None
    assert len(ids(sink)) == 100


def test_empty_listing_is_held_however_few_rows_there_are(sink):
    """The classic: a broken filter answers 200 and nothing."""
    listing(sink, rows(1, 2, 3))
    assert listing(sink).objection == "the listing is empty, and 3 rows are there"
    assert ids(sink) == [1, 2, 3]


def test_brake_that_is_off_lets_everything_go(sink):
    """The operator's word."""
    listing(sink, rows(1, 2, 3))
    listing(sink, brake=lambda: Brake(Rule(None)))
    assert ids(sink) == []


def test_marked_rows_stay_with_the_time_and_come_back(make):
    """`deletions = "mark"`: gone is a column, and a row that is seen or emitted again loses it."""
    sink = make(mark_deleted=True)
    listing(sink, rows(1, 2, 3, 4))
    listing(sink, rows(1))
    marks = [str(mark)[:10] for mark in ids(sink, "SELECT _deleted_at FROM t ORDER BY id")]
    assert marks == ["None", "2026-01-01", "2026-01-01", "2026-01-01"]
    listing(sink, rows(1, 2), seen=[3])
    assert ids(sink, "SELECT id FROM t WHERE _deleted_at IS NULL ORDER BY id") == [1, 2, 3]


def test_sweep_by_another_key_is_refused(sink):
    """Whatever it names, it does not name the rows."""
    listing(sink, rows(1, 2))
    session = sink.open(Stream("list", "books", "acme"), next(_FENCES))
    with closing(session), Buffer(session) as buffer:
        buffer.seen("t", ["n1"], key="name")
        buffer.complete("t")
        with pytest.raises(WorkerError, match=r"has the key \(id\), but \(name\) were seen"):
            buffer.finish()


def test_checkpoint_that_fails_takes_nothing_away(sink):
    """All or nothing: the listing of `z` is refused after that of `t` was carried out."""
    listing(sink, rows(1, 2, 3))
    session = sink.open(Stream("list", "books", "acme"), next(_FENCES))
    with closing(session), Buffer(session) as buffer:
        buffer.emit("z", rows(1), key="id")
        buffer.checkpoint(at=next(_FENCES))
    session = sink.open(Stream("list", "books", "acme"), next(_FENCES))
    with closing(session), Buffer(session) as buffer:
        for table, key in (("t", "id"), ("z", "name")):
            buffer.seen(table, [1], key)
            buffer.complete(table)
        with pytest.raises(WorkerError, match="'z' has the key"):
            buffer.checkpoint(at=next(_FENCES))
    assert ids(sink) == [1, 2, 3]


def test_preview_says_what_would_go_and_changes_nothing(sink):
    """For dry runs."""
    listing(sink, rows(1, 2, 3))
    dry = dry_sink(sink, Stream("list", "books", "acme"), None)
    assert listing(dry, rows(1)).sample == ("2", "3")
    assert ids(sink) == [1, 2, 3]


def test_approved_change_of_a_marking_sink_marks(make):
    """The column is made for it, if no deletion has made it yet."""
    sink = make(mark_deleted=True)
    listing(sink, rows(1, 2, 3))
    swept = listing(sink)
    assert sink.settle(swept.change, Stream("list", "books", "acme"), "t", approve=True) == 3
    assert ids(sink, "SELECT id FROM t WHERE _deleted_at IS NULL") == []


def test_sweep_of_a_key_of_several_fields(sink):
    """Order lines, numbers and times among the fields."""
    session = sink.open(Stream("list", "books", "acme"), next(_FENCES))
    lines = [{"order": f"o{n % 3}", "at": datetime(2026, 1, n, tzinfo=UTC), "sum": Decimal(n)} for n in range(1, 10)]
    with closing(session), Buffer(session) as buffer:
        buffer.emit("t", lines, key=["order", "at", "sum"])
        buffer.checkpoint(at=1)
        buffer.complete("t")  # of the rows of the first checkpoint, too
        buffer.checkpoint(at=2)
        buffer.seen("t", lines[:7], key=["order", "at", "sum"])
        buffer.complete("t")
        buffer.checkpoint(at=3)
        assert [swept.gone.rows for swept in buffer.run.swept] == [0, 2]
    assert len(ids(sink, 'SELECT "order" FROM t')) == 7


def test_key_that_was_widened_is_still_found_while_it_is_held(sink):
    """Numbers that became text: the held keys are the same rows."""
    listing(sink, rows(*range(50)))
    swept = listing(sink, rows(1))
    deliver(sink, [{"id": "x7", "name": "text"}, {"id": "3", "name": "back"}])
    assert sink.settle(swept.change, Stream("list", "books", "acme"), "t", approve=True) == 48
    assert sorted(ids(sink)) == ["1", "3", "x7"]


def test_listing_waits_for_a_delivery_that_is_not_committed_yet(sink):
    """It would neither see that row nor be seen by it."""
    listing(sink, rows(1, 2, 3))
    begun, go_on = threading.Event(), threading.Event()

    def slowly():
        yield {"id": 2, "name": "fresh"}
        begun.set()
        assert go_on.wait(60)

    other = sink.open(Stream("other", "books", "acme"), next(_FENCES))
    session = sink.open(Stream("list", "books", "acme"), next(_FENCES))
    with closing(other), closing(session), Buffer(session) as buffer, ThreadPoolExecutor() as pool:
        writing = pool.submit(other.write, {"t": TableBatch(slowly(), ("id",))}, None)
        assert begun.wait(60)
        buffer.seen("t", [1, 3])
        buffer.complete("t")
        sweeping = pool.submit(buffer.checkpoint, at=1)
        _until_it_waits(sink)
        go_on.set()
        assert (writing.result(), sweeping.result()) == (1, 0)
    assert ids(sink) == [1, 2, 3]


def _until_it_waits(sink):
    """Somebody waits for the lock; SQLite cannot tell, and has only one writer anyway."""
    if isinstance(sink, SqliteSink):
        return
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while not ids(sink, query)[0]:
        time.sleep(0.01)


def test_sweep_keeps_rows_whose_key_is_spelt_otherwise(sink):
    """Column names are compared without regard to case; so is the key of what was emitted."""
    swept = listing(sink, [{"ID": 1}, {"Id": 2}])
    assert (swept.gone.rows, swept.gone.seen) == (0, 2)


def test_sweep_believes_whole_decimals(sink):
    """As an XML or a JSON reader may give ids."""
    listing(sink, rows(1, 2))
    assert listing(sink, seen=[Decimal(1), Decimal("2.0")]).gone.rows == 0


def test_listing_of_rows_emitted_without_its_key_is_refused(sink):
    """They would be written with the listing's key, and taken away again."""
    session = sink.open(Stream("list", "books", "acme"), next(_FENCES))
    with closing(session), Buffer(session) as buffer:
        buffer.emit("t", rows(1))
        buffer.seen("t", [2])
        buffer.complete("t")
        with pytest.raises(WorkerError, match="emitted with the key"):
            buffer.checkpoint(at=1)


@pytest.mark.parametrize("tally", [RunTally(limit=2), RunTally()], ids=["limit", "bad row"])
def test_listing_that_was_cut_off_cannot_become_complete(sink, tally):
    """A job that goes on after `emit` has raised: what was not taken is no deletion."""
    listing(sink, rows(1, 2, 3))
    session = sink.open(Stream("list", "books", "acme"), next(_FENCES))
    with closing(session), Buffer(session, run=tally) as buffer:
        for row in ({"id": 1}, {"id": 2}, {"id": 3, "name": object()}):
            with suppress(WorkerError):
                buffer.emit("t", row, key="id")
        with pytest.raises(WorkerError, match=r"the limit of 2 rows|t is not complete"):
            buffer.complete("t")
        buffer.finish()
    assert ids(sink) == [1, 2, 3]
